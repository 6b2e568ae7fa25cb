//! What a command of `exec` can do to other processes of the tenant's user, and they to it.

use std::collections::BTreeSet;

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place;
use crate::support::puppet;
use crate::support::reach::{self, SEEN, SIGNALS, TRACING, of};
use crate::visitors::visit;

/// A host for [`app`].
fn host() {
    place::host();
    puppet::make();
}

/// Without these, the domain is the only guard.
const DOMAIN_ALONE: &str = "hidepid = false, system_calls = \"none\"";

/// An application of the user daemon with these tenants, in the network 10.`number`.0.0/24.
fn app(number: u8, tenants: &[&str], wall: &str) -> Daemon {
    let line =
        |(tenant, host): (&&str, u8)| format!("{tenant} = {{ ip = \"10.{number}.0.{host}\" }}\n");
    let tenants: String = tenants.iter().zip(11..).map(line).collect();
    let manifest = format!(
        "[app]\nname = \"APP\"\ncommand = {}\nuser = \"daemon\"\nready.tcp = 80\nwall = {{ {wall} }}\n\
         environment.FIRST = \"import ctypes; ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1))\"\n\
         [network]\nsubnet = \"10.{number}.0.0/24\"\n[tenants]\n{tenants}",
        puppet::COMMAND
    );
    Daemon::start_settled(&manifest)
}

/// What a command in a tenant can do to a process.
fn reached(daemon: &Daemon, options: &[&str], tenant: &str, pid: u32) -> BTreeSet<String> {
    let pid = pid.to_string();
    let command = [tenant, "/usr/bin/python3", "-I", "-c", reach::SCRIPT, &pid];
    let all = [&["exec"], options, &command].concat();
    reach::printed(&daemon.tell(&all).expect(0))
}

fn pid(daemon: &Daemon, tenant: &str) -> u32 {
    daemon.tenant(tenant).pid.unwrap()
}

#[test]
fn a_command_reaches_no_tenant_of_another_application() {
    host();
    let other = app(78, &["initech"], DOMAIN_ALONE);
    let alone = app(77, &["acme"], DOMAIN_ALONE);
    // Nor its own program: a domain cannot be entered, only inherited.
    for pid in [pid(&other, "initech"), pid(&alone, "acme")] {
        assert_eq!(reached(&alone, &[], "acme", pid), of(&[&SEEN]));
    }
    alone.end();
    other.end();
}

/// What a command reaches of its own program and of a neighbour of the same user.
fn reached_of_both(daemon: &Daemon, options: &[&str]) -> [BTreeSet<String>; 2] {
    ["acme", "globex"].map(|tenant| reached(daemon, options, "acme", pid(daemon, tenant)))
}

#[test]
fn each_command_is_confined_as_its_kind_needs() {
    host();
    let daemon = app(77, &["acme", "globex"], DOMAIN_ALONE);
    assert_eq!(reached_of_both(&daemon, &[]), [of(&[&SEEN]), of(&[&SEEN])]);
    let signals = of(&[&SIGNALS, &SEEN]);
    let of_manifest = reached_of_both(&daemon, &["--may-signal"]);
    assert_eq!(of_manifest, [signals.clone(), signals]);
    // Root could do more, if it could trace.
    let of_root = reached_of_both(&daemon, &["--user", "root"]);
    assert_eq!(of_root, [of(&[&SEEN]), of(&[&SEEN])]);
    daemon.end();
    let open = app(
        77,
        &["acme", "globex"],
        &format!("{DOMAIN_ALONE}, landlock = false"),
    );
    let all = of(&[&SIGNALS, &TRACING, &SEEN]);
    assert_eq!(reached_of_both(&open, &[]), [all.clone(), all]);
    open.end();
}

#[test]
fn with_a_proc_of_its_own_a_command_sees_no_process_but_its_own() {
    host();
    let daemon = app(77, &["acme", "globex"], "system_calls = \"none\"");
    assert_eq!(reached_of_both(&daemon, &[]), [of(&[]), of(&[])]);
    let signals = of(&[&SIGNALS]);
    let of_manifest = reached_of_both(&daemon, &["--may-signal"]);
    assert_eq!(of_manifest, [signals.clone(), signals]);
    daemon.end();
}

/// What the program of acme can do to a process.
fn reached_by_program(pid: u32) -> BTreeSet<String> {
    let script = format!(
        "out = subprocess.run([sys.executable, '-I', '-c', {:?}, '{pid}'], stdout=subprocess.PIPE).stdout.decode()",
        reach::SCRIPT
    );
    reach::printed(&puppet::tell("10.77.0.11", &script))
}

