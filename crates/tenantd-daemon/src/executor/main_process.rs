//! The main process of a launch, where that is not its first process, and what the program says of
//! itself.
//!
//! A program that puts itself into the background leaves its first process. Its main process is known
//! by what it says (`MAINPID`, see sd_notify(3)), by the file that the manifest names, or by a guess.
//! The end of the main process is the end of the launch.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::Instant;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_host::cgroup::Leaf;
use tenantd_host::children::Known;
use tenantd_host::crash;
use tenantd_host::launch::{self, ready_fd::ReadyFd};
use tenantd_host::main_process::{guess, open_in, read_pid_file};
use tenantd_host::process::{self, Ended};

use crate::executor::host::Host;
use crate::executor::inventory::{Main, Process, Running};
use crate::executor::perform::exit;
use crate::executor::report::{MainReport, ReportKind, Reporter};
use crate::executor::{Executor, Pending};
use crate::input::Input;
use crate::logs::Mark;

/// The pauses between two looks at the file. A program may write it some time after its first process
/// has ended.
const FILE_PAUSES: [u64; 12] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000,
];

/// The pauses between two guesses. Two in a row must agree, because a program may still be leaving its
/// second process.
const GUESS_PAUSES: [u64; 5] = [100, 200, 500, 1_000, 2_000];

/// The pauses between two looks at a file that a main process has removed before its end. gunicorn does,
/// and the new main process writes it up to a second later.
const HANDOVER_PAUSES: [u64; 7] = [10, 50, 100, 200, 400, 800, 1_500];

/// How the main process is known. The last one counts most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MainBy {
    /// It is the only process whose parent is not in the tenant's cgroup.
    Guess,
    /// The file that the manifest names.
    PidFile,
    /// The program said so.
    Notice,
}

impl MainBy {
    const ALL: [Self; 3] = [Self::Guess, Self::PidFile, Self::Notice];

    /// Its word in status and records.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Guess => "guessed",
            Self::PidFile => "pid file",
            Self::Notice => "notified",
        }
    }

    /// The one with this word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.word() == word)
    }
}

impl Executor {
    pub(super) fn main_reported(&mut self, tenant: &TenantName, report: MainReport) {
        match report {
            MainReport::Named(launch, pid) => self.main_named(tenant, launch, pid),
            MainReport::Found(launch, process, by) => self.main_found(tenant, launch, process, by),
            MainReport::Ended(launch, pid, how) => self.main_ended(tenant, launch, (pid, how)),
            MainReport::Said(launch, notice) => self.said(tenant, launch, &notice),
            MainReport::SaidBefore(launch) => {
                let running = self.inventory.running(tenant, launch);
                if running.is_some_and(|running| running.recorded.is_due_now(Instant::now())) {
                    self.record(tenant);
                }
            }
        }
    }

    pub(super) fn changed(&mut self, tenant: &TenantName) {
        let changed = Input::Changed(tenant.clone());
        self.pending.push_back(Pending::Input(changed));
    }

    fn leaf(&self, tenant: &TenantName) -> Option<Leaf> {
        self.inventory
            .get(tenant)?
            .provisioned
            .as_ref()?
            .leaf
            .clone()
    }

    /// The program has named its main process.
    fn main_named(&mut self, tenant: &TenantName, launch: LaunchId, pid: i32) {
        let Some(leaf) = self.leaf(tenant) else {
            return;
        };
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
        let is_first = running.process.as_ref().is_some_and(|it| it.pid == pid);
        match &running.main {
            Main::First if is_first => {}
            Main::Found(main, MainBy::Notice) if main.pid == pid => {}
            // Its end is awaited already.
            Main::Found(..) if is_first => {
                running.replace_main(Main::First);
                self.main_replaced(tenant, (pid, MainBy::Notice));
            }
            Main::First | Main::Found(..) => {
                self.host
                    .open_main(tenant, launch, leaf, (pid, MainBy::Notice));
            }
            // It is being ended.
            Main::Gone(_) | Main::Over => {}
        }
    }

    fn main_replaced(&mut self, tenant: &TenantName, (pid, by): (i32, MainBy)) {
        let word = by.word();
        tracing::info!(%tenant, "{tenant}: its main process is {pid} ({word})");
        let record = Input::Record(tenant.clone());
        self.pending.push_back(Pending::Input(record));
        self.changed(tenant);
    }

