//! The supervisor, its tenants and their writers, and the wanted state of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::chaos::seen::{Launches, SeenTenant};
use crate::chaos::versions::Versions;
use crate::chaos::writer::{Writer, written};
use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, INSTALLED, folder};
use crate::support::store::{Store, guard};

/// The tenants, with their addresses.
pub const TENANTS: [(&str, &str); 4] = [
    ("acme", "10.77.0.11"),
    ("globex", "10.77.0.12"),
    ("initech", "10.77.0.13"),
    ("umbrella", "10.77.0.14"),
];

/// The folder in which redis-server looks for its data.
pub const DATA: &str = "/var/lib/redis";

/// The pause between two checks of the datastores.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The supervisor and its tenants, with what is wanted of them.
pub struct Scene {
    pub daemon: Daemon,
    /// Whether the supervisor was asked to end.
    pub ending: bool,
    /// `None` if the supervisor may have lost a want because it was killed.
    pub wants: BTreeMap<&'static str, Option<bool>>,
    /// The permanent wants, which hold also after a supervisor that ended in order.
    permanent: BTreeMap<&'static str, Option<bool>>,
    /// How often each tenant was changed in the manifest.
    changed: BTreeMap<&'static str, u32>,
    /// Tenants that were changed since the manifest was last certainly read.
    pub unread: BTreeSet<&'static str>,
    /// Processes that were killed since everything was last as wanted.
    pub killed: BTreeSet<i32>,
    pub versions: Versions,
    /// The launches when everything was last as wanted, and the tenants that were disturbed since.
    pub launches: Launches,
    pub disturbed: BTreeSet<&'static str>,
    writers: Vec<Writer>,
    writes: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    /// Finds tenants with two launches at a time, and says which processes these are.
    watcher: JoinHandle<BTreeSet<String>>,
}

impl Scene {
    /// Four tenants that are up, each with a writer.
    pub fn begin() -> Self {
        place::host();
        folder(DATA);
        let mut versions = Versions::from_environment();
        versions.begin();
        let daemon = Daemon::spawn_with(INSTALLED, &manifest(&BTreeMap::new()), &[]);
        let writes = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let watcher = watch(&daemon.app, Arc::clone(&over));
        let writer = |(_, ip)| Writer::begin(ip, Arc::clone(&writes));
        let mut scene = Self {
            daemon,
            ending: false,
            wants: all(Some(true)),
            permanent: all(Some(true)),
            changed: BTreeMap::new(),
            unread: BTreeSet::new(),
            killed: BTreeSet::new(),
            versions,
            launches: Launches::new(),
            disturbed: BTreeSet::new(),
            writers: TENANTS.map(writer).into(),
            writes,
            over,
            watcher,
        };
        scene.settles();
        scene
    }

