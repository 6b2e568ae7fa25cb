//! Upgrade: the program on disk is executed in the supervisor's own process. Children stay its
//! children, sockets stay open, and whoever has asked is answered first.
//!
//! First the program is tried: started as a child that reads the manifest and the state file, says
//! whether it would serve, and ends. Then nothing new is begun, what is under way ends, and the
//! program is executed with all that is handed down. Until it is ready it can give back, see
//! [`rollback`](crate::handover::rollback).

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
use crate::requests::control;
use crate::requests::control::Listener;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name under which the file of the program before is handed down.
pub(crate) const PROGRAM: &str = "program";

/// Where the answer to a request for an upgrade goes.
pub(crate) type Reply = oneshot::Sender<Result<Upgrading, String>>;

/// The upgrade that is under way, and what came of the last one.
pub(crate) struct Upgrade {
    /// Where this program's file lay when it was started: where the next one will lie.
    program: PathBuf,
    /// The version of the program that executed this one.
    before: Option<String>,
    /// Whether and why the last one was refused after it had been begun.
    refused: Option<String>,
    preflight: Option<oneshot::Receiver<Result<String, String>>>,
    asked: Vec<Reply>,
}

impl Upgrade {
    /// With what the program before this one said, if there was one.
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

    /// Says what came of the last upgrade, now that this program serves.
    pub(crate) fn log_outcome(&self) {
        match (&self.before, &self.refused) {
            (None, _) => {}
            (Some(before), None) => tracing::info!("upgraded from {before} to {VERSION}"),
            (Some(_), Some(why)) => {
                tracing::error!("the upgrade is refused, and {VERSION} carries on: {why}");
            }
        }
    }

    /// What came of a preflight: the version of the program, or why it would not serve.
    pub(crate) async fn verdict(&mut self) -> Result<String, String> {
        match &mut self.preflight {
            Some(preflight) => {
                let verdict = preflight.await;
                self.preflight = None;
                verdict.unwrap_or_else(|_| Err("its preflight did not end".to_owned()))
            }
            None => std::future::pending().await,
        }
    }
}

/// Where this program's file lies, or lay before another was put in its place.
fn on_disk() -> io::Result<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe")?;
    let text = link.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| link.clone(), PathBuf::from))
}

impl Upgrade {
    /// Tries the program on disk, and notes who is to be told.
    pub(crate) fn preflight(&mut self, app: &AppName, reply: Option<Reply>) {
        self.asked.extend(reply);
        if self.preflight.is_none() {
            tracing::info!(program = %self.program.display(), "trying the program on disk");
            self.preflight = Some(preflight::begin(app.clone(), self.program.clone()));
        }
    }

    /// The program on disk has been tried, and this is the answer to those who asked.
    pub(crate) fn answer(&mut self, answer: &Result<Upgrading, String>) {
        if answer.is_ok() {
            self.refused = None;
        }
        for reply in std::mem::take(&mut self.asked) {
            let _gone = reply.send(answer.clone());
        }
    }

    /// What came of the last upgrade.
    pub(crate) fn upgraded(&self) -> Upgraded {
        Upgraded {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            refused: self.refused.clone(),
        }
    }

    /// Executes the program on disk with all that is handed down. Returns only if that failed.
    pub(crate) async fn execute_next(
        &mut self,
        executor: &Executor,
        control: Option<&Listener>,
        runtime: &Runtime,
    ) {
        // From here on no output is taken that would not be written.
        let _pause = executor.host().logs.pause().await;
        crash::point("upgrade: output paused", "");
        let result = self.execute(executor, control, runtime);
        let why = match result {
            Ok(error) | Err(error) => error,
        };
        let why = format!("{}: {why}", self.program.display());
        tracing::error!("the upgrade failed, and {VERSION} carries on: {why}");
        self.refused = Some(why);
    }

    /// Nothing is awaited here, so that nothing happens between the last look and the execution.
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
        for (tenant, netns) in executor.inventory().namespaces() {
            inherited.push((store::name("netns", tenant), netns.as_fd()));
        }
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
