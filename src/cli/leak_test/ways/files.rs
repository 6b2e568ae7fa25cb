//! What a process can do to the files of a neighbour and of the host, and to what hides them.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::inotify;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, makedev, mknodat};

use super::super::aim::{Aim, Placed};
use super::super::way::{Against, Attempted, Gain, Guard, Shut, Way};
use super::{called, way};
use tenantd_api::client::Connection;
use tenantd_core::name::AppName;
use tenantd_host::launch::attempt::Call;

use Against::{Host, Neighbour};
use Gain::{Impersonate, Outlive, Read, Starve, Write};

/// The ways.
pub(super) fn ways() -> Vec<Way> {
    let mut all = vec![
        of_neighbour(("list its datastore by path", Read), |aim| {
            Ok(fs::read_dir(&aim.to.on_host).map(drop)?)
        }),
        of_neighbour(("read its file by path", Read), |aim| {
            Ok(File::open(file(&aim.to)).map(drop)?)
        }),
        of_neighbour(("write its file by path", Write), |aim| append(&aim.to)),
        of_neighbour(("read its file by a symbolic link", Read), |aim| {
            let link = aim.own.folder.join("to-neighbour");
            symlink(file(&aim.to), &link)?;
            let opened = File::open(&link);
            fs::remove_file(&link)?;
            Ok(opened.map(drop)?)
        }),
        of_neighbour(("make a hard link to its file", Read), |aim| {
            let link = aim.own.folder.join("hard-link");
            fs::hard_link(file(&aim.to), &link)?;
            Ok(fs::remove_file(&link)?)
        }),
        of_neighbour(("lock its file (flock)", Starve), |aim| lock(&aim.to)),
        of_neighbour(("watch its file (inotify)", Read), |aim| watch(&aim.to)),
        of_neighbour(("connect to its path socket", Impersonate), |aim| {
            connect_in(&aim.to.on_host)
        }),
        way(
            Neighbour,
            ("send to its notify socket", Impersonate),
            &[Guard::Domain, Guard::User],
            notify,
        ),
    ];
    all.extend(mounts());
    all.extend(host());
    all.extend(devices());
    all
}

fn of_neighbour(named: (&'static str, Gain), attempt: fn(&Aim) -> Attempted) -> Way {
    way(Neighbour, named, &[Guard::Mounts], attempt)
}

/// What would show the files that are hidden, or make them writable.
fn mounts() -> Vec<Way> {
    let mounts = [Guard::Calls, Guard::Lacks("sys_admin")];
    let mounting = |named, attempt| way(Host, named, &mounts, attempt);
    vec![
        mounting(("unmount what hides a folder (umount)", Read), |aim| {
            called(Call::Unmount(&unmounted(aim)?))
        }),
        mounting(("make a mount writable (remount)", Write), |aim| {
            called(Call::Remount(&unmounted(aim)?))
        }),
        mounting(("copy a mount (open_tree)", Read), |_| {
            called(Call::CopyMount)
        }),
        mounting(("make a file system (fsopen)", Write), |_| {
            called(Call::NewFileSystem)
        }),
        way(
            Host,
            ("open a file by its handle", Read),
            &[Guard::Calls, Guard::Lacks("dac_read_search")],
            |_| called(Call::OpenByHandle),
        ),
    ]
}

fn host() -> Vec<Way> {
    let mut enters = way(
        Host,
        ("lead `exec` out by a symbolic link", Outlive),
        &[Guard::NoMagicLinks],
        |_| Ok(()),
    );
    enters.enters = true;
    vec![
        enters,
        way(
            Host,
            ("write a file of the host", Write),
            &[Guard::ReadOnlyHost],
            |aim| append(&aim.to),
        ),
        way(
            Host,
            ("lock a readable file of the host", Starve),
            &[],
            |aim| lock(&aim.to),
        ),
        way(
            Host,
            ("watch a readable file of the host", Read),
            &[],
            |aim| watch(&aim.to),
        ),
        way(
            Host,
            ("connect to an open socket in /run", Impersonate),
            &[Guard::OwnFolders],
            |aim| match &aim.to.runtime {
                Some(folder) => connect_in(folder),
                None => Err(Shut::Untried("there is no such socket".to_owned())),
            },
        ),
        way(
            Host,
            ("connect to an open socket elsewhere", Impersonate),
            &[],
            |aim| connect_in(&aim.to.on_host),
        ),
    ]
}

/// What leads to the supervisor, and to devices.
fn devices() -> Vec<Way> {
    vec![
        way(
            Against::Supervisor,
            ("give it orders by the control socket", Impersonate),
            &[Guard::OwnFolders, Guard::User, Guard::Orders],
            order,
        ),
        way(
            Host,
            ("make a device (mknod)", Write),
            &[Guard::Lacks("mknod")],
            |aim| {
                let path = aim.own.folder.join("device");
                let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR);
                mknodat(CWD, &path, kind, mode, makedev(1, 3))?;
                Ok(fs::remove_file(&path)?)
            },
        ),
        way(
            Host,
            ("open the memory of the host (/dev/mem)", Read),
            &[Guard::OwnFolders, Guard::Lacks("sys_rawio")],
            |_| Ok(File::open("/dev/mem").map(drop)?),
        ),
        way(
            Host,
            ("read the kernel log (/dev/kmsg)", Read),
            &[Guard::OwnFolders, Guard::Lacks("syslog")],
            |_| Ok(File::open("/dev/kmsg").map(drop)?),
        ),
    ]
}

fn file(of: &Placed) -> std::path::PathBuf {
    of.on_host.join(Placed::FILE)
}

/// Opens the file to append, and appends nothing.
fn append(to: &Placed) -> Attempted {
    Ok(OpenOptions::new().append(true).open(file(to)).map(drop)?)
}

fn lock(to: &Placed) -> Attempted {
    let file = File::open(file(to))?;
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive)?)
}

fn watch(to: &Placed) -> Attempted {
    let watches = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let watched = inotify::add_watch(watches, file(to), inotify::WatchFlags::MODIFY);
    Ok(watched.map(drop)?)
}

/// The path of a socket may be longer than an address can be.
fn connect_in(folder: &Path) -> Attempted {
    std::env::set_current_dir(folder)?;
    Ok(UnixStream::connect(Placed::SOCKET).map(drop)?)
}

fn notify(aim: &Aim) -> Attempted {
    let folder = aim.to.proc("root/run/tenantd/.sockets");
    std::env::set_current_dir(folder.join(&aim.app))?;
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    Ok(socket.connect("notify")?)
}

/// Asks the supervisor what only root may know, and changes nothing.
fn order(aim: &Aim) -> Attempted {
    let app = aim.app.parse::<AppName>();
    let app = app.map_err(|error| Shut::Untried(error.to_string()))?;
    let answered = crate::cli::converse(async {
        let mut connection = Connection::open(&app).await?;
        Ok(connection.diff().await?)
    });
    answered
        .map(drop)
        .map_err(|error| Shut::Refused(error.to_string()))
}

/// A path at which nothing is mounted.
fn unmounted(aim: &Aim) -> Result<CString, Shut> {
    let path = aim.own.folder.as_os_str().as_bytes();
    CString::new(path).map_err(|error| Shut::Untried(error.to_string()))
}
