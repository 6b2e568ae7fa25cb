//! The process of a scratch run: it enters the scratch namespaces, runs a supervisor with one tenant in them,
//! and observes it. When the command that started it is gone, it ends everything.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::calls::Observer;
use super::order::{Order, Said, Tree, say};
use super::syslog::Syslog;
use super::usage::ScratchRun;
use tenantd_host::cgroup::{Leaf, scratch as cgroup};
use tenantd_host::launch::observe::{self, Calls};
use tenantd_host::scratch::{self, Scratch};

/// The environment variable that makes this program a process of a scratch run, and which one.
pub(super) const VARIABLE: &str = "TENANTD_LEARN";
pub(super) const SCRATCH: &str = "scratch";
const RUNNER: &str = "runner";

/// The output of the supervisor.
const OUTPUT: &str = "/run/tenantd-learn/output";

/// Runs the process of a scratch run that the environment asks for, if any.
pub fn asked() -> Option<anyhow::Result<()>> {
    match std::env::var(VARIABLE).ok()?.as_str() {
        SCRATCH => Some(run()),
        RUNNER => Some(become_supervisor()),
        _ => None,
    }
}

/// This program, without the variables that decide what it does.
pub(super) fn itself() -> Command {
    let mut command = Command::new("/proc/self/exe");
    for name in [
        VARIABLE,
        "TENANTD_APP",
        "TENANTD_CONFIG",
        "NOTIFY_SOCKET",
        "JOURNAL_STREAM",
    ] {
        command.env_remove(name);
    }
    command
}

fn run() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).context("the order of the scratch run")?;
    // Before the tree changes: the cgroups are those of the host.
    let top = File::open(&order.cgroups).with_context(|| order.cgroups.display().to_string())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", top.as_raw_fd()));
    let leaf = cgroup::of(&path, &order.cgroup, &order.tenant);
    let said = match scratch_run(&order, &leaf) {
        Ok(seen) => seen,
        Err(error) => Said::Failed(format!("{error:#}")),
    };
    let ended = cgroup::end(&leaf).context("cannot end the scratch run");
    // The command may be gone.
    let told = say(&said);
    ended.and(told)
}

fn scratch_run(order: &Order, leaf: &Leaf) -> anyhow::Result<Said> {
    let scratch = match order.tree {
        Tree::Union => Some(Arc::new(Scratch::enter(order.size)?)),
        Tree::Host => {
            scratch::enter_host(order.size)?;
            None
        }
    };
    for (place, why) in scratch.iter().flat_map(|it| &it.others) {
        let place = place.display();
        say(&Said::Note(format!("{place}: {why}")))?;
    }
    if let Some(folder) = order.place.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(&order.place, &order.manifest).with_context(|| order.place.display().to_string())?;
    for folder in &order.folders {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let syslog = match order.tree {
        Tree::Union => {
            Some(Syslog::bind().context("cannot make the syslog socket of the scratch run")?)
        }
        Tree::Host => None,
    };
    let (supervisor, calls) = start(order, leaf)?;
    let id = supervisor.id();
    let part = format!("/tenantd/{}/{}", order.app, order.tenant);
    let observer = Arc::new(Observer::new(order.tree, scratch.clone(), part, id));
    let watching = {
        let observer = Arc::clone(&observer);
        thread::spawn(move || observer.watch(&calls))
    };
    let seen = ScratchRun::new(
        order,
        leaf,
        supervisor,
        &observer,
        syslog,
        scratch.as_deref(),
    )
    .run();
    // Without processes, there are no more calls.
    leaf.kill()?;
    match watching.join() {
        Ok(watched) => watched.context("cannot observe the program")?,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    Ok(Said::Seen(Box::new(seen?)))
}

/// Starts the supervisor in the scratch run's cgroup, under the filter.
fn start(order: &Order, leaf: &Leaf) -> anyhow::Result<(Child, Calls)> {
    let mut runner = itself()
        .env(VARIABLE, RUNNER)
        .arg(&order.place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the supervisor of the scratch run")?;
    let procs = leaf.path().join("cgroup.procs");
    fs::write(&procs, runner.id().to_string()).context("cannot put it into its cgroup")?;
    let mut stdin = runner.stdin.take().context("it has no standard input")?;
    let stdout = runner.stdout.take().context("it has no standard output")?;
    writeln!(stdin, "go")?;
    let mut line = String::new();
    io::BufReader::new(stdout).read_line(&mut line)?;
    let number = line.trim().parse();
    let number: i32 =
        number.map_err(|_| anyhow::anyhow!("it cannot be observed: {}", line.trim()))?;
    let pid = i32::try_from(runner.id()).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(pid.context("it has no process ID")?, PidfdFlags::empty())?;
    let calls = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty())
        .context("cannot take the notifications of its filter")?;
    writeln!(stdin, "go")?;
    Ok((runner, Calls::from(calls)))
}

/// In a process of its own: goes under the filter and becomes the supervisor.
fn become_supervisor() -> anyhow::Result<()> {
    match under_filter() {
        Ok(never) => match never {},
        Err(error) => {
            // The process of the scratch run shows it.
            println!("{error:#}");
            Err(error)
        }
    }
}

fn under_filter() -> anyhow::Result<std::convert::Infallible> {
    let manifest = std::env::args_os().nth(1).context("no manifest")?;
    let go_on = || {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    };
    go_on()?;
    scratch::own_cgroups()?;
    let output = File::create(OUTPUT).context(OUTPUT)?;
    let mut supervisor = itself();
    supervisor.arg("run").arg("--config").arg(manifest);
    supervisor
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output);
    let listener = observe::begin().context("cannot install a seccomp filter")?;
    println!("{}", listener.as_raw_fd());
    go_on()?;
    Err(supervisor.exec().into())
}

/// The last lines of the supervisor's own output.
pub(super) fn output_of_supervisor() -> Vec<String> {
    let text = fs::read_to_string(Path::new(OUTPUT)).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().rev().take(5).map(str::to_owned).collect();
    lines.reverse();
    lines
}
