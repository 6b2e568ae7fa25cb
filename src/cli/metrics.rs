//! `metrics`: a process that serves the state of all tenants of the host, and what they use, to Prometheus.
//!
//! It subscribes to each supervisor and asks nothing for an answer: the state comes with the events, and the counters
//! are the kernel's.

mod families;
mod followed;
mod serve;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::task::LocalSet;

use super::End;
use followed::Apps;
use tenantd_api::client::followed::Followed;

/// How often it looks for supervisors that were started.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On a Unix socket, for root alone.
    Unix(PathBuf),
    /// On an address of the host, for everybody who reaches it.
    Tcp(std::net::SocketAddr),
}

/// Parses `unix:PATH` or `ADDRESS:PORT`.
///
/// # Errors
/// What was expected.
pub(super) fn listen(typed: &str) -> Result<Listen, String> {
    match typed.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
        Some(_) => Err("the path of the socket must begin with /".to_owned()),
        None => typed.parse().map(Listen::Tcp).map_err(|_| {
            "expected unix:PATH, or an address and a port such as 127.0.0.1:9750".to_owned()
        }),
    }
}

async fn find(followed: &Followed<Apps>) {
    for complaint in followed.find().await {
        eprintln!("tenantd metrics: {complaint}");
    }
}

/// Serves until it is ended.
pub(super) fn metrics(listen: &Listen) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot set up the event loop")?;
    let serving = async {
        let listener = serve::Listener::bind(listen)?;
        let followed: Followed<Apps> = Followed::default();
        find(&followed).await;
        let looking = followed.clone();
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                find(&looking).await;
            }
        });
        listener
            .serve(move |is_open| followed.with(|apps| families::all(&apps.0, is_open)))
            .await
    };
    LocalSet::new().block_on(&runtime, serving)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_are_understood() {
        assert_eq!(listen("unix:/run/x"), Ok(Listen::Unix("/run/x".into())));
        assert!(matches!(listen("127.0.0.1:9750"), Ok(Listen::Tcp(_))));
        assert!(matches!(listen("[::1]:9750"), Ok(Listen::Tcp(_))));
        for bad in ["9750", "unix:run", "localhost"] {
            assert!(listen(bad).is_err(), "{bad}");
        }
    }
}
