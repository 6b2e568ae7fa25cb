//! Inherited descriptors: named descriptors that outlive the process which opened them.
//!
//! They come from one of two sources. The service manager keeps descriptors in its store and passes
//! them at start (sd_listen_fds(3)). A supervisor that executes another program in its own process
//! leaves its descriptors open, with a table of them in a memfd ([`Handoff`]). A name is not a
//! proof: the caller of [`Inherited::claim`] checks that a descriptor is what its name says.
//! Descriptors that are not claimed are closed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::mpsc;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::{children, crash};

/// The variable that holds the number of the table's descriptor.
pub const TABLE: &str = "TENANTD_HERITAGE";

/// The first descriptor that the service manager gives (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// The inherited descriptors that were not yet claimed.
#[derive(Debug, Default)]
pub struct Inherited {
    left: BTreeMap<String, Vec<OwnedFd>>,
    /// The header of the handoff, if another program executed this one.
    pub header: Option<Header>,
}

/// The part of a handoff that describes the program which hands off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of that program.
    pub version: String,
    /// The path of its file when it was started.
    pub program: PathBuf,
    /// Its arguments, including its name.
    pub arguments: Vec<OsString>,
    /// Why the upgrade is rolled back, if that program is a new version that could not start.
    pub refused: Option<String>,
}

/// The table, as it is written into the memfd.
#[derive(Debug, Serialize, Deserialize)]
struct Table {
    /// The process that hands off to itself; in any other process the table has no effect.
    pid: u32,
    #[serde(rename = "word")]
    header: Header,
    entries: Vec<(String, RawFd)>,
}

impl Inherited {
    /// Takes over the descriptors that this process inherited, if any. Call it once, before
    /// anything else opens descriptors.
    ///
    /// # Errors
    /// If an announced descriptor is not open. No descriptor is taken over then.
    pub fn take() -> io::Result<Self> {
        match std::env::var(TABLE) {
            Ok(table) => Self::from_table(&table),
            Err(_) => Self::from_store(),
        }
    }

    fn from_table(number: &str) -> io::Result<Self> {
        let number = number.parse().map_err(io::Error::other)?;
        let mut inherited = Self::default();
        let table = File::from(own(number)?);
        let table: Table = serde_json::from_reader(io::BufReader::new(&table))?;
        if table.pid != process::id() {
            return Ok(inherited);
        }
        if table.header.refused.is_some() {
            // It was executed through a descriptor, whose number became the name of the process.
            rustix::thread::set_name(c"tenantd")?;
        }
        inherited.header = Some(table.header);
        for (name, number) in table.entries {
            inherited.left.entry(name).or_default().push(own(number)?);
        }
        crash::point("handoff: descriptors inherited", "");
        Ok(inherited)
    }

    fn from_store() -> io::Result<Self> {
        let mut inherited = Self::default();
        let number = |name: &str| -> Option<u32> { std::env::var(name).ok()?.parse().ok() };
        if number("LISTEN_PID") != Some(process::id()) {
            return Ok(inherited);
        }
        let count = number("LISTEN_FDS").unwrap_or(0);
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        for (_, number) in (0..count).zip(FIRST..) {
            let name = names.next().unwrap_or_default().to_owned();
            inherited.left.entry(name).or_default().push(own(number)?);
        }
        Ok(inherited)
    }

    /// Removes and returns a descriptor with this name for which `is_it` returns true.
    pub fn claim(&mut self, name: &str, is_it: impl Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
        let found = self.left.get_mut(name)?;
        let index = found.iter().position(|fd| is_it(fd.as_fd()))?;
        let taken = found.swap_remove(index);
        if found.is_empty() {
            self.left.remove(name);
        }
        Some(taken)
    }

    /// Takes back a descriptor that [`Inherited::claim`] has returned, so that it can be claimed again.
    pub fn give_back(&mut self, name: String, fd: OwnedFd) {
        self.left.entry(name).or_default().push(fd);
    }

