//! Upgrade: the program on disk is executed in the supervisor's own process. Children stay its
//! children, sockets stay open, and whoever has asked is answered first.
//!
//! First the program is tried: started as a child that reads the manifest and the ledger, says
//! whether it would serve, and ends. Then nothing new is begun, what is under way ends, and the
//! program is executed with all that is handed down. Until it is ready it can give back, see
//! [`way_back`](super::way_back).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use tokio::sync::oneshot;

use tenantd_api::wire::{Upgraded, Upgrading};
use tenantd_core::name::AppName;
use tenantd_host::crash;
use tenantd_host::heritage::{Bequest, Word};
use tenantd_host::limits;
use tenantd_host::runtime::{LOCK, Runtime};

use super::control::Listener;
use super::executor::Executor;
use super::{control, store, trial};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name under which the file of the program before is handed down.
pub(super) const PROGRAM: &str = "program";

/// Where the answer to a request for an upgrade goes.
pub(super) type Reply = oneshot::Sender<Result<Upgrading, String>>;

/// The upgrade that is under way, and what came of the last one.
pub(super) struct Upgrade {
    /// Where this program's file lay when it was started: where the next one will lie.
    program: PathBuf,
    /// The version of the program that executed this one.
    before: Option<String>,
    /// Whether and why the last one was refused after it had been begun.
    refused: Option<String>,
    trial: Option<oneshot::Receiver<Result<String, String>>>,
    asked: Vec<Reply>,
}

impl Upgrade {
    /// With what the program before this one said, if there was one.
    pub(super) fn new(word: Option<Word>) -> io::Result<Self> {
        let before = word.as_ref().map(|word| word.version.clone());
        let (program, refused) = match word {
            Some(word) => (word.program, word.refused),
            None => (on_disk()?, None),
        };
        Ok(Self {
            program,
            before,
            refused,
            trial: None,
            asked: Vec::new(),
        })
    }

    /// Says what came of the last upgrade, now that this program serves.
    pub(super) fn say(&self) {
        match (&self.before, &self.refused) {
            (None, _) => {}
            (Some(before), None) => tracing::info!("upgraded from {before} to {VERSION}"),
            (Some(_), Some(why)) => {
                tracing::error!("the upgrade is refused, and {VERSION} carries on: {why}");
            }
        }
    }

    /// What came of a trial: the version of the program, or why it would not serve.
    pub(super) async fn verdict(&mut self) -> Result<String, String> {
        match &mut self.trial {
            Some(trial) => {
                let verdict = trial.await;
                self.trial = None;
                verdict.unwrap_or_else(|_| Err("its trial did not end".to_owned()))
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
    pub(super) fn preflight(&mut self, app: &AppName, reply: Option<Reply>) {
        self.asked.extend(reply);
        if self.trial.is_none() {
            tracing::info!(program = %self.program.display(), "trying the program on disk");
            self.trial = Some(trial::begin(app.clone(), self.program.clone()));
        }
    }

    /// The program on disk has been tried, and this is the answer to those who asked.
    pub(super) fn answer(&mut self, answer: &Result<Upgrading, String>) {
        if answer.is_ok() {
            self.refused = None;
        }
        for reply in std::mem::take(&mut self.asked) {
            let _gone = reply.send(answer.clone());
        }
    }

    /// What came of the last upgrade.
    pub(super) fn upgraded(&self) -> Upgraded {
        Upgraded {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            refused: self.refused.clone(),
        }
    }

    /// Executes the program on disk with all that is handed down. Returns only if that failed.
    pub(super) async fn change_over(
        &mut self,
        executor: &Executor,
        control: Option<&Listener>,
        runtime: &Runtime,
    ) {
        // From here on no output is taken that would not be written.
        let _pause = executor.site().logs.pause().await;
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
        let pipes = executor.site().logs.pipes()?;
        let mut heritage: Vec<(String, BorrowedFd<'_>)> = vec![
            (PROGRAM.to_owned(), program.as_fd()),
            (LOCK.to_owned(), runtime.lock()),
        ];
        if let Some(listener) = control {
            heritage.push((control::NAME.to_owned(), listener.socket()));
        }
        for (tenant, stream, fd) in &pipes {
            let fd: &OwnedFd = fd;
            heritage.push((store::name(&stream.to_string(), tenant), fd.as_fd()));
        }
        for (tenant, netns) in executor.ledger().namespaces() {
            heritage.push((store::name("netns", tenant), netns.as_fd()));
        }
        let arguments: Vec<_> = std::env::args_os().collect();
        let word = Word {
            version: VERSION.to_owned(),
            program: self.program.clone(),
            arguments: arguments.clone(),
            refused: None,
        };
        let bequest = Bequest::open(word, heritage)?;
        limits::lower(executor.site().descriptors)?;
        crash::point("upgrade: before the execution", "");
        let error = bequest.execute(&self.program, &arguments);
        crash::point("upgrade: not executed", "");
        drop(bequest);
        limits::raise()?;
        Ok(error)
    }
}
