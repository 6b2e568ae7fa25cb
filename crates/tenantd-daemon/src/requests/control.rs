//! The control socket: accepts, looks at who asks, decodes, puts the request on the [`RequestQueue`] and
//! sends the answer back. It knows nothing of tenants and decides nothing.
//!
//! Each connection is a task of its own, so that a request which waits delays nobody else. A
//! connection that says nothing costs its buffers and no wake-up; one that sends nonsense is
//! closed, and only that one.

mod guard;
mod parts;
mod service;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{Shutdown, SocketAddrUnix};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use zlink::{ReadyListener, Server};

use crate::requests::control::guard::{Guarded, hung_up};
pub use crate::requests::control::parts::PART;
use crate::requests::control::service::Service;
use crate::requests::queue::RequestQueue;
use tenantd_api::wire;
use tenantd_api::wire::varlink::Refusal;
use tenantd_core::name::AppName;
use tenantd_host::inherited::Inherited;

/// How many connections are served at once. An operator has one or two, a monitor a few; each may
/// hold [`wire::REQUEST_MAX`] bytes.
pub const CONNECTIONS_MAX: u32 = 64;

/// How long to wait where accept(2) failed for want of descriptors or memory: the connection is
/// still pending, so that trying at once would spin.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Something that is no socket has its place.
    #[error("{}: is no socket, and is left alone: remove it", .path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// It could not be made.
    #[error("{}: cannot {attempt} the control socket", .path.display())]
    Make {
        /// Which step.
        attempt: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The name under which the socket is handed down.
pub const NAME: &str = "control";

/// The control socket of an application. It is removed when this is dropped, so this must be
/// dropped before the application's lock.
#[derive(Debug)]
pub struct Listener {
    app: AppName,
    socket: UnixListener,
    path: PathBuf,
}

/// Makes the control socket `/run/tenantd/<app>/control`, readable and writable by its owner
/// alone, in place of what a dead supervisor left there. The caller holds the application's lock,
/// so that no live one can own it, and runs within a tokio runtime.
///
/// # Errors
/// See [`ControlError`].
pub fn bind(app: &AppName) -> Result<Listener, ControlError> {
    let path = wire::control_socket(app);
    // Made beside its place and renamed into it (rename(2) is atomic): nobody finds it before
    // its permissions are set, nor a moment without any socket.
    let new = path.with_extension("new");
    let failed = |attempt| {
        let path = path.clone();
        move |source| ControlError::Make {
            attempt,
            path,
            source,
        }
    };
    match std::fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ControlError::Foreign { path });
        }
        Ok(_) => {
            tracing::info!(path = %path.display(), "replacing the socket of a dead supervisor");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("clear the place of")(error));
        }
        Ok(()) | Err(_) => {}
    }
    let socket = UnixListener::bind(&new).map_err(failed("bind"))?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .map_err(failed("set the permissions of"))?;
    std::fs::rename(&new, &path).map_err(failed("put in place"))?;
    Ok(Listener {
        app: app.clone(),
        socket,
        path,
    })
}

impl Listener {
    /// The socket that the program before this one served, if it was handed down: whoever
    /// connected to it since has been waiting. Else a new one, see [`bind`].
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn inherit(app: &AppName, inherited: &mut Inherited) -> Result<Self, ControlError> {
        let claimed = Self::claim(app, inherited).map_err(|source| ControlError::Make {
            attempt: "go on with",
            path: wire::control_socket(app),
            source,
        })?;
        match claimed {
            Some(listener) => Ok(listener),
            None => bind(app),
        }
    }

    fn claim(app: &AppName, inherited: &mut Inherited) -> io::Result<Option<Self>> {
        let path = wire::control_socket(app);
        // It was bound beside its place.
        let bound = SocketAddrUnix::new(path.with_extension("new"))?;
        let is_it = |fd: BorrowedFd<'_>| {
            rustix::net::getsockname(fd).is_ok_and(|name| name == bound.clone().into())
        };
        if !path.exists() {
            return Ok(None);
        }
        let Some(socket) = inherited.claim(NAME, is_it) else {
            return Ok(None);
        };
        let socket = UnixListener::from_std(socket.into())?;
        let app = app.clone();
        Ok(Some(Self { app, socket, path }))
    }

    /// The socket, to be handed down.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

impl Listener {
    /// Serves all who may ask, until it is dropped. Must run within a
    /// [`tokio::task::LocalSet`]: each connection is a local task.
    pub async fn serve(self, queue: RequestQueue) {
        let (_open, closed) = channel(());
        let _itself = self.serve_until(queue, closed).await;
    }

