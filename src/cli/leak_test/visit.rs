//! The processes of the command: each enters a tenant as `exec` does, but into a domain like that of a launch,
//! and executes this program again there, so that it has no more rights than the tenant's program.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::setsid;
use serde::{Deserialize, Serialize};

use super::aim::{Aim, Placed};
use super::place::Places;
use super::way::{Attempted, Shut, plain};
use super::ways;
use crate::cli::exec;
use tenantd_api::wire::ExecTarget;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{HostAccess, LaunchPlan};
use tenantd_host::cgroup::{self, Leaf};
use tenantd_host::join::join;
use tenantd_host::launch::domain::CommandDomain;
use tenantd_host::sealed::{ITSELF, SealedCopy};

/// The variable with the number of the descriptor of an [`Order`].
const ORDER: &str = "TENANTD_LEAK_ORDER";

/// The variable with a [`Task`].
const TASK: &str = "TENANTD_LEAK_TASK";

/// How long a process may take for one task.
const LIMIT: Duration = Duration::from_secs(10);

/// How much a process may write: one of the tenant's user may be made to write anything.
const ANSWER_MAX: usize = 64 * 1024;

/// How long processes may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often to look for processes that are left.
const PAUSE: Duration = Duration::from_millis(5);

/// What a process does once it is where it should be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Places objects, and holds them.
    Place(Places),
    /// Tries one way, by its place in the list of all.
    Try {
        /// Its place.
        way: usize,
        /// What it is tried on.
        aim: Box<Aim>,
    },
}

/// What the domain of a launch permits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Rules {
    /// Whether it restricts writing.
    writing: bool,
    /// Whether it permits POSIX message queues nevertheless.
    queues: bool,
}

/// What the process that enters a tenant needs to know.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    target: ExecTarget,
    /// The domain that it enters, if any.
    domain: Option<Rules>,
    parent: u32,
    /// Whether it ends with its standard input alone, and not with its parent, see [`Places::hold`].
    holds: bool,
    task: String,
}

/// In a process that the command has started: does what it was started for. `None` in any other process.
#[must_use]
pub fn asked() -> Option<anyhow::Result<()>> {
    if let Ok(number) = std::env::var(ORDER) {
        return Some(enter(&number).map(|never| match never {}));
    }
    let task = std::env::var(TASK).ok()?;
    Some(perform(&task))
}

fn enter(number: &str) -> anyhow::Result<Infallible> {
    let file = File::open(format!("/proc/self/fd/{number}")).context("cannot read its order")?;
    let order: Order = serde_json::from_reader(io::BufReader::new(file))?;
    if order.holds {
        // Before it is told to end with its parent by a signal.
        SigSet::all().thread_block()?;
    }
    setsid().context("cannot begin a session")?;
    let mut target = exec::target(order.target, order.parent);
    target.environment = BTreeMap::from([(TASK.to_owned(), order.task)]);
    target.domain = match order.domain {
        Some(Rules { writing, queues }) => CommandDomain::Launch { writing, queues },
        None => CommandDomain::None,
    };
    // A sealed copy.
    Ok(join(&target, &OsString::from(ITSELF), &[])?)
}

fn perform(task: &str) -> anyhow::Result<()> {
    match serde_json::from_str(task)? {
        Task::Place(places) => places.hold(),
        Task::Try { way, aim } => {
            let all = ways::all();
            let way = all.get(way).context("there is no such way")?;
            let attempted = (way.attempt)(&aim);
            serde_json::to_writer(io::stdout(), &attempted)?;
            Ok(())
        }
    }
}

/// A tenant that processes can enter, and those that have.
pub(super) struct Inside {
    target: ExecTarget,
    group: Option<Leaf>,
    domain: Option<Rules>,
    program: Rc<SealedCopy>,
}

impl Inside {
    /// # Errors
    /// If no cgroup can be made for the processes.
    pub(super) fn new(
        tenant: &TenantName,
        mut target: ExecTarget,
        launch: &LaunchPlan,
        program: &Rc<SealedCopy>,
    ) -> anyhow::Result<Self> {
        let group = target.cgroup.as_ref().map(Path::new);
        let group = group.map(|visitors| cgroup::begin_visit(visitors, tenant));
        let group = group.transpose().context("cannot make its cgroup")?;
        target.cgroup = group.as_ref().map(|it| it.path().display().to_string());
        let rules = Rules {
            writing: launch.view.host == HostAccess::ReadOnly,
            queues: launch.identity.own,
        };
        Ok(Self {
            target,
            group,
            domain: launch.wall.landlock.then_some(rules),
            program: Rc::clone(program),
        })
    }

    /// Tries a way.
    ///
    /// # Errors
    /// If no process can be started.
    pub(super) fn attempt(
        &self,
        way: usize,
        aim: &Aim,
        folder: Option<PathBuf>,
    ) -> anyhow::Result<Attempted> {
        let enters = folder.is_some();
        let aim = Box::new(aim.clone());
        let child = self.spawn(&Task::Try { way, aim }, folder, Stdio::null())?;
        let (answer, errors) = outcome(child)?;
        match serde_json::from_slice::<Attempted>(&answer) {
            Ok(attempted) => Ok(attempted.map_err(Shut::plain)),
            Err(_) if enters && errors.contains("cannot enter the folder") => {
                Ok(Err(Shut::Refused("refused".to_owned())))
            }
            Err(_) if errors.is_empty() => Ok(Err(Shut::Untried("no answer".to_owned()))),
            Err(_) => Ok(Err(Shut::Untried(errors))),
        }
    }

