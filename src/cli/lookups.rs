//! A socket at which the host looks something up: users for `userdb`, names for `resolve-hook`. Its calls are those of
//! varlink: JSON with a NUL at the end.
//!
//! Every look-up of the host waits for the answer. So each client has a thread, a time limit, and a limit on how many
//! connections its user has; nothing that a supervisor does delays an answer.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::net::sockopt::socket_peercred;
use serde::de::DeserializeOwned;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};

use super::End;

/// How long a client may take to send a call or to receive an answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The most connections of one user, and of all. Further ones are closed, and their clients ask the next provider.
const EACH_MAX: usize = 32;
const ALL_MAX: usize = 256;

/// What is served, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    /// The folder of all such sockets of the host.
    pub(super) folder: &'static str,
    /// The name of the socket.
    pub(super) name: &'static str,
    /// The user of the host for whom it is.
    pub(super) served: Option<u32>,
    /// The longest call in bytes.
    pub(super) call_max: usize,
    /// Whether a client may be silent for as long as it likes between two calls.
    pub(super) is_kept_open: bool,
}

impl Service {
    /// Answers until it is ended. `answer` appends the answers to a call, each with a NUL.
    ///
    /// # Errors
    /// If the socket cannot be made or does not accept any longer.
    pub(super) fn serve<C: DeserializeOwned>(
        self,
        answer: impl Fn(&C, &mut Vec<u8>) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<End> {
        let Self { folder, name, .. } = self;
        let listener =
            listen(folder, name).with_context(|| format!("cannot listen on {folder}/{name}"))?;
        remove_at_end(&Path::new(folder).join(name)).context("cannot catch signals")?;
        let clients = Arc::new(Mutex::new(Clients::of(self.served)));
        let answer = Arc::new(answer);
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
            let answer = Arc::clone(&answer);
            let serve = move || {
                let _place = place;
                // A client that has gone or says nothing has no answer to get.
                let _gone = self.converse(client, &*answer);
            };
            // Without a thread the connection is closed.
            let _none = std::thread::Builder::new().spawn(serve);
        }
    }

    fn converse<C: DeserializeOwned>(
        self,
        mut client: UnixStream,
        answer: &impl Fn(&C, &mut Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        client.set_write_timeout(Some(LIMIT))?;
        let mut bytes = Vec::new();
        let mut begun = Instant::now();
        loop {
            let is_patient = self.is_kept_open && bytes.is_empty();
            client.set_read_timeout((!is_patient).then_some(LIMIT))?;
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
                let call: C = serde_json::from_slice(call.get(..end).unwrap_or_default())?;
                let mut text = Vec::new();
                answer(&call, &mut text)?;
                client.write_all(&text)?;
            }
            anyhow::ensure!(bytes.len() <= self.call_max, "the call is too long");
        }
    }
}

/// Whether the next connection may succeed.
fn passes(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Interrupted
        || error.kind() == ErrorKind::ConnectionAborted
        || tenantd_host::want::error_passes(error)
}

/// Makes the socket, in place of one that an earlier process has left.
fn listen(folder: &str, name: &str) -> io::Result<UnixListener> {
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

/// Removes the socket when this process is asked to end, unless another process has replaced it. As long as it is there and
/// nobody listens, look-ups of the host fail: those of a number that nobody has, too.
fn remove_at_end(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    let is = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    let made = is(&path)?;
    let (mut read, write) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        pipe::register(signal, write.try_clone()?)?;
    }
    std::thread::Builder::new().spawn(move || {
        let _signal = read.read(&mut [0; 1]);
        if is(&path).is_ok_and(|now| now == made) {
            // It can only be left there.
            let _left = fs::remove_file(&path);
        }
        // Ends this process.
        let _failed = emulate_default_handler(SIGTERM);
    })?;
    Ok(())
}

/// How many connections each user has.
#[derive(Default)]
struct Clients {
    all: BTreeMap<u32, usize>,
    /// The user of the host for whom the socket is. Like root, it is never kept out by others.
    served: Option<u32>,
}

/// A connection that counts until this is dropped.
struct Place {
    clients: Arc<Mutex<Clients>>,
    uid: u32,
}

impl Clients {
    /// None so far, of a socket that is for one user.
    fn of(served: Option<u32>) -> Self {
        Self {
            served,
            ..Self::default()
        }
    }

    /// Counts a connection. `None` if there are too many.
    fn enter(clients: &Arc<Mutex<Self>>, client: &UnixStream) -> Option<Place> {
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
