//! The socket at which metrics are served, by HTTP.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::Listen;
use super::text::Text;

/// The most connections at a time. A further one ends the oldest.
const CONNECTIONS: usize = 32;

/// How long a client may take to send a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection lasts at most: its client may read nothing. It opens another one.
const LASTS_MAX: Duration = Duration::from_secs(300);

/// How long nothing is accepted if the host lacks descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that accepts connections.
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Listener {
    /// Begins to listen. A socket that nobody listens at any more is replaced.
    pub(super) fn bind(listen: &Listen) -> anyhow::Result<Self> {
        match listen {
            Listen::Unix(path) => {
                let bound = bind_unix(path);
                Ok(Self::Unix(bound.with_context(|| {
                    format!("cannot listen at {}", path.display())
                })?))
            }
            Listen::Tcp(address) => {
                let bound = std::net::TcpListener::bind(address).and_then(|bound| {
                    bound.set_nonblocking(true)?;
                    TcpListener::from_std(bound)
                });
                Ok(Self::Tcp(
                    bound.with_context(|| format!("cannot listen at {address}"))?,
                ))
            }
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }

    /// Serves the text that `metrics` returns.
    pub(super) async fn serve(
        self,
        metrics: impl Fn(bool) -> io::Result<String> + 'static,
    ) -> anyhow::Result<super::End> {
        let metrics = Rc::new(metrics);
        let mut served: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match self.accept().await {
                Ok(stream) => stream,
                Err(error) if passes(&error) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error).context("cannot accept a connection"),
            };
            served.retain(|it| !it.is_finished());
            // Not the new one: clients that read nothing would keep all others from an answer.
            if served.len() >= CONNECTIONS
                && let Some(oldest) = served.pop_front()
            {
                oldest.abort();
            }
            let metrics = Rc::clone(&metrics);
            let task = spawn_local(async move {
                let service = service_fn(|request| {
                    let answer = answer(&request, &*metrics);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut builder = http1::Builder::new();
                let builder = builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE);
                // A client that has gone or says nothing has no answer to get.
                let served = builder.serve_connection(TokioIo::new(stream), service);
                let _gone = timeout(LASTS_MAX, served).await;
            });
            served.push_back(task.abort_handle());
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(|it| is_refused(&it)) {
        fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let bound = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(bound)
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// Whether the host lacks something for now, or the client has gone.
fn passes(error: &io::Error) -> bool {
    let passing = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::CONNABORTED,
    ];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

fn answer(
    request: &Request<Incoming>,
    metrics: impl Fn(bool) -> io::Result<String>,
) -> Response<Full<Bytes>> {
    let plain = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::GET {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        refused
            .headers_mut()
            .insert(ALLOW, "GET".parse().expect("it is a value"));
        return refused;
    }
    if request.uri().path() != "/metrics" {
        return plain(
            StatusCode::NOT_FOUND,
            "the metrics are at /metrics\n".to_owned(),
        );
    }
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|it| it.to_str().ok());
    let is_open = accepted.any(|it| it.contains("application/openmetrics-text"));
    match metrics(is_open) {
        Ok(text) => {
            let mut response = plain(StatusCode::OK, text);
            let media_type = Text::media_type(is_open).parse().expect("it is a value");
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            response
        }
        Err(error) => {
            let why = format!("cannot read the counters: {error}\n");
            plain(StatusCode::INTERNAL_SERVER_ERROR, why)
        }
    }
}