    /// Looks for the main process of a program that has put itself into the background.
    pub(super) fn look_for_main(&mut self, tenant: &TenantName, launch: LaunchId) {
        let plan = self.inventory.plan(tenant);
        let file = plan.and_then(|plan| plan.policy.pid_file.clone());
        if let Some(leaf) = self.leaf(tenant) {
            self.host.look_for_main(tenant, launch, (leaf, file));
        }
    }

    fn main_found(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        process: Rc<Process>,
        by: MainBy,
    ) {
        let plan = self.inventory.plan(tenant);
        let file = plan.and_then(|plan| plan.policy.pid_file.clone());
        let leaf = self.leaf(tenant);
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
        match &running.main {
            Main::Over => return,
            Main::Found(_, known) if *known > by => return,
            // It has handed over while no supervisor was running.
            Main::Gone(_) | Main::Found(..) | Main::First => {}
        }
        let pid = process.pid;
        running.replace_main(Main::Found(Rc::clone(&process), by));
        let file = file.filter(|_| by == MainBy::PidFile).zip(leaf);
        await_end(&self.host.reporter, tenant, launch, (process, file));
        self.main_replaced(tenant, (pid, by));
    }

    pub(super) fn main_ended(
        &mut self,
        tenant: &TenantName,
        launch: LaunchId,
        (pid, how): (i32, Ended),
    ) {
        let others = self.other_is_alive(tenant);
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
        let is_it = match &running.main {
            Main::Found(main, _) => main.pid == pid,
            Main::Gone(gone) => *gone == pid,
            Main::First | Main::Over => false,
        };
        if !is_it {
            return;
        }
        crash::point("end: main process ended", tenant.as_str());
        running.main = Main::Over;
        let exit = exit(how);
        self.host.logs.mark(tenant, Mark::Ended { exit, others });
        self.dispatch(Event::MainExited {
            launch,
            exit,
            others,
        });
        if others {
            let record = Input::Record(tenant.clone());
            self.pending.push_back(Pending::Input(record));
        } else {
            self.emptied(tenant, launch);
        }
    }
}

impl Running {
    /// Another process is the main one: the end of the former is awaited no longer.
    pub(crate) fn replace_main(&mut self, main: Main) {
        if let Main::Found(former, _) = std::mem::replace(&mut self.main, main) {
            former.replaced.notify_one();
        }
    }
}

impl Host {
    /// Opens the process with this number, if it is one of the tenant's.
    fn open_main(
        &self,
        tenant: &TenantName,
        launch: LaunchId,
        leaf: Leaf,
        (pid, by): (i32, MainBy),
    ) {
        let (reporter, tenant) = (self.reporter.clone(), tenant.clone());
        self.spawn(async move {
            match opened(leaf, pid).await {
                Ok(Some(process)) => {
                    let found = MainReport::Found(launch, Rc::new(process), by);
                    reporter.report(&tenant, ReportKind::Main(found));
                }
                Ok(None) => tracing::warn!(
                    %tenant,
                    "{tenant}: its program says that {pid} is its main process, which is no process \
                     of the tenant"
                ),
                Err(error) => tracing::warn!(%tenant, %error, "cannot open the main process"),
            }
        });
    }

    pub(crate) fn look_for_main(
        &self,
        tenant: &TenantName,
        launch: LaunchId,
        (leaf, file): (Leaf, Option<std::path::PathBuf>),
    ) {
        let (reporter, tenant) = (self.reporter.clone(), tenant.clone());
        self.spawn(async move {
            let found = match &file {
                Some(file) => in_file(&tenant, &leaf, file).await,
                None => None,
            };
            let found = match found {
                Some(process) => Some((process, MainBy::PidFile)),
                None => guessed(&leaf).await.map(|process| (process, MainBy::Guess)),
            };
            if let Some((process, by)) = found {
                let found = MainReport::Found(launch, Rc::new(process), by);
                reporter.report(&tenant, ReportKind::Main(found));
            }
        });
    }
}

