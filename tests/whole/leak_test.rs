//! `leak-test` on manifests with all guards, with some and with none: the whole list of each is a golden file.
//! `table` shows of each way where it is open and where it is closed, and `on_host` that those which no manifest
//! opens are open to the same code outside of tenants. `alone` has one guard at a time.

mod alone;
mod on_host;
mod table;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::daemon::{Daemon, PROGRAM, until};
use crate::support::place;

/// No guard that a manifest can leave out.
const NO_GUARDS: &str = "host = \"writable\"\nwall = { landlock = false, hidepid = false, \
                         system_calls = \"none\", set_id_programs = true, \
                         capabilities = [\"net_raw\", \"sys_nice\", \"syslog\"] }\n\
                         ready.notify = true";

/// A program that says that it is ready, if there is a notify socket.
const READY: &str = "import os, socket, time\nto = os.environ.get('NOTIFY_SOCKET')\nif to:\n  \
                     socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', to)\n\
                     time.sleep(100000)";

/// All guards are on by default.
const DEFAULT: &str = "ready.notify = true";

const STRICT: &str = "wall.system_calls = \"strict\"\nready.notify = true";

fn manifest(user: &str, more: &str, mode: &str, users: [&str; 2]) -> String {
    let [first, second] = users;
    format!(
        "[app]\nname = \"APP\"\ncommand = [\"/usr/bin/python3\", \"-c\", \"\"\"{READY}\"\"\"]\nuser = \"{user}\"\n{more}\n\
         datastore.path = \"/var/lib/store\"\n[network]\nmode = \"{mode}\"\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\"{first} }}\nglobex = {{ ip = \"10.77.0.12\"{second} }}\n"
    )
}

/// Starts two tenants and tests them. Compares the text.
#[track_caller]
fn tested(golden: &str, manifest: &str) {
    place::host();
    tested_here(golden, manifest);
}

#[track_caller]
fn tested_here(golden: &str, manifest: &str) {
    place::folder("/var/lib/store");
    let daemon = Daemon::start_settled(manifest);
    let text = daemon.tell(&["leak-test"]);
    let left = fs::read_dir(format!("/var/lib/tenantd/{}/globex", daemon.app)).unwrap();
    assert_eq!(left.count(), 0, "it left something in the datastore");
    for folder in ["/var/lib", "/run"] {
        let entries = fs::read_dir(folder).unwrap();
        let mut names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        assert!(names.all(|name| !name.contains("leak-test")), "{folder}");
    }
    let said = text.out.replace(&daemon.app, "APP");
    let mut lines = said.lines();
    assert!(lines.all(|line| line.chars().count() <= 80), "{said}");
    compare(golden, &said);
    assert_eq!(text.code, 0, "{}", text.err);
    daemon.end();
}

fn golden_file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/leak-test");
    folder.join(format!("{name}.txt"))
}

#[track_caller]
fn compare(golden: &str, said: &str) {
    let path = golden_file(golden);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(expected, said, "{}", path.display());
}

/// As a mode: also without the firewall.
const NO_FIREWALL: &str = "routed\"\nfirewall = \"off";

const ONE_USER: [&str; 2] = ["", ""];

#[test]
fn one_user_with_all_guards() {
    let manifest = manifest("nobody", DEFAULT, "routed", ONE_USER);
    tested("one-user", &manifest);
}

#[test]
fn one_user_with_the_strict_filter_on_a_bridge() {
    let manifest = manifest("nobody", STRICT, "bridge", ONE_USER);
    place::host();
    forward();
    tested_here("strict", &manifest);
}

#[test]
fn a_user_for_each_tenant_with_all_guards() {
    let manifest = manifest("per-tenant", DEFAULT, "routed", ONE_USER);
    tested("own-users", &manifest);
}

#[test]
fn root_with_all_guards() {
    let manifest = manifest("root", DEFAULT, "routed", ONE_USER);
    tested("root", &manifest);
}

/// Lets the host forward between its links, as one does that has containers.
fn forward() {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
}

#[test]
fn one_user_with_no_guards() {
    let manifest = manifest("nobody", NO_GUARDS, NO_FIREWALL, ONE_USER);
    place::host();
    forward();
    tested_here("no-guards", &manifest);
}

#[test]
fn root_with_no_guards() {
    let manifest = manifest("root", NO_GUARDS, NO_FIREWALL, ONE_USER);
    tested("root-no-guards", &manifest);
}

/// The folders that the command has placed in the datastores and on the host.
fn placed(app: &str) -> Vec<String> {
    let stores = ["acme", "globex"].map(|it| format!("/var/lib/tenantd/{app}/{it}"));
    let folders = [&stores[0], &stores[1], "/var/lib", "/run"];
    let entries = folders.iter().flat_map(|it| fs::read_dir(it).unwrap());
    let names = entries.map(|it| it.unwrap().path().display().to_string());
    names.filter(|it| it.contains("leak-test")).collect()
}

/// Ctrl-C in the middle leaves nothing: neither files nor SysV objects.
#[test]
fn an_interrupted_test_leaves_nothing() {
    place::host();
    place::folder("/var/lib/store");
    let daemon = Daemon::start_settled(&manifest("nobody", DEFAULT, "routed", ONE_USER));
    let mut test = Command::new(PROGRAM);
    test.args(["--app", &daemon.app, "leak-test"]);
    // A terminal signals the whole group.
    let mut test = test.process_group(0).stdout(Stdio::null()).spawn().unwrap();
    let group = Pid::from_raw(i32::try_from(test.id()).unwrap());
    until("the objects are placed", || {
        (placed(&daemon.app).len() == 4).then_some(())
    });
    killpg(group, Signal::SIGINT).unwrap();
    assert!(!test.wait().unwrap().success());
    until("the objects are removed", || {
        placed(&daemon.app).is_empty().then_some(())
    });
    let key = (test.id() & 0x003f_ffff) << 8;
    until("the SysV objects are removed", || {
        let all = ["shm", "sem", "msg"].map(|it| fs::read_to_string(format!("/proc/sysvipc/{it}")));
        let all = all.map(Result::unwrap).concat();
        let mut keys = all
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let is_left = keys.any(|it| it.parse::<u32>().is_ok_and(|it| it & !0xff == key));
        (!is_left).then_some(())
    });
    daemon.end();
}

#[test]
fn the_json_has_each_way_and_the_named_neighbour() {
    place::host();
    place::folder("/var/lib/store");
    let daemon = Daemon::start_settled(&manifest("nobody", DEFAULT, "routed", ONE_USER));
    let said = daemon.tell(&["leak-test", "globex", "acme", "--json"]);
    let json: Value = serde_json::from_str(&said.expect(0)).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["tenant"], "globex");
    let groups = json["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[0]["neighbour"], "acme");
    let ways = groups
        .iter()
        .flat_map(|group| group["ways"].as_array().unwrap());
    let named = |name: &str| ways.clone().find(|way| way["way"] == name).unwrap();
    let signal = named("signal it (kill)");
    assert_eq!(signal["result"], "closed");
    assert_eq!(signal["by"], "Landlock domain");
    assert_eq!(signal["error"], "EPERM");
    let memory = named("open its SysV shared memory");
    assert_eq!(memory["result"], "open");
    assert_eq!(memory["remedies"][0], "a user per tenant");
    let unknown = daemon.tell(&["leak-test", "acme", "initech"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let itself = daemon.tell(&["leak-test", "acme", "acme"]);
    assert!(itself.err.contains("no neighbour of itself"), "{itself:?}");
    daemon.end();
}
