//! The commands before the program: `[app.init]`, which initializes a new datastore once, and
//! `[app.before]`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tenantd_api::wire::{Phase, StateWord};

use crate::support::daemon::{Daemon, PROGRAM, ends, pidfd, signal, tenantd, until};
use crate::support::place::{self, INSTALLED, folder, install, script};

/// Where the program expects its data.
const DATA: &str = "/srv/data";

/// A command that expects an empty datastore and leaves half of something in it, until it is told to continue.
const INIT: &str = "\
    [ -z \"$(ls -A /srv/data)\" ] || { echo there is something >&2; exit 9; }\n\
    echo $$ > /srv/data/pid; mkdir -p /srv/data/half/done; echo x > /srv/data/half/done/x\n\
    while [ ! -e /srv/go ]; do sleep 0.05; done\n\
    rm -r /srv/data/half\n\
    [ ! -e /srv/bad ] || { echo working; echo no licence >&2; exit 3; }\n\
    echo made for $WHO > /srv/data/base";

const PROGRAM_TEXT: &str = "cat /srv/data/base; exec sleep 1000000";

fn manifest(datastore: &str, phases: &str) -> String {
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\nenvironment = {{ WHO = \"{{tenant}}\" }}\n\
         datastore.{datastore}\nrestart = {{ delay = \"1ms\", delay_max = \"1ms\" }}\n{phases}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nbolt = {{ ip = \"10.77.0.12\" }}\n"
    )
}

const PLAIN: &str = "path = \"/srv/data\"";
const TREE: &str = "folders = [\"/srv/data\"]";
const WITH_INIT: &str = "init = { command = [\"/srv/init\"] }";

/// A test host with these scripts.
fn host(init: &str) {
    place::host();
    folder(DATA);
    script("app", PROGRAM_TEXT);
    script("init", init);
}

/// The folder on the host that a tenant sees as [`DATA`].
fn data(daemon: &Daemon, tenant: &str, datastore: &str) -> PathBuf {
    let source = Path::new("/var/lib/tenantd").join(&daemon.app).join(tenant);
    match datastore == TREE {
        true => source.join("srv/data"),
        false => source,
    }
}

fn logs(daemon: &Daemon, tenant: &str) -> String {
    daemon.tell(&["logs", tenant]).expect(0)
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// Waits until the command of acme runs, and returns its process.
fn init_pid(data: &Path) -> u32 {
    until("the command runs", || {
        fs::read_to_string(data.join("pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    })
}

fn once(datastore: &str) {
    host(INIT);
    fs::write("/srv/go", "").unwrap();
    script("before", "echo $WHO >> /srv/data/starts");
    let phases = format!("{WITH_INIT}\nbefore = {{ command = [\"/srv/before\"] }}");
    let mut daemon = Daemon::start_settled(&manifest(datastore, &phases));
    daemon.kill_tenant("acme");
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
    // A mark that is not written when the supervisor is killed is lost with it.
    until("its log is written", || {
        let text = logs(&daemon, "acme");
        (count(&text, "made for acme") == 4 && count(&text, "program started") == 4).then_some(())
    });
    daemon.kill();
    daemon.again();
    daemon.settles();
    daemon.tell(&["restart", "acme"]).expect(0);
    for (tenant, starts) in [("acme", 5), ("bolt", 1)] {
        let made = format!("stdout  made for {tenant}");
        // The supervisor that was killed may have written a line that the next one wrote again.
        let text = until("its output is in the log", || {
            Some(logs(&daemon, tenant)).filter(|text| count(text, &made) >= starts)
        });
        assert_eq!(count(&text, "init command started"), 1, "{text}");
        assert_eq!(count(&text, "init command finished in "), 1, "{text}");
        assert_eq!(count(&text, "program started"), starts, "{text}");
        let data = data(&daemon, tenant, datastore);
        let before = fs::read_to_string(data.join("starts")).unwrap();
        assert_eq!(before, format!("{tenant}\n").repeat(starts));
    }
}

#[test]
fn a_new_datastore_is_initialized_once() {
    once(PLAIN);
}

#[test]
fn a_new_datastore_with_folders_is_initialized_once() {
    once(TREE);
}

fn fails(datastore: &str) {
    host(INIT);
    fs::write("/srv/go", "").unwrap();
    fs::write("/srv/bad", "").unwrap();
    let daemon = Daemon::start(&manifest(datastore, WITH_INIT));
    let why = "cannot initialize the datastore with /srv/init: exited with status 3: no licence";
    for _ in 0..2 {
        let acme = daemon.until_state("acme", StateWord::Failed);
        assert_eq!(acme.why.as_deref(), Some(why));
        assert!(!data(&daemon, "acme", datastore).join("pid").exists());
        let said = daemon.tell(&["start", "acme"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains(why), "{said:?}");
    }
    let text = logs(&daemon, "acme");
    assert_eq!(count(&text, "init command started"), 3, "{text}");
    assert!(
        text.contains("stdout  working") && text.contains("stderr  no licence"),
        "{text}"
    );
    assert!(!text.contains("program started"), "{text}");

    // A changed manifest tries again, and so does a start.
    fs::remove_file("/srv/bad").unwrap();
    let changed = manifest(
        datastore,
        "init = { command = [\"/srv/init\"], within = \"1m\" }",
    );
    fs::write(&daemon.manifest, changed.replace("APP", &daemon.app)).unwrap();
    daemon.tell(&["reload"]).expect(0);
    daemon.settles();
    assert!(data(&daemon, "acme", datastore).join("base").exists());
}

#[test]
fn a_failed_init_command_leaves_nothing_and_fails_the_tenant() {
    fails(PLAIN);
}

#[test]
fn a_failed_init_command_leaves_nothing_in_folders() {
    fails(TREE);
}

/// The supervisor is killed in the middle, and the command too, as at the end of the host.
fn interrupted(datastore: &str) {
    host(INIT);
    let mut daemon = Daemon::start(&manifest(datastore, WITH_INIT));
    let pids = ["acme", "bolt"].map(|tenant| init_pid(&data(&daemon, tenant, datastore)));
    let acme = daemon.until_tenant("acme", |acme| acme.phase.is_some());
    assert_eq!(
        (acme.state, acme.phase),
        (StateWord::Launching, Some(Phase::Init))
    );
    assert_eq!((acme.pid, acme.ready), (None, Some(false)));
    let said = daemon.tell(&["status"]);
    assert!(said.out.contains("initializing"), "{said:?}");
    daemon.kill();
    for pid in pids {
        let fd = pidfd(pid);
        signal(pid, Signal::SIGKILL);
        assert!(ends(&fd, crate::support::daemon::LIMIT));
    }
    fs::write("/srv/go", "").unwrap();
    daemon.again();
    daemon.settles();
    assert!(data(&daemon, "acme", datastore).join("base").exists());
    assert!(!data(&daemon, "acme", datastore).join("half").exists());
}

#[test]
fn an_interrupted_init_command_begins_again_from_nothing() {
    interrupted(PLAIN);
}

#[test]
fn an_interrupted_init_command_begins_again_from_nothing_in_folders() {
    interrupted(TREE);
}

#[test]
fn the_next_supervisor_does_not_take_the_command_for_the_program() {
    host(INIT);
    let mut daemon = Daemon::start(&manifest(PLAIN, WITH_INIT));
    let pid = init_pid(&data(&daemon, "acme", PLAIN));
    daemon.kill();
    daemon.again();
    let acme = daemon.until_tenant("acme", |acme| acme.phase == Some(Phase::Init));
    assert_eq!((acme.pid, acme.ready), (None, Some(false)));
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    // Where the kernel does not tell how it ended (before Linux 6.15), it runs again.
    fs::write("/srv/go", "").unwrap();
    daemon.settles();
    assert!(data(&daemon, "acme", PLAIN).join("base").exists());
}

#[test]
fn an_upgrade_does_not_interrupt_the_command() {
    host(INIT);
    install(PROGRAM);
    let daemon = Daemon::start_with(INSTALLED, &manifest(PLAIN, WITH_INIT));
    let pid = init_pid(&data(&daemon, "acme", PLAIN));
    daemon.until_tenant("acme", |acme| acme.phase == Some(Phase::Init));
    daemon.until_tenant("bolt", |bolt| bolt.phase == Some(Phase::Init));
    daemon.tell(&["upgrade"]).expect(0);
    daemon.until_tenant("acme", |acme| acme.phase == Some(Phase::Init));
    fs::write("/srv/go", "").unwrap();
    daemon.settles();
    assert_eq!(init_pid(&data(&daemon, "acme", PLAIN)), pid);
    let text = logs(&daemon, "acme");
    assert_eq!(count(&text, "init command started"), 1, "{text}");
}

#[test]
fn a_stop_ends_the_command_and_the_next_start_begins_from_nothing() {
    host(INIT);
    let daemon = Daemon::start(&manifest(PLAIN, WITH_INIT));
    let data = data(&daemon, "acme", PLAIN);
    let pid = init_pid(&data);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    fs::write("/srv/go", "").unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    assert!(data.join("base").exists());
}

#[test]
fn a_command_that_takes_too_long_has_failed() {
    host("trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let init = "init = { command = [\"/srv/init\"], within = \"200ms\" }";
    let daemon = Daemon::start(&manifest(PLAIN, init));
    let acme = daemon.until_state("acme", StateWord::Failed);
    let why = "cannot initialize the datastore with /srv/init: not finished within 0.2 s";
    assert_eq!(acme.why.as_deref(), Some(why));
}

#[test]
fn a_datastore_with_data_is_neither_initialized_nor_cleared() {
    host(INIT);
    let daemon = Daemon::start_settled(&manifest(PLAIN, ""));
    let data = data(&daemon, "acme", PLAIN);
    fs::write(data.join("base"), "from before").unwrap();
    fs::write("/srv/go", "").unwrap();
    let with_init = manifest(PLAIN, WITH_INIT).replace("APP", &daemon.app);
    fs::write(&daemon.manifest, with_init).unwrap();
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(said.contains("init"), "{said}");
    let planned = tenantd(&["plan", "--config", daemon.manifest.to_str().unwrap()]).err;
    let kept = "datastores with data, for which `init` does not run: acme\n";
    assert_eq!(planned, kept);
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(
        fs::read_to_string(data.join("base")).unwrap(),
        "from before"
    );
    assert!(!logs(&daemon, "acme").contains("init command"));
    assert!(
        daemon.output().contains("its init command is not run"),
        "{}",
        daemon.output()
    );
    // It stays so, even when the data is gone.
    daemon.tell(&["stop", "acme"]).expect(0);
    fs::remove_file(data.join("base")).unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    assert!(!logs(&daemon, "acme").contains("init command"));
}

#[test]
fn a_failed_command_before_the_program_is_a_failed_start() {
    host("");
    script(
        "before",
        "echo checking; echo line 3: bad colour >&2; exit 2",
    );
    let text = manifest(PLAIN, "before = { command = [\"/srv/before\"] }");
    let text = text.replace("restart = {", "restart = { strikes = 2,");
    let daemon = Daemon::start(&text);
    let acme = daemon.until_state("acme", StateWord::Failed);
    let why = "cannot prepare the start with /srv/before: exited with status 2: line 3: bad colour";
    assert_eq!(acme.why.as_deref(), Some(why));
    assert!(!logs(&daemon, "acme").contains("program started"));
    script("before", "");
    daemon.tell(&["start", "acme"]).expect(0);
}

#[test]
fn the_command_runs_as_its_user_in_the_tenant() {
    host(
        "id -u > /srv/data/uid; ls -d /proc/self/ns/net > /dev/null; \
          readlink /proc/self/ns/net > /srv/data/net",
    );
    let text = manifest(
        PLAIN,
        "init = { command = [\"/srv/init\"], user = \"root\" }",
    );
    let text = text.replace(
        "user = \"root\"\ncommand",
        "user = 1000\ngroup = 1000\ncommand",
    );
    script("app", "id -u; exec sleep 1000000");
    let daemon = Daemon::start_settled(&text);
    let acme = daemon.tenant("acme");
    let data = data(&daemon, "acme", PLAIN);
    assert_eq!(fs::read_to_string(data.join("uid")).unwrap().trim(), "0");
    let net = fs::read_link(format!("/proc/{}/ns/net", acme.pid.unwrap())).unwrap();
    let init = fs::read_to_string(data.join("net")).unwrap();
    assert_eq!(init.trim(), net.to_str().unwrap());
    until("its output is in the log", || {
        logs(&daemon, "acme").contains("stdout  1000").then_some(())
    });
}