/// Waits for the file to name a process of the tenant, for a limited time, and while the tenant has
/// processes.
async fn in_file(tenant: &TenantName, leaf: &Leaf, file: &Path) -> Option<Process> {
    let mut said = String::from("there is no such file");
    for pause in FILE_PAUSES {
        match named(leaf, file).await {
            Ok(Some((_, Some(process)))) => return Some(process),
            Ok(Some((pid, None))) => said = format!("{pid} is no process of the tenant"),
            Ok(None) => {}
            Err(error) => said = error.to_string(),
        }
        if !leaf.is_populated().unwrap_or(true) {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let file = file.display();
    tracing::warn!(%tenant, "{tenant}: its main process is not known from {file}: {said}");
    None
}

/// The number in the file, and the process of the tenant that has it.
async fn named(leaf: &Leaf, file: &Path) -> io::Result<Option<(i32, Option<Process>)>> {
    let (of, file) = (leaf.clone(), file.to_owned());
    let read = spawn_blocking(move || read_pid_file(&of, &file)).await;
    match read.map_err(io::Error::other)?? {
        Some(pid) => Ok(Some((pid, opened(leaf.clone(), pid).await?))),
        None => Ok(None),
    }
}

async fn opened(leaf: Leaf, pid: i32) -> io::Result<Option<Process>> {
    let opened = spawn_blocking(move || open_in(&leaf, pid)).await;
    let Some((start_ticks, fd)) = opened.map_err(io::Error::other)?? else {
        return Ok(None);
    };
    Ok(Some(Process {
        pid,
        start_ticks,
        fd: ReadyFd::new(launch::put_aside(fd)?)?,
        known: Known::register(pid),
        replaced: Notify::new(),
    }))
}

/// The process that two guesses in a row agree on.
async fn guessed(leaf: &Leaf) -> Option<Process> {
    let mut last = None;
    for pause in GUESS_PAUSES {
        let of = leaf.clone();
        let one = spawn_blocking(move || guess(&of)).await.ok()?.ok()?;
        if one.is_some() && one == last {
            return opened(leaf.clone(), one?).await.ok()?;
        }
        last = one;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    None
}

/// The process that the file names after this one has ended. A file that is gone is awaited for a moment.
async fn successor(leaf: &Leaf, file: &Path, ended: i32) -> Option<Process> {
    for pause in HANDOVER_PAUSES {
        if let Some((pid, next)) = named(leaf, file).await.ok()? {
            return next.filter(|_| pid != ended);
        }
        if !leaf.is_populated().unwrap_or(true) {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    None
}

/// Reports the end of a main process, unless another one has replaced it, or its file names another one then: a program
/// may hand over to a new main process.
pub(crate) fn await_end(
    reporter: &Reporter,
    tenant: &TenantName,
    launch: LaunchId,
    (process, file): (Rc<Process>, Option<(std::path::PathBuf, Leaf)>),
) {
    let (reporter, tenant) = (reporter.clone(), tenant.clone());
    spawn_local(async move {
        let how = tokio::select! {
            // A program may name another one as often as it likes: the descriptor of this one is not kept.
            () = process.replaced.notified() => return,
            how = process::ended(&process.fd, &process.known) => how,
        };
        let how = how.unwrap_or_else(|error| {
            tracing::error!(%tenant, pid = process.pid, %error, "cannot wait for the main process");
            Ended::Unknown
        });
        report_end(&reporter, &tenant, launch, (process.pid, how, file)).await;
    });
}

/// Reports the end of a main process that has ended while no supervisor was running, see [`await_end`].
pub(crate) fn ended_unwatched(
    reporter: &Reporter,
    tenant: &TenantName,
    launch: LaunchId,
    (pid, file): (i32, Option<(std::path::PathBuf, Leaf)>),
) {
    let (reporter, tenant) = (reporter.clone(), tenant.clone());
    spawn_local(async move {
        report_end(&reporter, &tenant, launch, (pid, Ended::Unknown, file)).await;
    });
}

async fn report_end(
    reporter: &Reporter,
    tenant: &TenantName,
    launch: LaunchId,
    (pid, how, file): (i32, Ended, Option<(std::path::PathBuf, Leaf)>),
) {
    let next = match file {
        Some((file, leaf)) => successor(&leaf, &file, pid).await,
        None => None,
    };
    let report = match next {
        Some(next) => MainReport::Found(launch, Rc::new(next), MainBy::PidFile),
        None => MainReport::Ended(launch, pid, how),
    };
    reporter.report(tenant, ReportKind::Main(report));
}