    /// Waits until the writers together have done this many writes.
    pub fn wait_for_writes(&self, writes: u64) {
        let wanted = self.writes.load(Ordering::Relaxed) + writes;
        until("the writers continue", || {
            (self.writes.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    /// Signals the supervisor, if there is one, and waits for its end after SIGKILL.
    pub fn signal_supervisor(&mut self, signal: Signal) {
        if !self.daemon.is_running() {
            return;
        }
        self.daemon.signal(signal);
        if signal == Signal::SIGTERM {
            self.ending = true;
            self.disturbed.extend(TENANTS.map(|(name, _)| name));
        }
        if signal == Signal::SIGKILL {
            self.daemon.wait();
            if self.ending {
                self.wants = all(None);
            }
            self.ending = false;
        }
    }

    /// Starts a supervisor, unless one runs.
    pub fn start_supervisor(&mut self) {
        if self.daemon.is_running() {
            if !self.ending || !self.daemon.has_ended() {
                return;
            }
            self.wait_for_end();
        }
        self.daemon.again_armed("");
        self.unread.clear();
    }

    /// Waits for the end of a supervisor that is shutting down.
    pub fn wait_for_end(&mut self) {
        let status = self.daemon.wait();
        // The signal may have come before it handled signals.
        let unhandled = status.signal() == Some(Signal::SIGTERM as i32);
        assert!(
            status.success() || unhandled,
            "{status}: {}",
            self.daemon.output()
        );
        self.ending = false;
        self.wants = self.permanent.clone();
    }

    /// Detaches the supervisor. One that is shutting down refuses.
    pub fn detach(&mut self) {
        // The command's names in the newer and in the older program: each refuses the other one.
        if ["detach", "leave"]
            .iter()
            .any(|verb| self.tell(&[verb]).code == 0)
        {
            let status = self.daemon.wait();
            assert!(status.success(), "{status}: {}", self.daemon.output());
        }
    }

    /// Kills every process on a tenant's datastore.
    pub fn kill_processes_of(&mut self, tenant: &'static str) {
        self.disturbed.insert(tenant);
        let store = Store::of(&self.daemon.app, tenant);
        let held = store.users(DATA).into_iter().filter_map(|number| {
            let pid = Pid::from_raw(number)?;
            Some((number, pidfd_open(pid, PidfdFlags::empty()).ok()?))
        });
        let held: Vec<_> = held.collect();
        // A process that still uses the datastore while this pidfd is open is not another one with
        // a reused ID.
        let still = store.users(DATA);
        for (number, process) in held.iter().filter(|(number, _)| still.contains(number)) {
            self.killed.insert(*number);
            // It may have ended by itself.
            let _ended = pidfd_send_signal(process, rustix::process::Signal::KILL);
        }
    }

    /// Requests that tenants are up or down.
    pub fn want(&mut self, tenants: &[&'static str], up: bool) {
        let verb = if up { "start" } else { "stop" };
        let asked = [&[verb, "--no-wait"], tenants].concat();
        // Without a supervisor, or if it is shutting down, the wants do not change.
        let accepted = self.request(&asked);
        if accepted != Some(false) {
            let want = accepted.map(|_| up);
            self.wants.extend(tenants.iter().map(|&name| (name, want)));
        }
        if !up {
            self.disturbed.extend(tenants);
        }
    }

    /// Changes a tenant in the manifest in a way that requires a relaunch.
    pub fn change(&mut self, tenant: &'static str) {
        *self.changed.entry(tenant).or_default() += 1;
        self.unread.insert(tenant);
        self.disturbed.insert(tenant);
        let manifest = manifest(&self.changed).replace("APP", &self.daemon.app);
        self.put_manifest(&manifest);
    }

    /// A supervisor that is starting may read it.
    fn put_manifest(&self, manifest: &str) {
        let new = self.daemon.manifest.with_extension("new");
        fs::write(&new, manifest).unwrap();
        fs::rename(&new, &self.daemon.manifest).unwrap();
    }

    /// Reloads the manifest. Without a supervisor, or if it is shutting down, the next one reads
    /// it.
    pub fn reload(&mut self) {
        if self.request(&["reload"]) == Some(true) {
            self.unread.clear();
        }
    }

    /// A running supervisor refuses a manifest with a mistake, and changes nothing.
    pub fn reload_a_bad_manifest(&mut self) {
        self.settles();
        let good = fs::read_to_string(&self.daemon.manifest).unwrap();
        self.put_manifest(&good.replace("10.77.0.12", "10.77.0.11"));
        assert_ne!(self.tell(&["reload"]).code, 0);
        self.put_manifest(&good);
        self.check();
    }

    /// Requests permanently that a tenant is up or down.
    pub fn want_permanently(&mut self, tenant: &'static str, up: bool) {
        let verb = if up { "start" } else { "stop" };
        let asked = [verb, "--permanent", "--no-wait", tenant];
        let accepted = self.request(&asked);
        if accepted != Some(false) {
            let want = accepted.map(|_| up);
            self.wants.insert(tenant, want);
            self.permanent.insert(tenant, want);
        }
        if !up {
            self.disturbed.insert(tenant);
        }
    }

    /// Restarts a tenant, which is then wanted up.
    pub fn restart(&mut self, tenant: &'static str) {
        self.disturbed.insert(tenant);
        let accepted = self.request(&["restart", "--no-wait", tenant]);
        if accepted != Some(false) {
            self.wants.insert(tenant, accepted);
        }
    }

    /// Waits until a supervisor runs and everything is as wanted.
    pub fn settles(&mut self) {
        if self.daemon.is_running() && self.ending {
            self.wait_for_end();
        }
        self.start_supervisor();
        self.until("all are as wanted", |seen| {
            seen.tenants.iter().all(SeenTenant::is_as_wanted)
        });
        // Changes that no supervisor has read yet.
        self.must_accept(&["reload"]);
        self.unread.clear();
        // A process that was killed just now may not have been noticed yet.
        let killed = std::mem::take(&mut self.killed);
        let dead = |pid: Option<u32>| pid.is_some_and(|pid| killed.contains(&pid.cast_signed()));
        let status = self.until("all are as wanted, and run", |status| {
            let mut tenants = status.tenants.iter();
            tenants.all(|tenant| tenant.is_as_wanted() && !dead(tenant.pid))
        });
        for (name, want) in &mut self.wants {
            let tenant = status.tenants.iter().find(|t| t.name.as_str() == *name);
            want.get_or_insert(tenant.unwrap().is_wanted_up());
        }
    }

    /// The end: no acknowledged write is missing, and nothing is left behind.
    pub fn end(mut self) {
        self.start_supervisor();
        for (name, _) in TENANTS {
            self.want_permanently(name, true);
        }
        self.settles();
        for (writer, (name, ip)) in self.writers.into_iter().zip(TENANTS) {
            let acknowledged = writer.end();
            let written: BTreeSet<u64> = written(ip).into_iter().collect();
            let missing: Vec<_> = acknowledged.difference(&written).collect();
            assert_eq!(missing, [&0; 0], "{name} lost of {}", acknowledged.len());
            eprintln!(
                "{name}: all {} acknowledged writes are there",
                acknowledged.len()
            );
        }
        self.versions.report();
        self.over.store(true, Ordering::Relaxed);
        assert_eq!(
            self.watcher.join().unwrap(),
            BTreeSet::new(),
            "had two launches"
        );
        self.daemon.end();
    }
}

fn all(up: Option<bool>) -> BTreeMap<&'static str, Option<bool>> {
    TENANTS.map(|(name, _)| (name, up)).into()
}

fn manifest(changed: &BTreeMap<&'static str, u32>) -> String {
    let guard = guard(DATA, "");
    let tenants: String = TENANTS
        .iter()
        .map(|(name, ip)| {
            let times = changed.get(name).unwrap_or(&0);
            format!("{name} = {{ ip = \"{ip}\", environment = {{ CHANGED = \"{times}\" }} }}\n")
        })
        .collect();
    format!(
        "[app]\nname = \"APP\"\nuser = \"redis\"\ndatastore.path = \"{DATA}\"\n\
         command = [\"{guard}\", \"/usr/bin/redis-server\", \"--dir\", \"{DATA}\", \"--bind\",\n\
         \"{{ip}}\", \"--protected-mode\", \"no\", \"--supervised\", \"systemd\", \"--save\", \"\",\n\
         \"--appendonly\", \"yes\", \"--appendfsync\", \"always\",\n\
         \"--auto-aof-rewrite-percentage\", \"0\"]\n\
         ready.tcp = 6379\nrestart.delay = \"10ms\"\nrestart.delay_max = \"50ms\"\n\
         restart.strikes = 0\n[tenants]\n{tenants}"
    )
}

/// Checks the datastores again and again, and describes tenants with two launches.
fn watch(app: &str, over: Arc<AtomicBool>) -> JoinHandle<BTreeSet<String>> {
    let stores = TENANTS.map(|(name, _)| (name, Store::of(app, name)));
    std::thread::spawn(move || {
        let mut found = BTreeSet::new();
        while !over.load(Ordering::Relaxed) {
            for (name, store) in &stores {
                let launches = store.launches(DATA);
                if launches.len() > 1 {
                    found.insert(format!("{name}: {}", described(&launches)));
                }
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
        found
    })
}

fn described(launches: &BTreeSet<i32>) -> String {
    let one = |session: &i32| {
        let read = |file| fs::read_to_string(format!("/proc/{session}/{file}")).unwrap_or_default();
        format!("{session}: {:?} in {:?}", read("cmdline"), read("cgroup"))
    };
    launches.iter().map(one).collect::<Vec<_>>().join(", ")
}
