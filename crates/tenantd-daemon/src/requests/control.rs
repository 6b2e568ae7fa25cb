//! The control socket: accepts connections, checks the credentials of the peer, puts each request
//! on the [`RequestQueue`], and sends the answer. It has no data about tenants and decides nothing.
//!
//! Each connection has its own task, so that a request that waits delays no other client. An idle
//! connection costs only its buffers. A connection that sends invalid data is closed. `admission`
//! decides who may connect, who may only read, and how many connections each kind may have.

mod admission;
mod deputies;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grants;
mod guard;
mod judge;
mod oneway;
mod parts;
mod refusals;
mod sent;
mod service;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use rustix::net::{Shutdown, SocketAddrUnix};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use zlink::{ReadyListener, Server};

use crate::audit::Audit;
use crate::requests::control::admission::{Admission, Admitted};
pub use crate::requests::control::admission::{OPERATORS, Places, READERS, Readers};
use crate::requests::control::guard::{Guarded, Sending, hung_up};
use crate::requests::control::oneway::Answering;
pub use crate::requests::control::parts::PART;
use crate::requests::control::service::Service;
use crate::requests::queue::RequestQueue;
use crate::stretch::{Part, Stretch};
use crate::subscriptions::DRAIN_LIMIT;
use tenantd_api::wire;
use tenantd_core::name::AppName;
use tenantd_host::inbox;
use tenantd_host::inherited::Inherited;

/// The pause after accept(2) failed for lack of descriptors or memory. The connection is still
/// pending, so trying again at once would be a busy loop.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// How long writing the last lines of the audit log may take.
const AUDIT_FLUSH: Duration = Duration::from_secs(1);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another file than a socket is at its path.
    #[error("{}: not a socket, left alone: remove it", .path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("{}: cannot {attempt} the control socket", .path.display())]
    Make {
        /// The step that failed.
        attempt: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

/// The name of the inherited descriptor of the socket.
pub const NAME: &str = "control";

/// The control socket of an application. Dropping it removes the socket, so drop it before the
/// application's lock.
#[derive(Debug)]
pub struct Listener {
    app: AppName,
    socket: UnixListener,
    path: PathBuf,
    readers: Readers,
    pub(super) audit: Audit,
}

/// Makes the control socket `/run/tenantd/<app>/control`, readable and writable by its owner only.
/// Replaces a stale socket. The caller holds the application's lock, so that no running supervisor
/// owns the socket, and runs within a tokio runtime.
///
/// # Errors
/// See [`ControlError`].
pub fn bind(app: &AppName) -> Result<Listener, ControlError> {
    let path = wire::control_socket(app);
    // Bound at another path and renamed, which is atomic: no client sees it without its
    // permissions, and there is a socket at every moment.
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
            tracing::info!(path = %path.display(), "replacing a stale control socket");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("replace")(error));
        }
        Ok(()) | Err(_) => {}
    }
    let socket = UnixListener::bind(&new).map_err(failed("bind"))?;
    inbox::refuse(socket.as_fd()).map_err(failed("refuse descriptors at"))?;
    inbox::name_senders(socket.as_fd()).map_err(failed("name the senders of"))?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .map_err(failed("set the permissions of"))?;
    std::fs::rename(&new, &path).map_err(failed("rename"))?;
    Ok(Listener {
        app: app.clone(),
        socket,
        readers: Readers::of(&path),
        audit: Audit::default(),
        path,
    })
}

