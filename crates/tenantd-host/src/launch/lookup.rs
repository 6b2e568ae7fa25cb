//! The files by which a tenant looks names up: a resolv.conf(5) and a hosts(5) of its own.
//!
//! They are in the tenant's runtime folder and mounted over those of the host. They are written in place, so a
//! running tenant sees each change. When the host replaces its file by rename(2), as most programs do that write
//! resolv.conf(5), the kernel removes the mount, and the tenant would read the host's file: [`restore`] puts the mount
//! back. A file of the host that is a link into a folder which the tenant has for itself, such as `/run`, is not
//! affected.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use super::Order;
use super::mounts::Mounts;
use super::trees;
use super::view::{on, opened};
use crate::targets::{MountNamespace, on_own_thread};
use tenantd_core::plan::model::{LaunchPlan, LinkPlan};
use tenantd_core::plan::names::text::{self, HostNames};
use tenantd_core::plan::names::{HOSTS, NameFile, RESOLV_CONF};
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Files;

/// The files, and their names in the tenant's runtime folder.
pub(crate) const FILES: [(&str, &str); 2] = [(RESOLV_CONF, "resolv.conf"), (HOSTS, "hosts")];

/// Where programs that put a stub into resolv.conf(5) write which servers it asks: systemd-resolved, NetworkManager,
/// and resolvconf(8) for dnsmasq(8).
pub const UPSTREAMS: [&str; 3] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/dnsmasq/resolv.conf",
];

/// How often a file is looked for that the host is just replacing.
const TRIES: usize = 100;

/// One that writes at a time: a launch, or a change while the tenant runs.
static WRITES: Mutex<()> = Mutex::new(());

/// A file of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// The file, in the tenant's runtime folder.
    pub own: PathBuf,
    /// Where it is mounted: the path of the host's file without symbolic links.
    pub target: PathBuf,
}

/// Reads what the host has. A file that does not exist is empty.
///
/// # Errors
/// Those of reading a file.
pub fn host_names() -> io::Result<HostNames> {
    let read = |path: &str| match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(String::new()),
            _ => Err(error),
        },
    };
    let hostname = rustix::system::uname();
    let mut host = HostNames {
        resolv: read(RESOLV_CONF)?,
        upstreams: UPSTREAMS
            .iter()
            .map(|path| read(path))
            .collect::<io::Result<_>>()?,
        hosts: read(HOSTS)?,
        hostname: hostname.nodename().to_string_lossy().into_owned(),
        addresses: BTreeSet::new(),
    };
    host.addresses = host.servers().into_iter().filter(is_local).collect();
    Ok(host)
}

/// Whether the host has an address. It does not list all addresses of the host, which has one link per tenant.
fn is_local(address: &IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(*address, 0)).is_ok()
}

/// The files that a tenant with this link has, and their texts.
fn texts(host: &HostNames, link: &LinkPlan) -> [Option<String>; 2] {
    let mut host = host.clone();
    let said = link.names.nameservers.iter().flatten().copied();
    host.addresses.extend(said.filter(is_local));
    let own = |file: NameFile| file == NameFile::Own;
    [
        own(link.names.resolv).then(|| text::resolv_conf(&host, link)),
        own(link.names.hosts).then(|| text::hosts(&host, link)),
    ]
}

/// Writes the files of the tenant `APP/TENANT` for its launch, and returns them. Its runtime folder must exist.
///
/// # Errors
/// A [`Failure`] of stage files.
pub fn write(label: &str, host: &HostNames, link: &LinkPlan) -> Result<Vec<OwnFile>, Failure> {
    write_files(label, host, link, true)
}

/// The same for a running tenant. What its launch has not made is not made: the tenant may be released meanwhile.
///
/// # Errors
/// A [`Failure`] of stage files.
pub fn update(label: &str, host: &HostNames, link: &LinkPlan) -> Result<Vec<OwnFile>, Failure> {
    write_files(label, host, link, false)
}