    /// Whether all descriptors are claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Duplicates all unclaimed descriptors, for another handoff.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn copy(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let all = self
            .left
            .iter()
            .flat_map(|(name, fds)| fds.iter().map(move |fd| (name, fd)));
        all.map(|(name, fd)| Ok((name.clone(), fd.try_clone()?)))
            .collect()
    }

    /// Closes the unclaimed descriptors and returns their names.
    pub fn close(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left).into_keys().collect()
    }
}

/// Takes ownership of a descriptor that was open when this process started. The result is
/// close-on-exec.
fn own(number: RawFd) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    // Duplicate it: Rust cannot prove ownership of a bare number without `unsafe`.
    let copy = pidfd_getfd(own, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(copy)
}

/// Named descriptors that stay open in the program that this process executes next. Dropping this
/// makes them close-on-exec again.
#[derive(Debug)]
pub struct Handoff<'a> {
    open: Vec<BorrowedFd<'a>>,
    table: OwnedFd,
}

impl<'a> Handoff<'a> {
    /// Writes the table and clears close-on-exec on all descriptors.
    ///
    /// # Errors
    /// Those of memfd_create(2), write(2) and fcntl(2).
    pub fn open(
        header: Header,
        inherited: impl IntoIterator<Item = (String, BorrowedFd<'a>)>,
    ) -> io::Result<Self> {
        let inherited: Vec<_> = inherited.into_iter().collect();
        let table = Table {
            pid: process::id(),
            header,
            entries: inherited
                .iter()
                .map(|(name, fd)| (name.clone(), fd.as_raw_fd()))
                .collect(),
        };
        let mut file = File::from(memfd_create("tenantd-heritage", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(&table)?)?;
        file.rewind()?;
        crash::point("handoff: table written", "");
        let mut handoff = Self {
            open: Vec::new(),
            table: file.into(),
        };
        fcntl_setfd(&handoff.table, FdFlags::empty())?;
        for (_, fd) in inherited {
            fcntl_setfd(fd, FdFlags::empty())?;
            handoff.open.push(fd);
        }
        crash::point("handoff: descriptors left open", "");
        Ok(handoff)
    }

    /// Executes a program in place of this one, with the same environment. Returns only on failure.
    ///
    /// The main thread does so: if another one did, a pidfd of this process could become readable, as
    /// if the process had ended.
    #[must_use]
    pub fn execute(&self, program: &Path, arguments: &[OsString]) -> io::Error {
        let mut arguments = arguments.iter();
        let mut command = Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command
            .args(arguments)
            .env(TABLE, self.table.as_raw_fd().to_string());
        let (send, failed) = mpsc::sync_channel(1);
        children::run(Box::new(move || {
            let _waits = send.send(command.exec());
        }));
        failed.recv().unwrap_or_else(io::Error::other)
    }
}

impl Drop for Handoff<'_> {
    fn drop(&mut self) {
        for fd in &self.open {
            // Setting the flag cannot fail on an open descriptor.
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
}

/// Whether a descriptor refers to the file that has this path now. False if there is no such file.
///
/// # Errors
/// Those of fstat(2) and lstat(2).
pub fn is_file(fd: BorrowedFd<'_>, path: &Path) -> io::Result<bool> {
    let held = rustix::fs::fstat(fd)?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.st_dev, held.st_ino)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a message and descriptors to the service manager, see sd_pid_notify_with_fds(3). Does
/// nothing if there is no service manager (`NOTIFY_SOCKET` is not set).
///
/// # Errors
/// Those of socket(2) and sendmsg(2).
pub fn notify_store(message: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let path = path.into_encoded_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(path)?,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut more = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !more.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let bytes = io::IoSlice::new(message.as_bytes());
    sendmsg_addr(&socket, &address, &[bytes], &mut more, SendFlags::NOSIGNAL)?;
    Ok(())
}
