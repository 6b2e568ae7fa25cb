//! Two hosts, which are namespaces on this machine, and the tenants that move between them.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use tenantd_api::wire::{AppStatus, StateWord};
use tenantd_host::owner;

use crate::support::daemon::{
    CRASH_AT, CommandOutput, Daemon, LIMIT, PROGRAM, ends, in_time, pidfd, run, signal, until,
};
use crate::support::place::{self, folder, script};

/// What each tenant runs: it counts, and on the first host writes a file whose time never changes.
const COUNTER: &str = r#"
cd /srv/data
n=$(cat log 2>/dev/null | wc -l)
host=$(hostname)
while :; do
    n=$((n + 1))
    echo $n >>log
    echo "$n $host" >>/srv/acks/$1
    sleep 0.01
    [ "$host" = h2 ] || { printf %08d $n >same; touch -d @1000000000 same; }
done"#;

pub(super) fn manifest(tenants: &str) -> String {
    let program = script("counter", COUNTER);
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\", \"{{tenant}}\"]\nshared = [\"/srv/acks\"]\n\
         datastore.path = \"/srv/data\"\nstop.grace = \"2s\"\n\
         [network]\nsubnet = \"10.77.0.0/24\"\n[defaults]\nautostart = false\n[tenants]\n{tenants}"
    )
}

pub(super) fn tenants(names: &[String]) -> String {
    let each = names.iter().zip(11..);
    each.map(|(name, last)| format!("{name} = {{ ip = \"10.77.0.{last}\" }}\n"))
        .collect()
}

/// The second host.
pub(super) struct Second {
    pub(super) first: Child,
    daemon: Child,
    app: String,
    pub(super) rsh: String,
}

/// Its mounts: what a host has for itself. `/srv` is that of both.
const MOUNTS: &str = r#"
mount -n -t sysfs sysfs /sys && mount -n -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
for folder in /run /var/lib /var/log/tenantd; do mount -n -t tmpfs -o mode=755 tmpfs $folder || exit 1; done
mkdir /var/lib/tenantd
echo 00000000000000000000000000000002 >/srv/machine-id
if [ -e /etc/machine-id ]; then mount -n --bind /srv/machine-id /etc/machine-id || exit 1; fi
hostname h2 && ip link set lo up && : >/srv/h2.ready
exec sleep 1000000"#;

impl Second {
    pub(super) fn boot(app: &str, manifest: &str) -> Self {
        let group = format!("/sys/fs/cgroup/{app}-h2");
        fs::create_dir(&group).unwrap();
        let mounts = script("h2", MOUNTS);
        let into = format!("echo $$ >{group}/cgroup.procs && exec unshare -n -m -u -C {mounts}");
        let first = Command::new("sh").args(["-c", &into]).spawn().unwrap();
        until("the second host is there", || {
            Path::new("/srv/h2.ready").exists().then_some(())
        });
        let pid = first.id();
        let programs = Path::new(PROGRAM).parent().unwrap().display();
        // The end of a step is that of its command, as with ssh.
        let rsh = script(
            "rsh",
            &format!(
                "[ -e /srv/broken ] && case \"$*\" in *\"$(cat /srv/broken)\"*) echo broken >&2; exit 1;; esac\n\
                 shift; export PATH={programs}:$PATH\n\
                 exec nsenter -t {pid} -n -m -u -C sh -c \"$*\""
            ),
        );
        folder("/srv/second");
        let config = format!("/srv/second/{app}.toml");
        fs::write(&config, manifest.replace("APP", app)).unwrap();
        let run = format!(
            "echo $$ >/sys/fs/cgroup/cgroup.procs; exec {PROGRAM} --config {config} >/srv/second/output 2>&1"
        );
        let daemon = Command::new("nsenter")
            .args(["-t", &pid.to_string(), "-n", "-m", "-u", "-C", "sh", "-c"])
            .arg(run)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let second = Self {
            first,
            daemon,
            app: app.to_owned(),
            rsh,
        };
        until("its supervisor answers", || {
            (second.tell("status").code == 0).then_some(())
        });
        second
    }

    /// Sends a request on that host.
    pub(super) fn tell(&self, words: &str) -> CommandOutput {
        run(in_time(&self.rsh).args(["h2", "tenantd", "--app", &self.app, words]))
    }

    pub(super) fn state(&self, tenant: &str) -> Option<StateWord> {
        let said = self.tell("status --json");
        let status: AppStatus = serde_json::from_str(&said.out).unwrap();
        let found = status.tenants.iter().find(|it| it.name.as_str() == tenant);
        found.map(|it| it.state)
    }

    pub(super) fn said(&self) -> String {
        fs::read_to_string("/srv/second/output").unwrap()
    }

