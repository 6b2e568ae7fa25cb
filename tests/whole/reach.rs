//! What a command of `exec` can do to other processes of the tenant's user, and they to it.

use std::collections::BTreeSet;

use crate::support::daemon::Daemon;
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