impl Listener {
    /// The inherited socket of the previous program, if there is one: clients that have connected
    /// to it meanwhile are waiting. Otherwise a new one, see [`bind`].
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn inherit(app: &AppName, inherited: &mut Inherited) -> Result<Self, ControlError> {
        let claimed = Self::claim(app, inherited).map_err(|source| ControlError::Make {
            attempt: "take over",
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
        // It was bound at this path and then renamed.
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
        inbox::refuse(socket.as_fd())?;
        inbox::name_senders(socket.as_fd())?;
        Ok(Some(Self {
            app: app.clone(),
            socket,
            readers: Readers::of(&path),
            audit: Audit::default(),
            path,
        }))
    }

    /// The groups whose members may use the socket. At first there are none.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Sets where requests are noted. Without it, nowhere.
    pub fn set_audit(&mut self, audit: Audit) {
        self.audit = audit;
    }

    /// Waits until all requests are noted, for a moment at most.
    pub(crate) fn flush_audit(&self) {
        self.audit.flush(AUDIT_FLUSH);
    }

    /// The socket, for an upgrade.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.flush_audit();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

impl Listener {
    /// Serves clients until it is dropped. Must run within a
    /// [`tokio::task::LocalSet`]: each connection is a local task.
    pub async fn serve(self, queue: RequestQueue) {
        let (_open, closed) = channel(());
        let _itself = self.serve_until(queue, closed, Stretch::default()).await;
    }

    /// Serves until the sender of `closed` is dropped. Then it answers the requests that have
    /// arrived and returns itself. Later connections wait in the backlog of the socket.
    async fn serve_until(
        self,
        queue: RequestQueue,
        mut closed: Receiver<()>,
        stretch: Stretch,
    ) -> Self {
        let service = Service::new(self.app.clone(), queue, self.readers.deputies.clone());
        let admission = Admission::new(self.readers.clone(), self.audit.clone());
        loop {
            let accepted = tokio::select! {
                biased;
                _ = closed.changed() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    if let Some(admitted) = admission.admit(&stream).await {
                        let service = service.of(&admitted, &closed);
                        let serving = serve(stream, service, admitted, closed.clone());
                        let stretch = stretch.clone();
                        tokio::task::spawn_local(async move {
                            stretch.share(Part::Clients, serving).await;
                        });
                    }
                    // A client that connects again and again has no more than its share.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the control socket");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        // Each connection leaves its place when it has been answered.
        admission.all_have_left().await;
        self
    }
}

async fn serve(
    stream: UnixStream,
    service: Service,
    mut admitted: Admitted,
    mut closed: Receiver<()>,
) {
    let watch = match guard::watch(&stream) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "cannot watch a connection to the control socket");
            return;
        }
    };
    let sending = Sending::default();
    let guarded = Guarded::new(stream, sending.clone(), admitted.judge.clone());
    let server = Server::new(ReadyListener::new(guarded), Answering(service));
    let mut served = pin!(server.run());
    let mut open = true;
    let mut drain = pin!(drained(closed.clone(), sending));
    loop {
        tokio::select! {
            // First, so that a request that was sent before a disconnect is still queued, if the process
            // that sent it lives: `judge` refuses that of one that has ended.
            biased;
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the control socket failed");
                }
                return;
            }
            // No client reads the answer: dropping the request informs the loop.
            () = hung_up(&watch) => return,
            // The next program must not wait for a peer that does not read.
            () = &mut drain => return,
            // A reload has taken the peer's group from the readers.
            () = admitted.expelled() => return,
            // Requests that were sent before are still answered. Sending fails from now on, so that
            // the peer knows which requests were not read.
            _ = closed.changed(), if open => {
                open = false;
                if let Err(error) = rustix::net::shutdown(&watch, Shutdown::Read) {
                    tracing::debug!(%error, "the connection has already ended");
                }
            }
        }
    }
}

/// Ends when the socket is closed and the peer has not read its answer for [`DRAIN_LIMIT`].
async fn drained(mut closed: Receiver<()>, sending: Sending) {
    // An error means the same: the sender was dropped.
    let _closed = closed.changed().await;
    loop {
        let was_sending = sending.is_under_way();
        tokio::time::sleep(DRAIN_LIMIT).await;
        if was_sending && sending.is_under_way() {
            return;
        }
    }
}

/// The socket while it is served.
pub(crate) struct Served {
    task: JoinHandle<Listener>,
    /// Dropping it stops accepting connections.
    open: Option<Sender<()>>,
    /// The socket, once all requests are answered.
    closed: Option<Listener>,
    /// The request queue to serve again with, once all requests are answered.
    again: Option<RequestQueue>,
    stretch: Stretch,
}

impl Served {
    /// Serves in its own task.
    pub(crate) fn start(listener: Listener, queue: RequestQueue, stretch: Stretch) -> Self {
        let (open, closed) = channel(());
        let serving = listener.serve_until(queue, closed, stretch.clone());
        let share = stretch.clone();
        Self {
            task: tokio::task::spawn_local(
                async move { share.share(Part::Clients, serving).await },
            ),
            open: Some(open),
            closed: None,
            again: None,
            stretch,
        }
    }

    /// Accepts no connection any more, and answers the requests that have arrived.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.again = None;
    }

    /// Waits until all requests are answered, once after each [`Served::close`]; otherwise for
    /// ever. Then serves again, if [`Served::reopen`] was called meanwhile.
    pub(crate) async fn closed(&mut self) {
        if self.open.is_some() || self.closed.is_some() {
            return std::future::pending().await;
        }
        match (&mut self.task).await {
            Ok(listener) => match self.again.take() {
                Some(queue) => *self = Self::start(listener, queue, self.stretch.clone()),
                None => self.closed = Some(listener),
            },
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The socket, once all requests are answered.
    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.closed.as_ref()
    }

    /// Accepts connections again: at once, or as soon as all requests are answered. Does not wait
    /// for that, because the caller answers them.
    pub(crate) fn reopen(&mut self, queue: RequestQueue) {
        match self.closed.take() {
            Some(listener) => *self = Self::start(listener, queue, self.stretch.clone()),
            None => self.again = Some(queue),
        }
    }

    /// Ends the service and removes the socket.
    pub(crate) async fn end(mut self) {
        if self.closed.is_none() {
            self.task.abort();
            // Waiting for the aborted task drops it, which removes the socket.
            let _aborted = (&mut self.task).await;
        }
    }
}
