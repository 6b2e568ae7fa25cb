//! One tenant in the foreground, with exit codes for the program that started it, and the record of the host
//! that uses a datastore.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;
use tenantd_host::{datastore, owner};

use crate::support::daemon::{
    CommandOutput, Daemon, LIMIT, PROGRAM, ends, pidfd, signal, tenantd, until,
};
use crate::support::place::{self, SRV, script};

/// An application with the tenants acme, which runs, fails, whose program ends at once, and two of other engines.
/// None is started by the supervisor.
fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    let program = script("program", "[ \"$1\" = fails ] && exit 3; exec sleep 1000");
    Daemon::start(&format!(
        r#"
[app]
name = "APP"
user = "root"
command = ["{program}", "{{tenant}}"]
datastore.path = "/srv/data"
restart = {{ strikes = 2, delay = "10ms" }}
[defaults]
autostart = false
[tenants]
acme = {{ ip = "10.77.0.11" }}
fails = {{ ip = "10.77.0.12" }}
other = {{ ip = "10.77.0.13", engine = "other" }}
moved = {{ ip = "10.77.0.14", engine = "pacemaker" }}
"#
    ))
}

/// `run --tenant` in the background.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let output = PathBuf::from(format!("{SRV}/run.{}", arguments.join(".")));
        let file = fs::File::create(&output).unwrap();
        let child = Command::new(PROGRAM)
            .env("TENANTD_APP", &daemon.app)
            .args(["run", "--tenant"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, output }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    #[track_caller]
    fn ends(mut self) -> (i32, String) {
        let ended = ends(&pidfd(self.child.id()), LIMIT);
        assert!(ended, "it does not end: {}", self.said());
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.said())
    }

    #[track_caller]
    fn stop(self) -> (i32, String) {
        signal(self.child.id(), Signal::SIGTERM);
        self.ends()
    }
}

fn run(daemon: &Daemon, arguments: &[&str]) -> CommandOutput {
    daemon.tell(&[&["run", "--tenant"], arguments].concat())
}

/// The record of the tenant acme.
pub(crate) fn record(daemon: &Daemon) -> owner::Record {
    let path = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let folder = datastore::open(Path::new(&path)).unwrap();
    owner::read(folder.as_fd(), Path::new(&path))
        .unwrap()
        .unwrap()
}

/// The arguments of a line of the unit in `contrib`, for the tenant acme.
fn of_unit(key: &str) -> Vec<String> {
    let unit = include_str!("../../contrib/systemd/tenantd-tenant@.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    let line = line.replace("%i", "acme");
    let mut words = line.split_whitespace().map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("/usr/bin/tenantd"));
    words.collect()
}

#[test]
fn a_tenant_runs_as_long_as_the_command_and_the_exit_code_says_how_it_ended() {
    let mut daemon = start();
    let running = Running::start(&daemon, &["acme"]);
    let first = daemon.until_state("acme", StateWord::Up).pid.unwrap();
    let second = run(&daemon, &["acme"]);
    assert_eq!(second.code, 12, "{second:?}");
    let other = format!("(process {})", running.child.id());
    assert!(second.err.contains(&other), "{second:?}");

    // It stays through an end of the supervisor that the tenant survives.
    daemon.kill();
    until("it waits", || {
        running
            .said()
            .contains("waiting for the next one")
            .then_some(())
    });
    daemon.again();
    assert_eq!(daemon.until_state("acme", StateWord::Up).pid, Some(first));
    let (code, said) = running.stop();
    assert_eq!(code, 0, "{said}");
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
    assert!(fs::metadata(format!("/proc/{first}/exe")).is_err());

    // The unit runs the same, and stops what a killed command has left.
    assert_eq!(of_unit("ExecStart="), ["run", "--tenant", "acme"]);
    let mut running = Running::start(&daemon, &["acme"]);
    daemon.until_state("acme", StateWord::Up);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let stop = of_unit("ExecStopPost=");
    daemon
        .tell(&stop.iter().map(|it| &**it).collect::<Vec<_>>())
        .expect(0);
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);

    // An operator may stop it too.
    let running = Running::start(&daemon, &["acme"]);
    daemon.until_state("acme", StateWord::Up);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(running.ends().0, 0);

    let failed = run(&daemon, &["fails"]);
    assert_eq!(failed.code, 10, "{failed:?}");
    assert!(failed.err.contains("fails: given up: failed"), "{failed:?}");
    assert_eq!(daemon.tenant("fails").state, StateWord::Down);
    assert_eq!(run(&daemon, &["unknown"]).code, 1);

    // Without a supervisor nothing proves a stop.
    let running = Running::start(&daemon, &["acme"]);
    let pid = daemon.until_state("acme", StateWord::Up).pid.unwrap();
    daemon.kill();
    until("it waits", || {
        running
            .said()
            .contains("waiting for the next one")
            .then_some(())
    });
    let (code, said) = running.stop();
    assert_eq!(code, 11, "{said}");
    assert!(fs::metadata(format!("/proc/{pid}/exe")).is_ok());
    assert!(!Path::new("/run/tenantd/.runs").exists());
    daemon.again();
    daemon.end();
}

/// Writes the record of the tenant acme, which was started before, as another host has left it, or this one.
pub(crate) fn left_by(daemon: &Daemon, machine: &str, boot: &str) {
    let mut record = serde_json::to_value(record(daemon)).unwrap();
    record["live"] = true.into();
    record["machine"] = machine.into();
    record["host"] = "elsewhere".into();
    record["boot"] = boot.into();
    write(daemon, &record.to_string());
}

