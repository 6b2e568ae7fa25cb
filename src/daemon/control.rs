//! The control socket: accepts, looks at who asks, decodes, puts the request on the [`Desk`] and
//! sends the answer back. It knows nothing of tenants and decides nothing.
//!
//! Each connection is a task of its own, so that a request which waits delays nobody else. A
//! connection that says nothing costs its buffers and no wake-up; one that sends nonsense is
//! closed, and only that one.

mod guard;
mod service;

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zlink::{ReadyListener, Server};

use self::guard::{Guarded, hung_up};
use self::service::Service;
use super::desk::Desk;
use crate::name::AppName;
use crate::wire;
use crate::wire::varlink::Refusal;

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
    pub async fn serve(self, desk: Desk) {
        let service = Service::new(self.app.clone(), desk);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => admit(stream, &places, &service),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the control socket");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
}

/// Serves the connection in a task of its own, or says why not and closes it.
fn admit(stream: UnixStream, places: &Arc<Semaphore>, service: &Service) {
    let refusal = match stream.peer_cred() {
        Ok(peer) if !may_ask(peer.uid()) => {
            tracing::warn!(
                pid = peer.pid(),
                uid = peer.uid(),
                "refused on the control socket"
            );
            Refusal::NotAllowed { uid: peer.uid() }
        }
        Ok(_) => match Arc::clone(places).try_acquire_owned() {
            Ok(place) => {
                let service = service.clone();
                tokio::task::spawn_local(async move {
                    serve(stream, service).await;
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

fn may_ask(uid: u32) -> bool {
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

async fn serve(stream: UnixStream, service: Service) {
    let watch = match guard::watch(&stream) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "cannot watch a connection to the control socket");
            return;
        }
    };
    let server = Server::new(ReadyListener::new(Guarded::new(stream)), service);
    tokio::select! {
        // First, so that what a peer sent before it left is still put on the desk.
        biased;
        ended = server.run() => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the control socket failed");
        },
        // Nobody would read the answer: dropping the request tells the loop.
        () = hung_up(&watch) => {}
    }
}
