//! `userdb`: tells the host the names of the users that tenants have of their own.
//!
//! It is a process of its own. Every program of the host that looks up a user that it does not know asks each
//! provider, and waits up to 45 seconds for one that does not answer. So each client has a thread, a time limit, and a
//! limit on how many connections its user has; nothing that a supervisor does delays an answer.

mod answer;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rustix::net::sockopt::socket_peercred;

use super::End;
use answer::{Call, SERVICE, Users, answers};
use tenantd_host::uids;

/// The folder of all providers of the host.
const FOLDER: &str = "/run/systemd/userdb";

/// How long a client may take to send a call or to receive an answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The most connections of one user, and of all. Further ones are closed, and their clients ask the next provider.
const EACH_MAX: usize = 32;
const ALL_MAX: usize = 256;

/// The longest call in bytes.
const CALL_MAX: usize = 4096;

/// A record that was written within this time of the last reading may have been missed by it.
const FRESH: Duration = Duration::from_secs(2);

/// Answers until it is ended.
pub(super) fn userdb() -> anyhow::Result<End> {
    let listener =
        listen(FOLDER, SERVICE).with_context(|| format!("cannot listen on {FOLDER}/{SERVICE}"))?;
    let known = Arc::new(Mutex::new(Known::default()));
    let clients = Arc::new(Mutex::new(Clients::default()));
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if passes(&error) => {
                // Until a descriptor is free again.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            Err(error) => return Err(error).context("cannot accept a connection"),
        };
        let Some(place) = Clients::enter(&clients, &client) else {
            continue;
        };
        let known = Arc::clone(&known);
        let serve = move || {
            let _place = place;
            // A client that has gone or says nothing has no answer to get.
            let _gone = serve(client, &known);
        };
        // Without a thread the connection is closed.
        let _none = std::thread::Builder::new().spawn(serve);
    }
}

/// Whether the next connection may succeed.
pub(super) fn passes(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Interrupted
        || error.kind() == ErrorKind::ConnectionAborted
        || tenantd_host::want::error_passes(error)
}

/// Makes the socket, in place of one that an earlier process has left.
pub(super) fn listen(folder: &str, name: &str) -> io::Result<UnixListener> {
    fs::create_dir_all(folder)?;
    let folder = Path::new(folder);
    let new = folder.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    // Everybody may look up users and names.
    fs::set_permissions(&new, Permissions::from_mode(0o666))?;
    fs::rename(&new, folder.join(name))?;
    Ok(listener)
}

fn serve(mut client: UnixStream, known: &Mutex<Known>) -> anyhow::Result<()> {
    client.set_read_timeout(Some(LIMIT))?;
    client.set_write_timeout(Some(LIMIT))?;
    let mut bytes = Vec::new();
    let mut begun = Instant::now();
    loop {
        let mut part = [0_u8; 1024];
        let len = client.read(&mut part)?;
        if len == 0 {
            return Ok(());
        }
        if bytes.is_empty() {
            begun = Instant::now();
        }
        anyhow::ensure!(begun.elapsed() < LIMIT, "the call takes too long");
        bytes.extend_from_slice(part.get(..len).unwrap_or_default());
        while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            let call: Vec<u8> = bytes.drain(..=end).collect();
            let call: Call = serde_json::from_slice(call.get(..end).unwrap_or_default())?;
            let users = Known::users(known);
            let mut text = Vec::new();
            for answer in answers(&call, &users) {
                serde_json::to_writer(&mut text, &answer)?;
                text.push(0);
            }
            client.write_all(&text)?;
        }
        anyhow::ensure!(bytes.len() <= CALL_MAX, "the call is too long");
    }
}

/// How many connections each user has.
#[derive(Default)]
pub(super) struct Clients {
    all: BTreeMap<u32, usize>,
    /// The user of the host for whom the socket is. Like root, it is never kept out by others.
    served: Option<u32>,
}

/// A connection that counts until this is dropped.
pub(super) struct Place {
    clients: Arc<Mutex<Clients>>,
    uid: u32,
}

impl Clients {
    /// None so far, of a socket that is for one user.
    pub(super) fn of(served: Option<u32>) -> Self {
        Self {
            served,
            ..Self::default()
        }
    }

    /// Counts a connection. `None` if there are too many.
    pub(super) fn enter(clients: &Arc<Mutex<Self>>, client: &UnixStream) -> Option<Place> {
        let uid = socket_peercred(client).ok()?.uid.as_raw();
        let mut all = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let number: usize = all.all.values().sum();
        let is_first = uid == 0 || all.served == Some(uid);
        let own = all.all.get(&uid).copied().unwrap_or_default();
        // Root is never kept out by others.
        if own >= EACH_MAX || (number >= ALL_MAX && !is_first) {
            return None;
        }
        all.all.insert(uid, own + 1);
        Some(Place {
            clients: Arc::clone(clients),
            uid,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.all.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                all.all.remove(&self.uid);
            }
        }
    }
}

/// The users that were read last, and when.
#[derive(Default)]
struct Known {
    users: Arc<Users>,
    /// The folders with the records and when each was changed.
    folders: Vec<(PathBuf, SystemTime)>,
    read: Option<SystemTime>,
}

impl Known {
    /// The users. Reads them again if they may have changed; if they cannot be read, those from before count.
    fn users(known: &Mutex<Self>) -> Arc<Users> {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let Ok(folders) = folders() else {
            return Arc::clone(&known.users);
        };
        let is_settled = |read: SystemTime| {
            let mut times = folders.iter();
            times.all(|(_, time)| *time + FRESH < read)
        };
        if known.folders == folders && known.read.is_some_and(is_settled) {
            return Arc::clone(&known.users);
        }
        if let Ok(users) = uids::all() {
            *known = Self {
                users: Arc::new(users),
                folders,
                read: Some(now),
            };
        }
        Arc::clone(&known.users)
    }
}

fn folders() -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let root = Path::new(uids::ROOT);
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = vec![(root.to_owned(), fs::metadata(root)?.modified()?)];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push((entry.path(), entry.metadata()?.modified()?));
        }
    }
    folders.sort();
    Ok(folders)
}