fn write(daemon: &Daemon, text: &str) {
    let path = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&*path, owner::ATTRIBUTE, text.as_bytes(), flags).unwrap();
}

/// What cannot be read is refused, and says where it is.
fn is_refused_if_damaged(daemon: &Daemon) {
    write(daemon, "{");
    let said = daemon.tell(&["start", "acme", "--takeover"]);
    assert_eq!(said.code, 12, "{said:?}");
    let said = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let mend = format!("setfattr -x {} /var/lib", owner::ATTRIBUTE);
    assert!(said.contains(&mend), "{said:?}");
}

#[test]
fn a_datastore_that_another_host_uses_is_refused_until_that_is_taken_over() {
    let daemon = start();
    let app = daemon.app.clone();
    daemon.tell(&["start", "acme"]).expect(0);
    let own = record(&daemon);
    assert!(own.live && own.generation == 1, "{own:?}");
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(!record(&daemon).live);

    // After a crash and a boot, this host takes its own again.
    left_by(
        &daemon,
        &own.machine,
        "3f86c1d0-0000-4000-8000-000000000000",
    );
    daemon.tell(&["start", "acme"]).expect(0);
    let again = record(&daemon);
    assert!(again.boot == own.boot && again.generation == 2, "{again:?}");
    daemon.tell(&["stop", "acme"]).expect(0);

    // Another host has it.
    left_by(&daemon, "bbbbbbbb0123456789abcdef01234567", &own.boot);
    let said = daemon.tell(&["start", "acme"]);
    assert_eq!(said.code, 12, "{said:?}");
    let said = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let other = format!("host elsewhere (machine bbbbbbbb) as {app}/acme since 20");
    for word in [
        &*other,
        "stop it there",
        "tenantd start acme --app",
        "--takeover",
    ] {
        assert!(said.contains(word), "{word} is not in {said:?}");
    }
    let said = run(&daemon, &["acme"]);
    assert_eq!(said.code, 12, "{said:?}");
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
    assert!(record(&daemon).host == "elsewhere" && record(&daemon).live);

    let running = Running::start(&daemon, &["acme", "--takeover"]);
    let pid = daemon.until_state("acme", StateWord::Up).pid.unwrap();
    assert!(
        daemon.output().contains("took over the datastore"),
        "{}",
        daemon.output()
    );
    let now = record(&daemon);
    assert!(
        now.live && now.machine == own.machine && now.generation == 3,
        "{now:?}"
    );

    // The other one takes it back: the program is not started again here, and the record stays.
    left_by(&daemon, "bbbbbbbb0123456789abcdef01234567", &own.boot);
    signal(pid, Signal::SIGKILL);
    let (code, said) = running.ends();
    assert_eq!(code, 12, "{said}");
    assert!(record(&daemon).host == "elsewhere" && record(&daemon).live);

    // A permission does not last longer than a start.
    daemon.tell(&["start", "acme", "--takeover"]).expect(0);
    daemon.tell(&["start", "acme", "--takeover"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    left_by(&daemon, "bbbbbbbb0123456789abcdef01234567", &own.boot);
    assert_eq!(daemon.tell(&["start", "acme"]).code, 12);

    is_refused_if_damaged(&daemon);
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn the_command_is_the_engine_of_a_tenant_that_names_another_one() {
    let daemon = start();
    daemon.tell(&["start", "other"]).expect(1);
    let running = Running::start(&daemon, &["other"]);
    daemon.until_state("other", StateWord::Up);
    let (code, said) = running.stop();
    assert_eq!(code, 0, "{said}");
    assert_eq!(daemon.tenant("other").state, StateWord::Down);

    // Pacemaker has its agent: a second engine would start the tenant beside it.
    let said = run(&daemon, &["moved"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("Pacemaker decides on which host it runs"),
        "{said:?}"
    );
    assert_eq!(daemon.tenant("moved").state, StateWord::Down);
    daemon.end();
}

#[test]
fn neither_a_command_nor_chown_changes_data_that_another_host_uses() {
    let daemon = start();
    let command = |name: &str| {
        let path = format!("/srv/data/{name}");
        daemon.tell(&["exec", "--offline", "acme", "--", "touch", &path])
    };
    let made = |name: &str| {
        let path = format!("/var/lib/tenantd/{}/acme/{name}", daemon.app);
        fs::metadata(path).ok().map(|found| found.uid())
    };
    // A tenant of root gets nothing from chown.
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let config = format!("{SRV}/nobody.toml");
    fs::write(&config, manifest.replace("\"root\"", "\"nobody\"")).unwrap();
    let chown = || tenantd(&["chown", "--config", &config, "acme"]);

    command("one").expect(0);
    let own = record(&daemon);
    assert!(!own.live, "{own:?}");
    left_by(&daemon, "bbbbbbbb0123456789abcdef01234567", &own.boot);
    let said = command("two");
    assert_eq!(said.code, 125, "{said:?}");
    assert!(said.err.contains("host elsewhere"), "{said:?}");
    assert_eq!(made("two"), None);
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
    let said = chown();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("host elsewhere"), "{said:?}");
    assert_eq!(made("one"), Some(0));
    assert!(record(&daemon).host == "elsewhere" && record(&daemon).live);

    daemon.tell(&["start", "acme", "--takeover"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    command("two").expect(0);
    chown().expect(0);
    assert_eq!((made("one"), made("two")), (Some(65534), Some(65534)));
    daemon.end();
}
