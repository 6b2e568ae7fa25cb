//! Runs the real program in a test host: starts it with a manifest, sends requests through its own
//! command line, and checks at the end that it left nothing.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tenantd_api::wire::{AppStatus, StateWord, TenantStatus};

use super::place::{SRV, Traces, traces, traces_before};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tenantd");

/// The limit of each wait, far above the time that anything here needs.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The variable that names the crash point at which the program is to die.
pub const CRASH_AT: &str = "TENANTD_CRASH_AT";

/// The result of a command.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl CommandOutput {
    /// Its output; panics unless it ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.out
    }
}

/// A command with a time limit; it ends with code 124 at the limit.
pub fn in_time(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", program]);
    for name in ["TENANTD_APP", "TENANTD_CONFIG"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program until it ends.
pub fn tenantd(arguments: &[&str]) -> CommandOutput {
    run(in_time(PROGRAM).args(arguments))
}

/// Runs a command until it ends.
pub fn run(command: &mut Command) -> CommandOutput {
    let output = command.stdin(Stdio::null()).output().unwrap();
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Polls for a condition that has no event to wait for.
///
/// # Panics
/// After the time limit.
#[track_caller]
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "still not so: {what}");
        // Leaves the processors to the program.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running `tenantd`. Dropping it ends it and checks that nothing is left.
pub struct Daemon {
    pub app: String,
    pub manifest: PathBuf,
    /// The time of the last start.
    pub begun: Instant,
    program: String,
    child: Child,
    before: Traces,
    ended: bool,
}

impl Daemon {
    /// Starts the program with a manifest, in which `APP` is replaced by the application's name,
    /// and waits until it answers.
    #[track_caller]
    pub fn start(manifest: &str) -> Self {
        let daemon = Self::spawn(manifest);
        daemon.answers();
        daemon
    }

    /// Like [`Daemon::start`], and waits until every tenant is as wanted.
    #[track_caller]
    pub fn start_settled(manifest: &str) -> Self {
        let daemon = Self::spawn(manifest);
        daemon.settles();
        daemon
    }

    pub fn spawn(manifest: &str) -> Self {
        Self::spawn_armed(manifest, "")
    }

    /// Like [`Daemon::start`], with another file of the program.
    #[track_caller]
    pub fn start_with(program: &str, manifest: &str) -> Self {
        let daemon = Self::spawn_with(program, manifest, &[]);
        daemon.answers();
        daemon
    }

    /// Starts a program that dies at a crash point.
    pub fn spawn_armed(manifest: &str, armed: &str) -> Self {
        Self::spawn_with(PROGRAM, manifest, &[(CRASH_AT, armed)])
    }

    /// Like [`Daemon::spawn`], with another file of the program and with these variables.
    pub fn spawn_with(program: &str, manifest: &str, environment: &[(&str, &str)]) -> Self {
        Self::spawn_as(super::app_name(), program, manifest, environment)
    }

    /// As [`Daemon::spawn`], with this name of the application.
    pub fn spawn_named(app: &str, manifest: &str) -> Self {
        Self::spawn_as(app.to_owned(), PROGRAM, manifest, &[])
    }

    fn spawn_as(app: String, program: &str, manifest: &str, environment: &[(&str, &str)]) -> Self {
        let before = traces_before(&app);
        let path = write_manifest(&app, manifest);
        let begun = Instant::now();
        let child = launch(program, &app, &path, environment);
        Self {
            app,
            manifest: path,
            begun,
            program: program.to_owned(),
            child,
            before,
            ended: false,
        }
    }

    /// Starts the program again with the same manifest, after it has ended.
    #[track_caller]
    pub fn again(&mut self) {
        self.again_armed("");
        self.answers();
    }

    /// Like [`Daemon::again`], but the program dies at a crash point, and this does not wait.
    pub fn again_armed(&mut self, armed: &str) {
        assert!(self.ended);
        self.begun = Instant::now();
        let armed = [(CRASH_AT, armed)];
        self.child = launch(&self.program, &self.app, &self.manifest, &armed);
        self.ended = false;
    }

    /// Waits until it answers and every tenant is as wanted.
    #[track_caller]
    pub fn settles(&self) -> AppStatus {
        self.answers();
        self.until("all are as wanted", |status| {
            status.tenants.iter().all(TenantStatus::is_as_wanted)
        })
    }

    #[track_caller]
    fn answers(&self) {
        let pid = self.pid();
        until("the program answers", || {
            let status = self.try_status();
            assert!(
                status.is_some() || Path::new(&format!("/proc/{pid}/exe")).exists(),
                "it has ended: {}",
                self.output()
            );
            status.filter(|status| status.pid == pid)
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the program wrote to its standard output and error.
    pub fn output(&self) -> String {
        fs::read_to_string(output_path(&self.app)).unwrap()
    }

    /// Sends a request with the command line.
    pub fn tell(&self, arguments: &[&str]) -> CommandOutput {
        tenantd(&[&["--app", &self.app], arguments].concat())
    }

    pub fn try_status(&self) -> Option<AppStatus> {
        let said = self.tell(&["status", "--json"]);
        serde_json::from_str(&said.out).ok()
    }

    #[track_caller]
    pub fn status(&self) -> AppStatus {
        let said = self.tell(&["status", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    #[track_caller]
    pub fn tenant(&self, name: &str) -> TenantStatus {
        one(self.status(), name)
    }

    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&AppStatus) -> bool) -> AppStatus {
        let mut last = None;
        let begun = Instant::now();
        until(what, || {
            let status = self.status();
            let found = is_so(&status).then(|| status.clone());
            last = Some(status);
            if found.is_none() && begun.elapsed() > LIMIT - Duration::from_secs(2) {
                panic!("still not so: {what}: {last:#?}\n{}", self.output());
            }
            found
        })
    }

    #[track_caller]
    pub fn until_tenant(&self, name: &str, is_so: impl Fn(&TenantStatus) -> bool) -> TenantStatus {
        let status = self.until(name, |status| {
            is_so(
                status
                    .tenants
                    .iter()
                    .find(|t| t.name.as_str() == name)
                    .unwrap(),
            )
        });
        one(status, name)
    }

    #[track_caller]
    pub fn until_state(&self, name: &str, state: StateWord) -> TenantStatus {
        self.until_tenant(name, |tenant| tenant.state == state)
    }

    /// Kills a tenant's first process and waits until the next one is ready.
    #[track_caller]
    pub fn kill_tenant(&self, name: &str) -> TenantStatus {
        let before = self.tenant(name);
        signal(before.pid.unwrap(), Signal::SIGKILL);
        self.until_tenant(name, |tenant| {
            tenant.restarts > before.restarts && tenant.is_as_wanted()
        })
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let fd = pidfd(self.pid());
        assert!(ends(&fd, LIMIT), "it does not end: {}", self.output());
        self.ended = true;
        self.child.wait().unwrap()
    }

    /// Whether the program has not been reaped yet.
    pub fn is_running(&self) -> bool {
        !self.ended
    }

    /// Whether the program has ended without having been reaped.
    pub fn has_ended(&self) -> bool {
        self.ended || ends(&pidfd(self.pid()), Duration::ZERO)
    }

    /// Kills the program with SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Ends the program with SIGTERM and checks that nothing is left.
    #[track_caller]
    pub fn end(mut self) -> String {
        self.end_clean();
        self.output()
    }

    #[track_caller]
    fn end_clean(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGTERM);
            let status = self.wait();
            assert_eq!(status.code(), Some(0), "{}", self.output());
        }
        self.left_nothing();
    }

    /// Waits, because the kernel destroys namespaces a moment after their links.
    #[track_caller]
    pub fn left_nothing(&self) {
        let mut now = traces(&self.app);
        let begun = Instant::now();
        while now != self.before && begun.elapsed() < LIMIT {
            now = traces(&self.app);
        }
        for (kind, before) in &self.before {
            assert_eq!(&now[kind], before, "{kind}: {}", self.output());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end_clean();
            return;
        }
        eprintln!("the daemon's output:\n{}", self.output());
        if !self.ended {
            self.signal(Signal::SIGTERM);
            if !ends(&pidfd(self.pid()), Duration::from_secs(15)) {
                self.signal(Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
        // A failed test may leave cgroups in the tree that all test hosts share.
        let leaf = format!("/sys/fs/cgroup/tenantd/{}", self.app);
        let _ = fs::write(format!("{leaf}/cgroup.kill"), "1");
    }
}

fn one(status: AppStatus, name: &str) -> TenantStatus {
    let mut tenants = status.tenants.into_iter();
    tenants.find(|tenant| tenant.name.as_str() == name).unwrap()
}

fn output_path(app: &str) -> String {
    format!("{SRV}/{app}.output")
}

/// Writes a manifest, in which `APP` is replaced by the application's name.
pub fn write_manifest(app: &str, manifest: &str) -> PathBuf {
    let path = PathBuf::from(format!("{SRV}/{app}.toml"));
    fs::write(&path, manifest.replace("APP", app)).unwrap();
    path
}

fn launch(program: &str, app: &str, manifest: &Path, environment: &[(&str, &str)]) -> Child {
    let output = File::options()
        .create(true)
        .append(true)
        .open(output_path(app))
        .unwrap();
    Command::new(program)
        .envs(environment.iter().copied())
        .arg("--config")
        .arg(manifest)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap()
}

/// Signals a process that is a tenant's or was started by the test.
pub fn signal(pid: u32, which: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), which).unwrap();
}

/// A pidfd of a process, to wait for its end.
pub fn pidfd(pid: u32) -> OwnedFd {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

/// Waits for the end of a process.
pub fn ends(process: &OwnedFd, within: Duration) -> bool {
    let limit = Timespec::try_from(within).unwrap();
    let mut wanted = [PollFd::new(process, PollFlags::IN)];
    poll(&mut wanted, Some(&limit)).unwrap() > 0
}