#[test]
fn a_program_does_not_reach_the_commands_in_its_tenant() {
    host();
    for (wall, expected) in [
        (DOMAIN_ALONE.to_owned(), of(&[&SEEN])),
        (
            format!("{DOMAIN_ALONE}, landlock = false"),
            of(&[&SIGNALS, &TRACING, &SEEN]),
        ),
    ] {
        let daemon = app(77, &["acme"], &wall);
        let (mut command, inside) = visit(&daemon, "acme", "exec cat");
        assert_eq!(reached_by_program(inside), expected, "{wall}");
        drop(command.stdin.take());
        command.wait().unwrap();
        daemon.end();
    }
}

/// What `check` finds about the wall.
fn finding(daemon: &Daemon) -> (String, String) {
    let config = daemon.manifest.to_str().unwrap();
    let said = tenantd(&["check", "--json", "--config", config]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let host = json["host"].as_array().unwrap();
    let found = host.iter().find(|it| it["subject"] == "wall").unwrap();
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("grade"), text("found"))
}

#[test]
fn check_names_what_else_has_the_user_of_a_tenant() {
    host();
    let acme = app(77, &["acme"], "");
    assert_eq!(finding(&acme).0, "good", "{:?}", finding(&acme));
    let open = app(78, &["initech"], "landlock = false");
    let (grade, found) = finding(&acme);
    assert_eq!(grade, "weak");
    let app_of = |daemon: &Daemon| daemon.app.clone();
    for named in [
        "have the user daemon too, and reach the processes and data of tenant acme",
        &format!("the application {} (wall.landlock = false)", app_of(&open)),
        &format!("the running program of {}/initech", app_of(&open)),
    ] {
        assert!(found.contains(named), "{named} is not in {found}");
    }
    // The manifest is better now, and what runs is not.
    let text = std::fs::read_to_string(&open.manifest).unwrap();
    std::fs::write(&open.manifest, text.replace("landlock = false", "")).unwrap();
    let (_, found) = finding(&acme);
    assert!(!found.contains("wall.landlock = false"), "{found}");
    assert!(found.contains("the running program of"), "{found}");
    open.tell(&["reload"]).expect(0);
    open.settles();
    assert_eq!(finding(&acme).0, "good", "{:?}", finding(&acme));
    open.end();
    acme.end();
}

#[test]
fn check_names_set_id_programs() {
    host();
    let daemon = app(77, &["acme", "globex"], "set_id_programs = true");
    let (grade, found) = finding(&daemon);
    assert_eq!(grade, "weak");
    assert!(
        found.starts_with("tenants acme and globex may execute set-id programs"),
        "{found}"
    );
    daemon.end();
}

/// What `check` finds about a subject, of an application with this in `[app]`.
fn found(subject: &str, app: &str) -> Option<String> {
    let text = format!(
        "[app]\nname = \"wiki\"\ncommand = [\"/bin/sleep\", \"9\"]\nuser = \"daemon\"\n{app}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    );
    let manifest = format!("{}/wiki.toml", place::SRV);
    std::fs::write(&manifest, text).unwrap();
    let said = tenantd(&["check", "--json", "--config", &manifest]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let host = json["host"].as_array().unwrap();
    let one = host.iter().find(|it| it["subject"] == subject);
    one.map(|it| it["found"].as_str().unwrap().to_owned())
}

#[test]
fn check_says_which_private_folders_are_a_tenants_anyway() {
    host();
    let found = |private: &str| found("private", &format!("private = {private}"));
    assert_eq!(found("true"), None);
    assert_eq!(found("[{ path = \"/tmp\", mode = \"0700\" }]"), None);
    let said = "/run and /tmp are a tenant's own without being listed in `private`";
    assert_eq!(found("[\"/tmp\", \"/run\"]"), Some(said.to_owned()));
}

#[test]
fn check_names_sockets_of_the_host_that_tenants_reach() {
    host();
    let listen = |path: &str, mode: u32| {
        let folder = std::path::Path::new(path).parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
        listener
    };
    let _apart = [
        listen("/run/docker.sock", 0o777),
        listen("/var/lib/libvirt/socket", 0o777),
        listen("/srv/closed/socket", 0o700),
    ];
    assert_eq!(found("sockets", ""), None);
    let _open = listen("/srv/mysql/mysql.sock", 0o777);
    let said = found("sockets", "").unwrap();
    let begin = "tenants can connect to services of the host at /srv/mysql/mysql.sock: if";
    assert!(said.starts_with(begin), "{said}");
    assert_eq!(found("sockets", "private = [\"/srv/mysql\"]"), None);
    assert_eq!(found("sockets", "shared = [\"/srv/mysql\"]"), None);
    let said = found("sockets", "host = \"writable\"").unwrap();
    assert!(
        said.contains("/run/docker.sock, /srv/mysql/mysql.sock"),
        "{said}"
    );
}
