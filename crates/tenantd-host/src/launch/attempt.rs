//! System calls by which `leak-test` finds out what the processes of a tenant can do.
//!
//! Each is made so that the kernel checks the right to it first, and then finds nothing to do: an address at
//! which nothing is, an argument that does not exist. [`Call::make`] takes these errors as success.
#![allow(unsafe_code)]

mod objects;

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_long;
use rustix::io::Errno;

use super::raw::last_errno;

pub use self::objects::{make_objects, remove_objects};

/// An address at which no process has memory.
const NOWHERE: usize = 4096;

/// More bytes than any of these calls reads.
static ZEROS: [u8; 256] = [0; 256];

/// A handle of a file as name_to_handle_at(2) gives it: eight bytes, of type 1.
static HANDLE: [u32; 4] = [8, 1, 2, 0];

/// A system call, with the process or object that it is for.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// ptrace(2), `PTRACE_SEIZE`: the process continues, and is free again when this one ends.
    Trace(i32),
    /// kcmp(2) of the tables of descriptors of this process and another.
    Compare(i32),
    /// get_robust_list(2).
    RobustList(i32),
    /// move_pages(2), of no page.
    MovePages(i32),
    /// sched_setscheduler(2), to the policy and priority that each process has at first.
    Scheduler(i32),
    /// ioprio_set(2) of one process, to the class that each has at first.
    IoPriority(i32),
    /// open_by_handle_at(2) in the file system of the root folder.
    OpenByHandle,
    /// umount2(2) of a path at which nothing is mounted.
    Unmount(&'a CStr),
    /// mount(2), which makes a mount writable, at a path at which nothing is mounted.
    Remount(&'a CStr),
    /// open_tree(2): a copy of the mount of the root folder.
    CopyMount,
    /// fsopen(2): a new file system in memory.
    NewFileSystem,
    /// unshare(2): a new user namespace.
    NewUserNamespace,
    /// unshare(2): a new mount namespace.
    NewMountNamespace,
    /// setns(2), into the network namespace of a process.
    EnterNetwork(BorrowedFd<'a>),
    /// bpf(2): a program without instructions.
    Bpf,
    /// perf_event_open(2), of an event that does not exist.
    Perf,
    /// io_uring_setup(2), without parameters.
    IoUring,
    /// userfaultfd(2), which can also stop the kernel.
    UserFault,
    /// init_module(2), of no module.
    LoadModule,
    /// kexec_load(2), with flags that do not exist.
    LoadKernel,
    /// reboot(2), with a magic number that is none.
    Reboot,
    /// sethostname(2), with a length that is none.
    SetHostName,
    /// syslog(2): the size of the buffer of the kernel log.
    KernelLog,
    /// ioctl(2), `TIOCSTI`: types on a terminal.
    Type(BorrowedFd<'a>),
    /// ioctl(2), `SIOCSIFADDR`: an address of no interface.
    SetAddress(BorrowedFd<'a>),
    /// ioctl(2), `SIOCSARP`: an ARP entry of no family.
    SetNeighbour(BorrowedFd<'a>),
    /// shmget(2) of a segment of memory, which it makes if `true`.
    SharedMemory(i32, bool),
    /// semget(2) of a set of semaphores, which it makes if `true`.
    Semaphores(i32, bool),
    /// msgget(2) of a queue, which it makes if `true`.
    MessageQueue(i32, bool),
    /// mq_open(3) of a queue, which it makes if `true`.
    PosixQueue(&'a CStr, bool),
    /// mq_unlink(3).
    RemovePosixQueue(&'a CStr),
    /// add_key(2) to a keyring of this process. The result is the key.
    AddKey(Keyring, &'a CStr),
    /// keyctl(2): removes a key from a keyring.
    DropKey(Keyring, c_long),
    /// keyctl(2): searches a keyring for a key.
    FindKey(Keyring, &'a CStr),
}

/// A keyring that each process has, see keyrings(7).
#[derive(Debug, Clone, Copy)]
pub enum Keyring {
    /// That of the session.
    Session,
    /// That of the user.
    User,
}

impl Keyring {
    fn number(self) -> c_long {
        match self {
            Self::Session => -3,
            Self::User => -4,
        }
    }
}

fn address<T: ?Sized>(of: &T) -> c_long {
    let address = std::ptr::from_ref(of).cast::<u8>().expose_provenance();
    c_long::try_from(address).unwrap_or_default()
}

fn text(of: &CStr) -> c_long {
    address(of.to_bytes_with_nul())
}

fn fd(of: BorrowedFd<'_>) -> c_long {
    of.as_raw_fd().into()
}

const fn mode(makes: bool) -> c_long {
    match makes {
        true => 0o600 | 0o1000 | 0o2000,
        false => 0o600,
    }
}

/// The number of a call and its arguments.
type Numbers = (c_long, [c_long; 6]);

impl Call<'_> {
    /// Makes the call. Returns its result: 0 if it was permitted and did nothing.
    ///
    /// # Errors
    /// That of the call, if it was not permitted.
    pub fn make(self) -> Result<c_long, Errno> {
        let (number, arguments) = self.numbers();
        match call(number, arguments) {
            Err(errno) if self.did_nothing(errno) => Ok(0),
            done => done,
        }
    }

    fn numbers(self) -> Numbers {
        let zeros = address(&ZEROS);
        match self {
            Self::Trace(pid) => (libc::SYS_ptrace, [0x4206, pid.into(), 0, 0, 0, 0]),
            Self::Compare(pid) => {
                let own = std::process::id().into();
                (libc::SYS_kcmp, [own, pid.into(), 2, 0, 0, 0])
            }
            Self::RobustList(pid) => (libc::SYS_get_robust_list, [pid.into(), 0, 0, 0, 0, 0]),
            Self::MovePages(pid) => (libc::SYS_move_pages, [pid.into(), 0, 0, 0, 0, 0]),
            Self::Scheduler(pid) => (
                libc::SYS_sched_setscheduler,
                [pid.into(), 0, zeros, 0, 0, 0],
            ),
            Self::IoPriority(pid) => (libc::SYS_ioprio_set, [1, pid.into(), 0, 0, 0, 0]),
            Self::Bpf => (libc::SYS_bpf, [5, zeros, 48, 0, 0, 0]),
            Self::Perf => (libc::SYS_perf_event_open, [zeros, 0, -1, -1, 0, 0]),
            Self::IoUring => (libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
            Self::UserFault => (libc::SYS_userfaultfd, [0, 0, 0, 0, 0, 0]),
            Self::LoadModule => (libc::SYS_init_module, [0, 0, 0, 0, 0, 0]),
            Self::LoadKernel => (libc::SYS_kexec_load, [0, 0, 0, 0xff, 0, 0]),
            Self::Reboot => (libc::SYS_reboot, [0; 6]),
            Self::SetHostName => (libc::SYS_sethostname, [0, -1, 0, 0, 0, 0]),
            Self::KernelLog => (libc::SYS_syslog, [10, 0, 0, 0, 0, 0]),
            Self::Type(on) => (libc::SYS_ioctl, [fd(on), 0x5412, zeros, 0, 0, 0]),
            Self::SetAddress(by) => (libc::SYS_ioctl, [fd(by), 0x8916, zeros, 0, 0, 0]),
            Self::SetNeighbour(by) => (libc::SYS_ioctl, [fd(by), 0x8955, zeros, 0, 0, 0]),
            Self::OpenByHandle
            | Self::Unmount(_)
            | Self::Remount(_)
            | Self::CopyMount
            | Self::NewFileSystem
            | Self::NewUserNamespace
            | Self::NewMountNamespace
            | Self::EnterNetwork(_) => self.of_files(),
            Self::SharedMemory(..)
            | Self::Semaphores(..)
            | Self::MessageQueue(..)
            | Self::PosixQueue(..)
            | Self::RemovePosixQueue(_)
            | Self::AddKey(..)
            | Self::DropKey(..)
            | Self::FindKey(..) => self.of_objects(),
        }
    }

    /// Those of mounts and namespaces.
    fn of_files(self) -> Numbers {
        let root = text(c"/");
        let here = c_long::from(libc::AT_FDCWD);
        match self {
            Self::OpenByHandle => {
                let flags = c_long::from(libc::O_PATH | libc::O_CLOEXEC);
                let handle = address(&HANDLE);
                (libc::SYS_open_by_handle_at, [here, handle, flags, 0, 0, 0])
            }
            Self::Unmount(path) => (libc::SYS_umount2, [text(path), 2, 0, 0, 0, 0]),
            // MS_REMOUNT | MS_BIND.
            Self::Remount(path) => (libc::SYS_mount, [0, text(path), 0, 32 | 4096, 0, 0]),
            Self::NewFileSystem => (libc::SYS_fsopen, [text(c"tmpfs"), 1, 0, 0, 0, 0]),
            Self::NewUserNamespace => {
                let flags = libc::CLONE_NEWUSER.into();
                (libc::SYS_unshare, [flags, 0, 0, 0, 0, 0])
            }
            Self::NewMountNamespace => {
                let flags = libc::CLONE_NEWNS.into();
                (libc::SYS_unshare, [flags, 0, 0, 0, 0, 0])
            }
            Self::EnterNetwork(of) => {
                let kind = libc::CLONE_NEWNET.into();
                (libc::SYS_setns, [fd(of), kind, 0, 0, 0, 0])
            }
            // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC.
            _ => {
                let flags = c_long::from(1 | libc::O_CLOEXEC);
                (libc::SYS_open_tree, [here, root, flags, 0, 0, 0])
            }
        }
    }

    /// Those of objects that have a key or a name.
    fn of_objects(self) -> Numbers {
        let user = text(c"user");
        match self {
            Self::SharedMemory(key, makes) => {
                let size = if makes { 4096 } else { 0 };
                (libc::SYS_shmget, [key.into(), size, mode(makes), 0, 0, 0])
            }
            Self::Semaphores(key, makes) => {
                let count = c_long::from(makes);
                (libc::SYS_semget, [key.into(), count, mode(makes), 0, 0, 0])
            }
            Self::MessageQueue(key, makes) => {
                (libc::SYS_msgget, [key.into(), mode(makes), 0, 0, 0, 0])
            }
            Self::PosixQueue(name, makes) => {
                let flags = libc::O_RDWR | libc::O_CLOEXEC;
                let flags = flags | if makes { libc::O_CREAT } else { 0 };
                (
                    libc::SYS_mq_open,
                    [text(name), flags.into(), 0o600, 0, 0, 0],
                )
            }
            Self::RemovePosixQueue(name) => (libc::SYS_mq_unlink, [text(name), 0, 0, 0, 0, 0]),
            Self::AddKey(ring, name) => {
                let (name, ring) = (text(name), ring.number());
                (libc::SYS_add_key, [user, name, user, 4, ring, 0])
            }
            // KEYCTL_UNLINK.
            Self::DropKey(ring, key) => (libc::SYS_keyctl, [9, key, ring.number(), 0, 0, 0]),
            // KEYCTL_SEARCH.
            Self::FindKey(ring, name) => {
                let arguments = [10, ring.number(), user, text(name), 0, 0];
                (libc::SYS_keyctl, arguments)
            }
            _ => (-1, [0; 6]),
        }
    }

    /// Whether the error is what the kernel says after it has permitted the call.
    fn did_nothing(self, errno: Errno) -> bool {
        match self {
            Self::RobustList(_) => errno == Errno::FAULT,
            Self::IoUring | Self::Perf => {
                [Errno::FAULT, Errno::INVAL, Errno::NOENT].contains(&errno)
            }
            Self::Bpf => errno == Errno::TOOBIG,
            Self::LoadModule => [Errno::FAULT, Errno::NOEXEC].contains(&errno),
            Self::OpenByHandle => [Errno::STALE, Errno::INVAL, Errno::OPNOTSUPP].contains(&errno),
            Self::SetNeighbour(_) => [Errno::PFNOSUPPORT, Errno::INVAL].contains(&errno),
            Self::Unmount(_)
            | Self::Remount(_)
            | Self::LoadKernel
            | Self::Reboot
            | Self::SetHostName
            | Self::SetAddress(_) => errno == Errno::INVAL,
            _ => false,
        }
    }
}

/// Makes a call.
fn call(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> Result<c_long, Errno> {
    // SAFETY: only `Call::make` and `objects` call this. The arguments are numbers, null pointers, and addresses of
    // memory that lives during the call and that the kernel only reads. No call changes the memory, the
    // stack or the signal handlers of this process.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        return Err(last_errno());
    }
    Ok(result)
}

/// Reads a byte of the memory of another process at an address that it does not have, or writes one.
///
/// # Errors
/// That of process_vm_readv(2) or process_vm_writev(2), if it was not permitted.
pub fn reach_memory(pid: i32, writes: bool) -> Result<(), Errno> {
    let mut byte = 0_u8;
    let here = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let there = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(NOWHERE),
        iov_len: 1,
    };
    let (here, there) = (&raw const here, &raw const there);
    // SAFETY: each points to one iovec. The kernel writes at most one byte of this process, to `byte`, which
    // outlives the call, and never reads or writes memory of the other process through our address space.
    let result = unsafe {
        match writes {
            true => libc::process_vm_writev(pid, here, 1, there, 1, 0),
            false => libc::process_vm_readv(pid, here, 1, there, 1, 0),
        }
    };
    match last_errno() {
        _ if result >= 0 => Ok(()),
        Errno::FAULT => Ok(()),
        errno => Err(errno),
    }
}

/// Sets the clock to a rate that the kernel refuses.
///
/// # Errors
/// That of adjtimex(2), if it was not permitted.
pub fn set_clock() -> Result<(), Errno> {
    // SAFETY: all fields of a timex are integers, for which zeros are a value.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    clock.modes = libc::ADJ_TICK;
    // SAFETY: the kernel reads and writes one timex, which outlives the call.
    let result = unsafe { libc::adjtimex(&raw mut clock) };
    match last_errno() {
        _ if result >= 0 => Ok(()),
        Errno::INVAL => Ok(()),
        errno => Err(errno),
    }
}
