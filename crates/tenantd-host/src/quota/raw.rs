//! The calls about quotas that neither rustix nor nix has. Each returns what the kernel says, and decides nothing.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// The flag of a folder whose new entries get its project: `FS_XFLAG_PROJINHERIT`.
pub(super) const INHERITS: u32 = 0x200;

/// The attributes of a file, see `struct fsxattr` in linux/fs.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) flags: u32,
    extent_size: u32,
    extents: u32,
    pub(super) project: u32,
    copied_extent_size: u32,
    padding: [u8; 8],
}

/// The largest argument of the requests of btrfs: `BTRFS_PATH_NAME_MAX` and a number.
const PAGE: usize = 4096;

/// A request of ioctl(2), with an argument that the kernel reads or writes.
///
/// # Safety
/// The number of the request must hold the size of `A`, and each value of its bytes must be an `A`.
unsafe fn request<A>(file: BorrowedFd<'_>, number: u32, argument: &mut A) -> Result<(), Errno> {
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel touches no more of `argument` than the
    // size in the number of the request, as the caller ensures.
    let result = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            number as libc::Ioctl,
            std::ptr::from_mut(argument),
        )
    };
    outcome(result.into())
}

/// What the kernel says after a call.
fn outcome(result: libc::c_long) -> Result<(), Errno> {
    match result {
        0.. => Ok(()),
        _ => {
            let error = std::io::Error::last_os_error();
            Err(Errno::from_raw_os_error(
                error.raw_os_error().unwrap_or(libc::EIO),
            ))
        }
    }
}

/// `FS_IOC_FSGETXATTR`, see ioctl_xfs_fsgetxattr(2).
pub(super) fn attributes(file: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let mut found = Attributes::default();
    // SAFETY: the number holds the 28 bytes of `Attributes`, which are integers.
    unsafe { request(file, 0x801c_581f, &mut found) }?;
    Ok(found)
}

/// `FS_IOC_FSSETXATTR`.
pub(super) fn set_attributes(
    file: BorrowedFd<'_>,
    mut attributes: Attributes,
) -> Result<(), Errno> {
    // SAFETY: the number holds the 28 bytes of `Attributes`, which are integers.
    unsafe { request(file, 0x401c_5820, &mut attributes) }
}

/// The type of the quotas of projects.
const PROJECTS: u32 = 2;

/// `quotactl_fd(2)` for quotas of projects, since Linux 5.14.
///
/// # Safety
/// `argument` must be what the kernel reads or writes for the command.
unsafe fn quotactl<A>(
    file: BorrowedFd<'_>,
    command: u32,
    project: u32,
    argument: &mut A,
) -> Result<(), Errno> {
    // SAFETY: the descriptor is open as long as it is borrowed, and `argument` is as the command needs it, as the caller
    // ensures.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_raw_fd(),
            command << 8 | PROJECTS,
            project,
            std::ptr::from_mut(argument),
        )
    };
    outcome(result)
}