    fn end(mut self) {
        signal(self.daemon.id(), Signal::SIGTERM);
        assert!(ends(&pidfd(self.daemon.id()), LIMIT), "{}", self.said());
        assert_eq!(
            self.daemon.wait().unwrap().code(),
            Some(0),
            "{}",
            self.said()
        );
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.first] {
            let _ = child.kill();
            let _ = child.wait();
        }
        let group = format!("/sys/fs/cgroup/{}-h2", self.app);
        let _ = fs::write(format!("{group}/cgroup.kill"), "1");
        until("its cgroup is empty", || {
            let _ = fs::remove_dir(format!("{group}/tenantd/{}", self.app));
            let _ = fs::remove_dir(format!("{group}/tenantd"));
            (fs::remove_dir(&group).is_ok() || !Path::new(&group).exists()).then_some(())
        });
    }
}

pub(super) struct Both {
    pub(super) first: Daemon,
    pub(super) second: Second,
}

impl Both {
    pub(super) fn start(names: &[String], known_there: &[String]) -> Self {
        place::host();
        folder("/srv/data");
        folder("/srv/acks");
        let first = Daemon::start(&manifest(&tenants(names)));
        let second = Second::boot(&first.app, &manifest(&tenants(known_there)));
        Self { first, second }
    }

    /// What runs a command in the mounts of the second host.
    pub(super) fn within(&self) -> String {
        format!("nsenter -t {} -m", self.second.first.id())
    }

    pub(super) fn move_with(&self, words: &[&str], armed: &str) -> CommandOutput {
        self.move_by(&self.second.rsh, words, armed)
    }

    /// The same, with another command that reaches the second host.
    pub(super) fn move_by(&self, rsh: &str, words: &[&str], armed: &str) -> CommandOutput {
        run(in_time(PROGRAM)
            .args(["--app", &self.first.app, "move", "--rsh", rsh])
            .args(words)
            .env(CRASH_AT, armed))
    }

    #[track_caller]
    pub(super) fn moved(&self, tenant: &str) -> String {
        let said = self.move_with(&[tenant, "h2"], "");
        assert_eq!(said.code, 0, "{said:?} {}", self.second.said());
        said.out
    }

    pub(super) fn up(&self, tenant: &str) {
        self.first.tell(&["start", tenant]).expect(0);
        until("it counts", || (acks(tenant).len() > 3).then_some(()));
    }

    /// The folder of the second host with the data of a tenant.
    pub(super) fn there(&self, tenant: &str) -> PathBuf {
        let pid = self.second.first.id();
        let app = &self.first.app;
        PathBuf::from(format!("/proc/{pid}/root/var/lib/tenantd/{app}/{tenant}"))
    }

    /// The kept data of a tenant on the first host.
    pub(super) fn kept(&self, tenant: &str) -> PathBuf {
        let folder = format!("/var/lib/tenantd/{}", self.first.app);
        let start = format!("{tenant}.moved-");
        let mut found = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
        let is_it = |path: &PathBuf| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&start)
        };
        found.find(is_it).unwrap()
    }

    /// It runs there, and each count is there once.
    #[track_caller]
    pub(super) fn is_whole(&self, tenant: &str) {
        assert_eq!(self.second.state(tenant), Some(StateWord::Up));
        assert_eq!(self.first.tenant(tenant).state, StateWord::Down);
        until("it counts there", || {
            acks(tenant)
                .iter()
                .any(|ack| ack.ends_with(" h2"))
                .then_some(())
        });
        self.second.tell(&format!("stop {tenant}")).expect(0);
        let log = fs::read_to_string(self.there(tenant).join("log")).unwrap();
        let counted: Vec<usize> = log.lines().map(|line| line.parse().unwrap()).collect();
        assert!(
            counted.iter().copied().eq(1..=counted.len()),
            "{tenant}: {log}"
        );
        let acks = acks(tenant);
        let numbers: BTreeSet<&str> = acks
            .iter()
            .map(|ack| ack.split_once(' ').unwrap().0)
            .collect();
        assert_eq!(numbers.len(), acks.len(), "{tenant}: counted twice");
        for number in numbers {
            assert!(
                number.parse::<usize>().unwrap() <= counted.len(),
                "{tenant}: {number} is lost"
            );
        }
        // What was written under the same time and size.
        let [here, there] =
            [self.kept(tenant), self.there(tenant)].map(|it| fs::read(it.join("same")).unwrap());
        assert_eq!(
            String::from_utf8_lossy(&here),
            String::from_utf8_lossy(&there),
            "{tenant}"
        );
    }

    pub(super) fn end(self) {
        self.second.end();
        self.first.end();
    }
}

pub(super) fn acks(tenant: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/srv/acks/{tenant}")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The owner record of a datastore.
pub(super) fn record(datastore: &Path) -> owner::Record {
    let folder = fs::File::open(datastore).unwrap();
    owner::read(folder.as_fd(), datastore).unwrap().unwrap()
}