    /// Serves until the sender of `closed` is dropped. Then it answers whoever has asked, and gives
    /// itself back: those who connect from now on wait in its backlog.
    async fn serve_until(self, queue: RequestQueue, mut closed: Receiver<()>) -> Self {
        let service = Service::new(self.app.clone(), queue);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = closed.changed() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => admit(stream, &places, &service, &closed),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the control socket");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        // Each connection gives its place back when it has been answered.
        let _all = places.acquire_many(CONNECTIONS_MAX).await;
        self
    }
}

/// Serves the connection in a task of its own, or says why not and closes it.
fn admit(stream: UnixStream, places: &Arc<Semaphore>, service: &Service, closed: &Receiver<()>) {
    let peer = stream.peer_cred();
    let pid = peer.as_ref().ok().and_then(tokio::net::unix::UCred::pid);
    let refusal = match peer {
        Ok(peer) if !may_request(peer.uid()) => {
            tracing::warn!(
                pid = peer.pid(),
                uid = peer.uid(),
                "refused on the control socket"
            );
            Refusal::NotAllowed { uid: peer.uid() }
        }
        Ok(_) => match Arc::clone(places).try_acquire_owned() {
            Ok(place) => {
                let service = service.of(pid);
                let closed = closed.clone();
                tokio::task::spawn_local(async move {
                    serve(stream, service, closed).await;
                    drop(place);
                });
                return;
            }
            Err(_) => Refusal::TooManyConnections {
                limit: CONNECTIONS_MAX,
            },
        },
        Err(error) => {
            tracing::warn!(%error, "cannot tell who asks on the control socket");
            return;
        }
    };
    turn_away(&stream, &refusal);
}

fn may_request(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Sends one error without a request and closes. The socket's buffer is empty and the error is
/// short: it fits, or the peer has left.
fn turn_away(stream: &UnixStream, refusal: &Refusal) {
    match serde_json::to_vec(refusal) {
        Ok(mut message) => {
            message.push(0);
            match rustix::net::send(stream, &message, rustix::net::SendFlags::NOSIGNAL) {
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the refused peer has left"),
            }
        }
        Err(error) => tracing::error!(%error, "cannot encode a refusal"),
    }
}

async fn serve(stream: UnixStream, service: Service, mut closed: Receiver<()>) {
    let watch = match guard::watch(&stream) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "cannot watch a connection to the control socket");
            return;
        }
    };
    let server = Server::new(ReadyListener::new(Guarded::new(stream)), service);
    let mut served = pin!(server.run());
    let mut open = true;
    loop {
        tokio::select! {
            // First, so that what a peer sent before it left is still put on the request queue.
            biased;
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the control socket failed");
                }
                return;
            }
            // Nobody would read the answer: dropping the request tells the loop.
            () = hung_up(&watch) => return,
            // What was sent before is read to its end and answered; from now on sending fails, so
            // that a peer knows what was never read.
            _ = closed.changed(), if open => {
                open = false;
                if let Err(error) = rustix::net::shutdown(&watch, Shutdown::Read) {
                    tracing::debug!(%error, "a connection has ended already");
                }
            }
        }
    }
}

/// The socket while it is served.
pub(crate) struct Served {
    task: JoinHandle<Listener>,
    /// Dropped, nobody is let in any more.
    open: Option<Sender<()>>,
    /// Given back, once all who had asked are answered.
    closed: Option<Listener>,
    /// Where those are led who are let in again once it is given back.
    again: Option<RequestQueue>,
}

impl Served {
    /// Serves in a task of its own.
    pub(crate) fn start(listener: Listener, queue: RequestQueue) -> Self {
        let (open, closed) = channel(());
        Self {
            task: tokio::task::spawn_local(listener.serve_until(queue, closed)),
            open: Some(open),
            closed: None,
            again: None,
        }
    }

    /// Lets nobody in any more, and answers those who have asked.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.again = None;
    }

    /// Waits until all have been answered, and lets in again who waits if that is wanted by then;
    /// for ever, while it is open or once it has been said.
    pub(crate) async fn closed(&mut self) {
        if self.open.is_some() || self.closed.is_some() {
            return std::future::pending().await;
        }
        match (&mut self.task).await {
            Ok(listener) => match self.again.take() {
                Some(queue) => *self = Self::start(listener, queue),
                None => self.closed = Some(listener),
            },
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The socket, once all have been answered.
    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.closed.as_ref()
    }

    /// Lets in again who waits: at once, or as soon as all who had asked have been answered. Nothing
    /// is waited for, as it is the caller who answers them.
    pub(crate) fn reopen(&mut self, queue: RequestQueue) {
        match self.closed.take() {
            Some(listener) => *self = Self::start(listener, queue),
            None => self.again = Some(queue),
        }
    }

    /// Ends it, and removes the socket.
    pub(crate) async fn end(mut self) {
        if self.closed.is_none() {
            self.task.abort();
            // An aborted task is dropped, and its socket removed, once it has been waited for.
            let _aborted = (&mut self.task).await;
        }
    }
}
