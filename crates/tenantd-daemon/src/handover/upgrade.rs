//! Upgrade: executes the program on disk in the supervisor's own process. The tenants stay children
//! of this process, and the sockets stay open.
//!
//! First comes the [`preflight`](crate::handover::preflight). If it succeeds, the supervisor
//! drains: it answers the requests that have arrived, and waits for running tasks. Then it executes
//! the program, which inherits its descriptors. If the new program fails before it is ready, it
//! executes the previous one again; see [`rollback`](crate::handover::rollback).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use tokio::sync::oneshot;

use tenantd_api::wire::{Upgraded, Upgrading};
use tenantd_core::name::AppName;
use tenantd_host::crash;
use tenantd_host::inherited::{Handoff, Header};
use tenantd_host::limits;
use tenantd_host::runtime::{LOCK, Runtime};

use crate::executor::Executor;
use crate::executor::store;
use crate::handover::preflight;
use crate::history;
use crate::requests::control;
use crate::requests::control::Listener;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name of the inherited descriptor of the previous program's file.
pub(crate) const PROGRAM: &str = "program";

/// Receives the answer to a request for an upgrade.
pub(crate) type Reply = oneshot::Sender<Result<Upgrading, String>>;

/// The running upgrade, and the result of the last one.
pub(crate) struct Upgrade {
    /// The path of this program, at which an upgrade looks for the next one.
    program: PathBuf,
    /// The version of the program that executed this one, if one did.
    before: Option<String>,
    /// Why the last upgrade failed after its preflight, if it did.
    refused: Option<String>,
    preflight: Option<oneshot::Receiver<Result<String, String>>>,
    asked: Vec<Reply>,
}

impl Upgrade {
    /// Reads the header from the previous program, if there is one.
    pub(crate) fn new(header: Option<Header>) -> io::Result<Self> {
        let before = header.as_ref().map(|header| header.version.clone());
        let (program, refused) = match header {
            Some(header) => (header.program, header.refused),
            None => (on_disk()?, None),
        };
        Ok(Self {
            program,
            before,
            refused,
            preflight: None,
            asked: Vec::new(),
        })
    }

    /// Logs the result of the last upgrade, now that this program serves.
    pub(crate) fn log_outcome(&self) {
        let pid = std::process::id();
        match (&self.before, &self.refused) {
            (None, _) => history::began(&format!("began: process {pid}, tenantd {VERSION}")),
            (Some(before), None) => {
                history::began(&format!(
                    "upgraded from {before} to {VERSION}: process {pid}"
                ));
                tracing::info!("upgraded from {before} to {VERSION}");
            }
            (Some(_), Some(why)) => {
                history::began(&format!("not upgraded, {VERSION} keeps running: {why}"));
                tracing::error!("upgrade refused, {VERSION} keeps running: {why}");
            }
        }
    }

    /// The result of the preflight: the version of the program, or why it failed.
    pub(crate) async fn verdict(&mut self) -> Result<String, String> {
        match &mut self.preflight {
            Some(preflight) => {
                let verdict = preflight.await;
                self.preflight = None;
                verdict.unwrap_or_else(|_| Err("its preflight was cancelled".to_owned()))
            }
            None => std::future::pending().await,
        }
    }
}

/// The path from which this program was executed, even if another file is there now.
fn on_disk() -> io::Result<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe")?;
    let text = link.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| link.clone(), PathBuf::from))
}

impl Upgrade {
    /// Starts the preflight of the program on disk, unless one is running. `reply` gets its result.
    pub(crate) fn preflight(&mut self, app: &AppName, reply: Option<Reply>) {
        self.asked.extend(reply);
        if self.preflight.is_none() {
            tracing::info!(program = %self.program.display(), "running a preflight");
            self.preflight = Some(preflight::begin(app.clone(), self.program.clone()));
        }
    }

    /// Answers all requests for this upgrade.
    pub(crate) fn answer(&mut self, answer: &Result<Upgrading, String>) {
        if answer.is_ok() {
            self.refused = None;
        }
        for reply in std::mem::take(&mut self.asked) {
            let _gone = reply.send(answer.clone());
        }
    }

    /// The result of the last upgrade.
    pub(crate) fn upgraded(&self) -> Upgraded {
        Upgraded {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            refused: self.refused.clone(),
        }
    }

    /// Executes the program on disk with the inherited descriptors. Returns only if that failed.
    pub(crate) async fn execute_next(
        &mut self,
        executor: &Executor,
        control: Option<&Listener>,
        runtime: &Runtime,
    ) {
        // From here on no tenant's output is read that this process could not write.
        let _pause = executor.host().logs.pause().await;
        crash::point("upgrade: output paused", "");
        let result = self.execute(executor, control, runtime);
        let why = match result {
            Ok(error) | Err(error) => error,
        };
        let why = format!("{}: {why}", self.program.display());
        tracing::error!("upgrade failed, {VERSION} keeps running: {why}");
        self.refused = Some(why);
    }

    /// Is not async, so that nothing changes between collecting the descriptors and the execution.
    fn execute(
        &self,
        executor: &Executor,
        control: Option<&Listener>,
        runtime: &Runtime,
    ) -> io::Result<io::Error> {
        let program = File::open("/proc/self/exe")?;
        let pipes = executor.host().logs.pipes()?;
        let mut inherited: Vec<(String, BorrowedFd<'_>)> = vec![
            (PROGRAM.to_owned(), program.as_fd()),
            (LOCK.to_owned(), runtime.lock()),
        ];
        if let Some(listener) = control {
            inherited.push((control::NAME.to_owned(), listener.socket()));
        }
        for (tenant, stream, fd) in &pipes {
            let fd: &OwnedFd = fd;
            inherited.push((store::name(&stream.to_string(), tenant), fd.as_fd()));
        }
        let notices = executor.host().notices.sockets();
        for (tenant, inbox) in &notices {
            inherited.push((store::name(store::NOTIFY, tenant), inbox.as_fd()));
        }
        let namespaces = executor.host().netns.namespace();
        inherited.push((store::NAMESPACES.to_owned(), namespaces));
        let arguments: Vec<_> = std::env::args_os().collect();
        let header = Header {
            version: VERSION.to_owned(),
            program: self.program.clone(),
            arguments: arguments.clone(),
            refused: None,
        };
        let handoff = Handoff::open(header, inherited)?;
        limits::lower(executor.host().descriptors)?;
        crash::point("upgrade: before the execution", "");
        let error = handoff.execute(&self.program, &arguments);
        crash::point("upgrade: not executed", "");
        drop(handoff);
        limits::raise()?;
        Ok(error)
    }
}
