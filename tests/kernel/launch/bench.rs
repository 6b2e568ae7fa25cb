//! What a launch needs: a datastore, a network namespace, a plan, and files for its output.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Resource, Rlimit, getrlimit};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tenantd_core::plan::model::{DatastorePlan, HostAccess, Identity, LaunchPlan, ViewPlan};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::Failure;
use tenantd_host::cgroup::Leaf;
use tenantd_host::launch::lookup::OwnFile;
use tenantd_host::launch::{Child, MountTemplates, Order, Report, Used, launch};
use tenantd_host::{datastore, process};

use crate::support;

/// The folder in which the tests' programs look for their data.
pub(crate) const TARGET: &str = "/run/expected";

pub(crate) struct Bench {
    pub(crate) launch: LaunchPlan,
    pub(crate) datastore: DatastorePlan,
    pub(crate) netns: OwnedFd,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) templates: MountTemplates,
    pub(crate) descriptors: Rlimit,
    pub(crate) syslog: Option<PathBuf>,
    pub(crate) lookup: Vec<OwnFile>,
}

impl Bench {
    /// A bench in a test host, with `/bin/sleep` as its program.
    pub(crate) fn new() -> Self {
        support::enter();
        std::fs::create_dir(TARGET).unwrap();
        // A provision makes it.
        std::fs::create_dir_all("/run/tenantd/wiki/tenants/acme").unwrap();
        let datastore = DatastorePlan {
            source: "/var/lib/tenantd/wiki/acme".into(),
            root: Path::new("/var/lib/tenantd/wiki").into(),
            target: Some(Path::new(TARGET).into()),
            folders: [].into(),
            uid: 1000,
            gid: 1000,
            mode: 0o750,
            map: None,
            must_exist: false,
            mounted: false,
        };
        datastore::ensure(&datastore).unwrap();
        Self {
            launch: LaunchPlan {
                program: "/bin/sleep".into(),
                argv: vec!["sleep".into(), "1000".into()],
                environment: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]).into(),
                secrets: Default::default(),
                working_directory: "/".into(),
                identity: Identity {
                    user: "1000".into(),
                    uid: 1000,
                    gid: 1000,
                    groups: vec![1000],
                    own: false,
                }
                .into(),
                view: ViewPlan {
                    host: HostAccess::ReadOnly,
                    shared: vec![],
                    visible: vec![],
                    private_size: 1 << 20,
                    private_modes: BTreeMap::new(),
                }
                .into(),
                private: [].into(),
                hidden: ["/var/lib/tenantd".into()].into(),
                files: Default::default(),
                limits: Default::default(),
                group: Default::default(),
                process: Default::default(),
                wall: Default::default(),
                commands: Default::default(),
                visits: Default::default(),
            },
            datastore,
            netns: new_netns(),
            leaf: None,
            templates: MountTemplates::default(),
            descriptors: getrlimit(Resource::Nofile),
            syslog: None,
            lookup: Vec::new(),
        }
    }

    /// The same with a script as its program.
    pub(crate) fn script(script: &str) -> Self {
        let mut bench = Self::new();
        bench.set_script(script);
        bench
    }

    pub(crate) fn set_script(&mut self, script: &str) {
        self.launch.program = "/bin/sh".into();
        self.launch.argv = vec!["sh".into(), "-c".into(), script.into()];
    }

    /// The same, and the program may write to the host's files.
    pub(crate) fn on_a_writable_host(mut self) -> Self {
        self.view().host = HostAccess::Writable;
        self
    }

    /// What the program sees of the host.
    pub(crate) fn view(&mut self) -> &mut ViewPlan {
        Arc::make_mut(&mut self.launch.view)
    }

    pub(crate) fn for_root(mut self) -> Self {
        self.launch.identity = Identity {
            user: "root".into(),
            uid: 0,
            gid: 0,
            groups: vec![],
            own: false,
        }
        .into();
        self
    }

    pub(crate) fn start(&self, stdout: &File) -> Result<Child<Report>, Failure> {
        self.start_watched(stdout, |report| report)
    }

    /// Launches; nobody reads the report, as if the supervisor had died.
    pub(crate) fn start_unread(&self) -> Child<()> {
        let stdout = File::create("/run/out").unwrap();
        self.start_watched(&stdout, drop).unwrap()
    }

    fn start_watched<W>(
        &self,
        stdout: &File,
        watch: impl Fn(Report) -> W,
    ) -> Result<Child<W>, Failure> {
        let order = Order {
            launch: &self.launch,
            phase: Phase::Main,
            datastore: &self.datastore,
            templates: &self.templates,
            netns: self.netns.as_fd(),
            leaf: self.leaf.as_ref(),
            stdout: stdout.as_fd(),
            stderr: stdout.as_fd(),
            descriptors: self.descriptors,
            label: "wiki/acme",
            syslog: self.syslog.as_deref(),
            lookup: &self.lookup,
            notify: None,
            keeper: None,
            watchdog_pid: false,
        };
        let child = launch(&order, |_, report| Ok(watch(report)))?;
        Ok(child.expect("the program is always launched"))
    }

    /// Launches and waits for the report.
    pub(crate) fn run(&self) -> Result<Running, Failure> {
        let stdout = File::create("/run/out").unwrap();
        let child = self.start(&stdout)?;
        let running = Running {
            pid: child.pid,
            pidfd: child.pidfd,
            used: child.used,
        };
        let limit = Duration::from_secs(10);
        let outcome = async { tokio::time::timeout(limit, child.watched.outcome()).await };
        wait(outcome).expect("the child hangs on its way to its program")?;
        Ok(running)
    }

    /// Makes for the next launch what this one has taken, as the supervisor does when the program runs.
    pub(crate) fn replenish(&self, running: &mut Running) {
        self.templates.give_back(std::mem::take(&mut running.used));
        self.templates.replenish();
    }

    /// Launches, waits for an exit with status 0 and returns the output.
    pub(crate) fn output(&self) -> String {
        let mut running = self.run().unwrap();
        let ended = running.end();
        let output = std::fs::read_to_string("/run/out").unwrap();
        assert_eq!(ended, process::Ended::Status(0), "{output}");
        output
    }

    /// Rehearses the launch.
    pub(crate) fn rehearse(&self) -> Result<(), Failure> {
        tenantd_host::launch::rehearse(&self.launch, &self.datastore, self.descriptors)
    }

    /// The failure of a launch; panics if the launch succeeds.
    pub(crate) fn failure(&self) -> String {
        match self.run() {
            Ok(_) => panic!("the launch succeeded"),
            Err(why) => why.to_string(),
        }
    }
}

/// A running program, killed when it is dropped.
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) used: Used,
}

impl Running {
    /// Waits until it ends on its own.
    pub(crate) fn end(&mut self) -> process::Ended {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options).unwrap();
        process::reap(self.pidfd.as_fd()).unwrap().unwrap()
    }

    /// The text of a file in its folder under `/proc`.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap()
    }

    /// One field of its `/proc/PID/status`.
    pub(crate) fn status(&self, field: &str) -> String {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    }

    pub(crate) fn link(&self, file: &str) -> PathBuf {
        std::fs::read_link(format!("/proc/{}/{file}", self.pid)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

/// Runs a future to its end.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A network namespace without a thread in it.
pub(crate) fn new_netns() -> OwnedFd {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
    };
    std::thread::spawn(make).join().unwrap()
}

/// Makes a file with this text and mode.
pub(crate) fn write_file(path: impl AsRef<Path>, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