/// Whether the filesystem limits projects: `Q_XGETQSTAT`, `FS_QUOTA_PDQ_ENFD`.
pub(super) fn limits_projects(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    /// More than the 80 bytes of `struct fs_quota_stat` in linux/dqblk_xfs.h.
    #[repr(C, align(8))]
    struct State {
        version: i8,
        padding: u8,
        flags: u16,
        rest: [u8; 124],
    }
    let mut state = State {
        version: 0,
        padding: 0,
        flags: 0,
        rest: [0; 124],
    };
    // SAFETY: the kernel writes a `struct fs_quota_stat`, which is smaller than `State` and begins with the same fields;
    // all of them are integers.
    match unsafe { quotactl(file, 0x5805, 0, &mut state) } {
        Ok(()) => Ok(state.flags & 0x20 != 0),
        // None is on, or the filesystem has none.
        Err(Errno::NOSYS | Errno::SRCH | Errno::NOTSUP | Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What a project uses, and its limits; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Project {
    /// The limit in bytes. The kernel keeps it in units of 1024.
    pub(super) bytes: u64,
    /// The limit of files.
    pub(super) files: u64,
    /// The bytes that it uses.
    pub(super) bytes_used: u64,
    /// Its files.
    pub(super) files_used: u64,
}

/// A quota of no file.
fn no_quota() -> libc::dqblk {
    // SAFETY: a dqblk consists of integers, for which zeros are a value.
    unsafe { std::mem::zeroed() }
}

/// `Q_GETQUOTA`.
pub(super) fn project(file: BorrowedFd<'_>, number: u32) -> Result<Project, Errno> {
    let mut found = no_quota();
    // SAFETY: the kernel writes a `struct if_dqblk`, which a dqblk is.
    match unsafe { quotactl(file, 0x80_0007, number, &mut found) } {
        Ok(()) => Ok(Project {
            bytes: found.dqb_bhardlimit.saturating_mul(1024),
            files: found.dqb_ihardlimit,
            bytes_used: found.dqb_curspace,
            files_used: found.dqb_curinodes,
        }),
        // xfs has no record of a project that it never had.
        Err(Errno::NOENT) => Ok(Project::default()),
        Err(errno) => Err(errno),
    }
}

/// `Q_SETQUOTA`: the limits.
pub(super) fn limit_project(
    file: BorrowedFd<'_>,
    number: u32,
    wanted: Project,
) -> Result<(), Errno> {
    let mut set = no_quota();
    set.dqb_bhardlimit = wanted.bytes.div_ceil(1024);
    set.dqb_ihardlimit = wanted.files;
    // QIF_BLIMITS, QIF_ILIMITS.
    set.dqb_valid = 5;
    // SAFETY: the kernel reads a `struct if_dqblk`, which a dqblk is.
    unsafe { quotactl(file, 0x80_0008, number, &mut set) }
}

/// `BTRFS_IOC_SUBVOL_CREATE`: makes a subvolume with this name in a folder.
pub(super) fn make_subvolume(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut arguments = Named::of(name)?;
    // SAFETY: the number holds the 4096 bytes of `Named`, which are integers.
    unsafe { request(folder, 0x5000_940e, &mut arguments) }
}

/// `struct btrfs_ioctl_vol_args` in linux/btrfs.h: an entry of a folder.
#[repr(C)]
struct Named {
    file: i64,
    name: [u8; PAGE - 8],
}

impl Named {
    fn of(name: &CStr) -> Result<Self, Errno> {
        let mut named = Self {
            file: 0,
            name: [0; PAGE - 8],
        };
        let bytes = name.to_bytes_with_nul();
        let place = named.name.get_mut(..bytes.len());
        place.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
        Ok(named)
    }
}

/// `BTRFS_IOC_INO_LOOKUP`: the number of the subvolume in which a folder is.
pub(super) fn subvolume(folder: BorrowedFd<'_>) -> Result<u64, Errno> {
    #[repr(C)]
    struct Arguments {
        tree: u64,
        object: u64,
        name: [u8; PAGE - 16],
    }
    let mut arguments = Arguments {
        tree: 0,
        // BTRFS_FIRST_FREE_OBJECTID: its top folder.
        object: 256,
        name: [0; PAGE - 16],
    };
    // SAFETY: the number holds the 4096 bytes of `Arguments`, which are integers.
    unsafe { request(folder, 0xd000_9412, &mut arguments) }?;
    Ok(arguments.tree)
}

/// `BTRFS_IOC_FS_INFO`: the UUID of a filesystem.
pub(super) fn btrfs_uuid(file: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    #[repr(C)]
    struct Found {
        numbers: [u64; 2],
        uuid: [u8; 16],
        rest: [u64; 124],
    }
    let mut found = Found {
        numbers: [0; 2],
        uuid: [0; 16],
        rest: [0; 124],
    };
    // SAFETY: the number holds the 1024 bytes of `Found`, which are integers.
    unsafe { request(file, 0x8400_941f, &mut found) }?;
    Ok(found.uuid)
}

/// `BTRFS_IOC_QGROUP_LIMIT`: the most bytes that a subvolume refers to.
pub(super) fn limit_subvolume(folder: BorrowedFd<'_>, bytes: Option<u64>) -> Result<(), Errno> {
    // A number of a quota group (0: that of the subvolume of the file), flags, and four limits.
    let mut arguments = [0, 1, bytes.unwrap_or(u64::MAX), 0, 0, 0];
    // SAFETY: the number holds the 48 bytes of these integers, of which the kernel reads all.
    unsafe { request::<[u64; 6]>(folder, 0x8030_942b, &mut arguments) }
}

/// `BTRFS_IOC_SNAP_CREATE_V2`: makes a snapshot of a subvolume with this name in a folder.
pub(super) fn make_snapshot(
    of: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
    is_read_only: bool,
) -> Result<(), Errno> {
    #[repr(C)]
    struct Arguments {
        file: i64,
        transaction: u64,
        flags: u64,
        unused: [u64; 4],
        name: [u8; PAGE - 56],
    }
    let mut arguments = Arguments {
        file: of.as_raw_fd().into(),
        transaction: 0,
        // BTRFS_SUBVOL_RDONLY.
        flags: u64::from(is_read_only) << 1,
        unused: [0; 4],
        name: [0; PAGE - 56],
    };
    let bytes = name.to_bytes_with_nul();
    let place = arguments.name.get_mut(..bytes.len());
    place.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
    // SAFETY: the number holds the 4096 bytes of `Arguments`, which are integers. The descriptor in it is open as long as
    // it is borrowed.
    unsafe { request(folder, 0x5000_9417, &mut arguments) }
}

/// `BTRFS_IOC_SNAP_DESTROY`: removes a subvolume with all that is in it, also one that is read-only.
pub(super) fn remove_subvolume(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut arguments = Named::of(name)?;
    // SAFETY: the number holds the 4096 bytes of `Named`, which are integers.
    unsafe { request(folder, 0x5000_940f, &mut arguments) }
}

/// What btrfs knows of a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subvolume {
    /// Its UUID.
    pub(super) uuid: [u8; 16],
    /// The UUID of that which it was received from; zeros if it was not, or not completely.
    pub(super) received: [u8; 16],
    pub(super) is_read_only: bool,
}

/// `BTRFS_IOC_GET_SUBVOL_INFO`.
pub(super) fn of_subvolume(folder: BorrowedFd<'_>) -> Result<Subvolume, Errno> {
    #[repr(C)]
    struct Found {
        tree: u64,
        name: [u8; 256],
        places: [u64; 3],
        flags: u64,
        uuid: [u8; 16],
        parent: [u8; 16],
        received: [u8; 16],
        rest: [u64; 20],
    }
    let mut found = Found {
        tree: 0,
        name: [0; 256],
        places: [0; 3],
        flags: 0,
        uuid: [0; 16],
        parent: [0; 16],
        received: [0; 16],
        rest: [0; 20],
    };
    // SAFETY: the number holds the 504 bytes of `Found`, which are integers.
    unsafe { request(folder, 0x81f8_943c, &mut found) }?;
    Ok(Subvolume {
        uuid: found.uuid,
        received: found.received,
        // BTRFS_ROOT_SUBVOL_RDONLY.
        is_read_only: found.flags & 1 != 0,
    })
}

/// `BTRFS_IOC_GET_SUBVOL_ROOTREF`: whether there are subvolumes in that of a folder.
pub(super) fn has_subvolumes(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    #[repr(C)]
    struct Found {
        least: u64,
        places: [u64; 510],
        count: u8,
        padding: [u8; 7],
    }
    let mut found = Found {
        least: 0,
        places: [0; 510],
        count: 0,
        padding: [0; 7],
    };
    // SAFETY: the number holds the 4096 bytes of `Found`, which are integers.
    match unsafe { request(folder, 0xd000_943d, &mut found) } {
        Ok(()) => Ok(found.count > 0),
        // More than it has room for.
        Err(Errno::OVERFLOW) => Ok(true),
        Err(errno) => Err(errno),
    }
}
