//! The objects that a process of the command places, in a tenant or on the host, so that no attempt concerns
//! what others have made. It holds them until its standard input ends, and then removes them.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::sys::signal::SigSet;
use rustix::io::Errno;
use rustix::process::getuid;
use serde::{Deserialize, Serialize};

use super::aim::Placed;
use tenantd_host::launch::attempt::{self, Call, Keyring};

/// What is to be placed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Places {
    /// The name of everything that has one.
    pub(super) id: String,
    /// The key of SysV objects.
    pub(super) key: i32,
    /// The folder in which it makes one, as it sees it.
    pub(super) within: PathBuf,
    /// The folder that it makes, as the host sees it.
    pub(super) on_host: PathBuf,
    /// A second folder that it makes, with a socket.
    pub(super) runtime: Option<PathBuf>,
    /// Whether every user may write to its file and connect to its sockets.
    pub(super) open: bool,
    /// Where its symbolic link leads.
    pub(super) link: Option<PathBuf>,
}

impl Places {
    fn folder(&self) -> PathBuf {
        self.within.join(&self.id)
    }

    /// Whether a process of this user that was to place this would say so.
    pub(super) fn fits(&self, placed: &Placed, by: u32) -> bool {
        let Placed {
            pid: _,
            uid,
            id,
            key,
            folder,
            on_host,
            descriptor,
            port: _,
            addresses,
            runtime,
        } = placed;
        (*uid, id, *key) == (by, &self.id, self.key)
            && (folder, on_host, runtime) == (&self.folder(), &self.on_host, &self.runtime)
            && *descriptor > 2
            && addresses.is_empty()
    }

    /// Places the objects, says where they are, and holds them until standard input ends.
    ///
    /// # Errors
    /// If one cannot be made. What has been made is removed, and nothing that others have made.
    pub(super) fn hold(&self) -> anyhow::Result<()> {
        // Neither Ctrl-C nor the end of its parent ends it before it has removed them: its standard input
        // ends then.
        SigSet::all().thread_block()?;
        match attempt::make_objects(self.key) {
            Err(Errno::EXIST) => bail!(
                "another program has SysV objects with the key {:#x}: try again",
                self.key
            ),
            made => made.context("cannot make its SysV objects")?,
        }
        let held = self.make();
        let told = held.and_then(|(placed, held)| {
            let mut out = io::stdout();
            serde_json::to_writer(&mut out, &placed)?;
            writeln!(out)?;
            io::stdin().read_to_end(&mut Vec::new())?;
            held.drop_keys()
        });
        self.remove(&self.folder())?;
        told
    }

    fn make(&self) -> anyhow::Result<(Placed, Held)> {
        let folder = self.folder();
        let (folder_mode, mode) = match self.open {
            true => (0o755, 0o666),
            false => (0o700, 0o600),
        };
        make_folder(&folder, folder_mode)?;
        let file = folder.join(Placed::FILE);
        let file = make_file(&file, mode).with_context(|| file.display().to_string())?;
        if let Some(to) = &self.link {
            symlink(to, folder.join(Placed::LINK)).context("cannot make a symbolic link")?;
        }
        let mut sockets = vec![listen(&folder, mode)?];
        if let Some(runtime) = &self.runtime {
            make_folder(runtime, folder_mode)?;
            sockets.push(listen(runtime, mode)?);
        }
        let address = SocketAddr::from_abstract_name(&self.id)?;
        sockets.push(UnixListener::bind_addr(&address).context("cannot make an abstract socket")?);
        let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
        let keys = self.make_objects().context("cannot make its objects")?;
        let placed = Placed {
            pid: i32::try_from(std::process::id())?,
            uid: getuid().as_raw(),
            id: self.id.clone(),
            key: self.key,
            folder,
            on_host: self.on_host.clone(),
            descriptor: file.as_raw_fd(),
            port: port.local_addr()?.port(),
            addresses: Vec::new(),
            runtime: self.runtime.clone(),
        };
        Ok((
            placed,
            Held {
                _file: file,
                _sockets: sockets,
                _port: port,
                keys,
            },
        ))
    }

    fn make_objects(&self) -> anyhow::Result<Vec<(Keyring, i64)>> {
        let name = CString::new(self.id.as_str())?;
        match Call::PosixQueue(&name, true).make() {
            // A domain that restricts writing refuses it.
            Ok(_) | Err(Errno::ACCESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        make_file(&shared_memory(&self.id), 0o600)?;
        let mut keys = Vec::new();
        for ring in [Keyring::User, Keyring::Session] {
            match Call::AddKey(ring, &name).make() {
                // The filter of system calls refuses it, and finding one too.
                Err(Errno::PERM | Errno::NOSYS) => {}
                Ok(key) => keys.push((ring, key)),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(keys)
    }

    /// Removes what is left, whether or not the process that made it has done so. `folder` is its folder as
    /// the caller sees it.
    ///
    /// # Errors
    /// That of the first removal that failed.
    pub(super) fn remove(&self, folder: &Path) -> anyhow::Result<()> {
        for folder in [Some(folder), self.runtime.as_deref()]
            .into_iter()
            .flatten()
        {
            gone(fs::remove_dir_all(folder)).with_context(|| folder.display().to_string())?;
        }
        gone(fs::remove_file(shared_memory(&self.id)))?;
        let name = CString::new(self.id.as_str())?;
        attempt::remove_objects(self.key)?;
        gone(
            Call::RemovePosixQueue(&name)
                .make()
                .map(drop)
                .map_err(io::Error::from),
        )?;
        Ok(())
    }
}

/// What lives as long as the process holds it.
struct Held {
    _file: File,
    _sockets: Vec<UnixListener>,
    _port: TcpListener,
    keys: Vec<(Keyring, i64)>,
}

impl Held {
    fn drop_keys(&self) -> anyhow::Result<()> {
        for (ring, key) in &self.keys {
            Call::DropKey(*ring, *key).make()?;
        }
        Ok(())
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn shared_memory(id: &str) -> PathBuf {
    Path::new("/dev/shm").join(id)
}

fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().mode(mode).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

fn make_file(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true).mode(mode);
    let mut file = options.open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(b"a file of `tenantd leak-test`\n")?;
    Ok(file)
}

/// A socket with a short path: its folder may have a long one.
fn listen(folder: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    std::env::set_current_dir(folder).context("cannot enter its folder")?;
    let socket = UnixListener::bind(Placed::SOCKET).context("cannot make a socket")?;
    fs::set_permissions(Placed::SOCKET, Permissions::from_mode(mode))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_must_be_what_it_was_asked_for() {
        let places = Places {
            id: "id".to_owned(),
            key: 7,
            within: "/var/lib/store".into(),
            on_host: "/var/lib/tenantd/shop/acme/id".into(),
            runtime: None,
            open: false,
            link: None,
        };
        let said = Placed {
            pid: 42,
            uid: 1000,
            id: "id".to_owned(),
            key: 7,
            folder: "/var/lib/store/id".into(),
            on_host: places.on_host.clone(),
            descriptor: 3,
            port: 80,
            addresses: Vec::new(),
            runtime: None,
        };
        assert!(places.fits(&said, 1000));
        assert!(!places.fits(&said, 0));
        let key = Placed {
            key: 8,
            ..said.clone()
        };
        let folder = Placed {
            folder: "/etc".into(),
            ..said.clone()
        };
        let runtime = Placed {
            runtime: Some("/run/x".into()),
            ..said
        };
        assert!(
            [key, folder, runtime]
                .iter()
                .all(|it| !places.fits(it, 1000))
        );
    }
}