fn write_files(
    label: &str,
    host: &HostNames,
    link: &LinkPlan,
    create: bool,
) -> Result<Vec<OwnFile>, Failure> {
    let folder = super::view::names::folder(label);
    let mut written = Vec::new();
    for ((path, name), text) in FILES.iter().zip(texts(host, link)) {
        let failed = |error: io::Error| {
            on(STAGE, Path::new(path))(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        let (Some(text), Some(target)) = (text, target(Path::new(path)).map_err(failed)?) else {
            continue;
        };
        let own = folder.join(name);
        match write_in_place(&own, &text, create) {
            Ok(()) => written.push(OwnFile { own, target }),
            Err(error) if !create && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(written)
}

/// Where a file of the host is. `None` if there is none: then nothing can be mounted over it.
fn target(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::canonicalize(path) {
        Ok(real) => return Ok(Some(real)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // A link to what does not exist yet, as before systemd-resolved has begun.
    match fs::read_link(path) {
        Ok(to) => Ok(Some(without_dots(&Path::new("/etc").join(to)))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::InvalidInput => Ok(None),
            _ => Err(error),
        },
    }
}

fn without_dots(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    whole
}

/// Writes a text to a file that tenants have mounted. A reader sees the old text, the new one or, for an instant, the
/// new one with empty lines after it.
fn write_in_place(path: &Path, text: &str, create: bool) -> io::Result<()> {
    let _one = WRITES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        // A tenant that runs as root may have a lease on it: other tenants are not to wait until the kernel breaks it.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let mut old = Vec::new();
    file.read_to_end(&mut old)?;
    if old == text.as_bytes() {
        return Ok(());
    }
    if old.is_empty() {
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len().max(old.len()), b'\n');
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)?;
    file.set_len(text.len() as u64)
}

/// Adds the mounts of the files, except over what is the tenant's already.
///
/// # Errors
/// A [`Failure`] of stage files.
pub(super) fn add(order: &Order<'_>, mounts: &mut Mounts) -> Result<(), Failure> {
    for OwnFile { own, target } in order.lookup {
        if !is_tenants(order.launch, mounts, target) {
            let tree = opened(own).and_then(|found| trees::clone_alone(&found, true));
            mounts.add(STAGE, tree.map_err(on(STAGE, target))?, target)?;
        }
    }
    Ok(())
}

/// Whether the manifest has something else there.
fn is_tenants(launch: &LaunchPlan, mounts: &Mounts, file: &Path) -> bool {
    let mut mounted = mounts.targets().map(|(_, target)| target);
    let mut private = launch.private.iter();
    mounted.any(|target| file.starts_with(target))
        || private.any(|folder| file.starts_with(folder))
        || launch.files.iter().any(|it| it.path == file)
}

/// The mounts of one running tenant.
#[derive(Debug)]
pub struct Wanted {
    namespace: MountNamespace,
    files: Vec<(PathBuf, Stat, OwnedFd)>,
}

impl Wanted {
    /// Prepares to put the mounts of these files back. What the manifest has there itself is left out.
    ///
    /// # Errors
    /// A [`Failure`] of stage files.
    pub fn new(
        namespace: MountNamespace,
        launch: &LaunchPlan,
        files: Vec<OwnFile>,
    ) -> Result<Self, Failure> {
        let none = Mounts::default();
        let files = files
            .into_iter()
            .filter(|it| !is_tenants(launch, &none, &it.target));
        let prepared = files.map(|OwnFile { own, target }| {
            let tree = opened(&own).and_then(|found| trees::clone_alone(&found, true));
            let tree = tree.and_then(|tree| Ok((fstat(&tree)?, tree)));
            let (found, tree) = tree.map_err(on(STAGE, &target))?;
            Ok((target, found, tree))
        });
        let files = prepared.collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self { namespace, files })
    }

    /// Attaches what is not mounted. Returns where that was.
    fn restore(self) -> Result<Vec<PathBuf>, Failure> {
        let entered = self.namespace.enter();
        entered.map_err(|error| {
            on(STAGE, Path::new("/"))(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        let mut restored = Vec::new();
        for (target, own, tree) in self.files {
            if attach(&target, &own, &tree).map_err(on(STAGE, &target))? {
                restored.push(target);
            }
        }
        Ok(restored)
    }
}

/// Attaches a mount, unless it is there. A tenant may have made what is at the path: no link is followed.
fn attach(target: &Path, own: &Stat, tree: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = || openat2(CWD, target, flags, Mode::empty(), resolve);
    // While the host replaces the file, its name may lead to none.
    let place = match open() {
        Err(Errno::NOENT) => (0..TRIES).find_map(|_| open().ok()).ok_or(Errno::NOENT)?,
        place => place?,
    };
    let found = fstat(&place)?;
    if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino) {
        return Ok(false);
    }
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::ISDIR);
    }
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", &place, c"", both)?;
    Ok(true)
}

/// Puts back the mounts that were lost. For each tenant, returns where, or why it could not be done. Blocks, also if a
/// filesystem of the host hangs.
///
/// # Errors
/// Those of pthread_create(3) and unshare(2).
pub fn restore(all: Vec<Wanted>) -> io::Result<Vec<Result<Vec<PathBuf>, Failure>>> {
    on_own_thread(|| all.into_iter().map(Wanted::restore).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_a_link_are_resolved() {
        let to = Path::new("/etc/../run/./systemd/resolve/stub-resolv.conf");
        let path = without_dots(to);
        assert_eq!(path, Path::new("/run/systemd/resolve/stub-resolv.conf"));
    }

    #[test]
    fn a_file_is_written_in_place() {
        let folder = std::env::temp_dir().join(format!("tenantd-lookup-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("hosts");
        for text in [
            "first and long\n",
            "second\n",
            "third, which is longer again\n",
        ] {
            write_in_place(&path, text, true).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        write_in_place(&path, "third, which is longer again\n", false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);

        // A lease of fcntl(2).
        let lease = "import fcntl, sys, time; file = open(sys.argv[1]); \
                     fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK); print(flush=True); time.sleep(600)";
        let mut holder = std::process::Command::new("python3");
        holder.args(["-c", lease]).arg(&path);
        let mut holder = holder.stdout(std::process::Stdio::piped()).spawn().unwrap();
        io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let begun = std::time::Instant::now();
        let why = write_in_place(&path, "fourth\n", false).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::WouldBlock);
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        holder.kill().unwrap();
        holder.wait().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