    /// Places objects in the tenant.
    ///
    /// # Errors
    /// If they cannot be placed.
    pub(super) fn place(&self, places: Places) -> anyhow::Result<Holder> {
        let child = self.spawn(&Task::Place(places.clone()), None, Stdio::piped())?;
        Holder::begin(child, places, self.target.uid)
    }

    fn spawn(&self, task: &Task, folder: Option<PathBuf>, stdin: Stdio) -> anyhow::Result<Child> {
        let mut target = self.target.clone();
        if let Some(folder) = folder {
            target.working_directory = folder.display().to_string();
        }
        let order = Order {
            target,
            domain: self.domain,
            parent: std::process::id(),
            holds: match task {
                Task::Place(_) => true,
                Task::Try { .. } => false,
            },
            task: serde_json::to_string(task)?,
        };
        let mut file = File::from(memfd_create("tenantd-leak-test", MemfdFlags::CLOEXEC)?);
        serde_json::to_writer(&mut file, &order)?;
        file.rewind()?;
        fcntl_setfd(&file, FdFlags::empty())?;
        let program = self.program.path();
        start(&program, (ORDER, &file.as_raw_fd().to_string()), stdin)
    }

    /// Ends all processes that have entered, and removes their cgroup.
    ///
    /// # Errors
    /// If they survive, or it cannot be removed.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let Some(group) = self.group else {
            return Ok(());
        };
        group.kill_all()?;
        let begun = Instant::now();
        while group.is_occupied()? {
            if begun.elapsed() > KILL_LIMIT {
                bail!("processes of the test survived SIGKILL");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(group.remove()?)
    }
}

/// Places objects on the host.
///
/// # Errors
/// If they cannot be placed.
pub(super) fn place_on_host(places: Places) -> anyhow::Result<Holder> {
    let task = serde_json::to_string(&Task::Place(places.clone()))?;
    let child = start(Path::new(ITSELF), (TASK, &task), Stdio::piped())?;
    Holder::begin(child, places, 0)
}

fn start(program: &Path, (name, value): (&str, &str), stdin: Stdio) -> anyhow::Result<Child> {
    let child = Command::new(program)
        .arg0("tenantd")
        .env_clear()
        .env(name, value)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.context("cannot start a process")
}

/// A process that holds objects.
pub(super) struct Holder {
    pub(super) placed: Placed,
    places: Places,
    child: Child,
}

impl Holder {
    fn begin(mut child: Child, places: Places, uid: u32) -> anyhow::Result<Self> {
        let line = read(child.stdout.as_mut(), |read| read.ends_with(b"\n"))?;
        let placed: Option<Placed> = serde_json::from_slice(&line).ok();
        // A process of the tenant may have made it say something else, where no domain denies that.
        let fits = |it: &Placed| Ok(it.pid) == i32::try_from(child.id()) && places.fits(it, uid);
        match placed {
            Some(placed) if fits(&placed) => Ok(Self {
                placed,
                places,
                child,
            }),
            other => {
                // It removes what it has placed.
                drop(child.stdin.take());
                let (_, errors) = outcome(child)?;
                match other {
                    Some(_) => bail!("the process that places the objects of the test was changed"),
                    None => bail!("cannot place the objects of the test: {errors}"),
                }
            }
        }
    }

    /// Ends the process, and removes what it has not removed itself.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        outcome(self.child)?;
        self.places.remove(&self.places.on_host)
    }
}

/// What a process has written when it ends. At the limit it is killed.
fn outcome(mut child: Child) -> anyhow::Result<(Vec<u8>, String)> {
    let written = read(child.stdout.as_mut(), |_| false);
    if written.is_err() {
        child.kill()?;
    }
    let errors = read(child.stderr.as_mut(), |_| false);
    child.kill()?;
    child.wait()?;
    let errors = String::from_utf8_lossy(&errors?).into_owned();
    let errors = errors.trim().trim_start_matches("tenantd: error: ");
    Ok((written.unwrap_or_default(), plain(errors)))
}

/// Reads until the end, or until `enough`.
fn read(
    from: Option<&mut (impl Read + AsFd)>,
    enough: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<Vec<u8>> {
    let from = from.context("a stream was not opened")?;
    let begun = Instant::now();
    let mut read = Vec::new();
    let mut bytes = [0; 4096];
    while !enough(&read) {
        let left = LIMIT.saturating_sub(begun.elapsed());
        let left = Timespec::try_from(left)?;
        match poll(&mut [PollFd::new(&*from, PollFlags::IN)], Some(&left)) {
            Ok(0) => bail!("a process of the test does not end"),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        match from.read(&mut bytes)? {
            0 => break,
            length if read.len() + length > ANSWER_MAX => {
                bail!("a process of the test writes more than {ANSWER_MAX} bytes")
            }
            length => read.extend_from_slice(bytes.get(..length).unwrap_or_default()),
        }
    }
    Ok(read)
}
