//! Resource limits that change while tenants run.

use std::fs;

use nix::sys::signal::Signal;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, example, folder};

fn start(limits: &str) -> Daemon {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\n\
         datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\nstop.grace = \"5s\"\n\
         [app.limits]\n{limits}\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n\
         globex = {{ ip = \"10.77.0.12\", limits = {{ open_files = 900 }} }}\n"
    ))
}

/// Replaces part of a manifest's text.
#[track_caller]
fn edit(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&daemon.manifest, text.replacen(old, new, 1)).unwrap();
}

fn pids(daemon: &Daemon) -> Vec<Option<u32>> {
    daemon.status().tenants.iter().map(|t| t.pid).collect()
}

/// The soft and the hard limit of a process as the kernel shows them.
fn limit(pid: u32, label: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(label));
    let words: Vec<_> = line.unwrap().split_whitespace().take(2).collect();
    words.join(" ")
}

fn open_files(daemon: &Daemon, tenant: &str) -> String {
    limit(daemon.tenant(tenant).pid.unwrap(), "Max open files")
}

#[test]
fn a_reload_changes_the_limits_of_running_tenants() {
    let daemon = start("open_files = \"500:1000\"");
    let before = pids(&daemon);
    assert_eq!(open_files(&daemon, "acme"), "500 1000");
    assert_eq!(open_files(&daemon, "globex"), "900 900");
    let inside = |tenant| daemon.tell(&["exec", tenant, "sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    assert_eq!(inside("acme").expect(0), "500\n1000\n");
    assert_eq!(inside("globex").expect(0), "900\n900\n");
    edit(&daemon, "500:1000", "400:800");
    assert_eq!(
        daemon
            .tell(&["diff"])
            .expect(3)
            .split_inclusive('\n')
            .take(5)
            .collect::<String>(),
        "live acme\n  open files        500:1000 → 400:800\n  touches           running \
         processes, without a restart\n\n1 to change live, 1 unchanged\n"
    );
    assert_eq!(open_files(&daemon, "acme"), "500 1000");
    assert_eq!(
        daemon.tell(&["reload"]).expect(0),
        "acme: applied live: open files\n"
    );
    assert_eq!(open_files(&daemon, "acme"), "400 800");
    // By a signal too.
    edit(&daemon, "open_files = 900", "open_files = 600");
    daemon.signal(Signal::SIGHUP);
    until("globex is limited", || {
        (open_files(&daemon, "globex") == "600 600").then_some(())
    });
    assert_eq!(pids(&daemon), before);
    assert_eq!(daemon.tell(&["reload"]).expect(0), "no changes\n");
    // The next launch starts with them.
    daemon.kill_tenant("acme");
    assert_eq!(open_files(&daemon, "acme"), "400 800");
    daemon.end();
}

#[test]
fn a_refused_limit_is_shown_and_retried() {
    // So that no limit can be raised above the one that a process has.
    remove_capability_from_bounding_set(CapabilitySet::SYS_RESOURCE).unwrap();
    let daemon = start("open_files = 500");
    let before = pids(&daemon);
    edit(&daemon, "open_files = 500", "open_files = 800");
    let said = daemon.tell(&["reload"]).expect(1);
    let why = "cannot set the limit on open files of process";
    let line = format!("acme: not applied live: open files: {why}");
    assert!(said.starts_with(&line), "{said}");
    let shown = |what: &str| {
        let said = daemon.tell(&["status", "acme"]).expect(1);
        assert!(
            said.contains("  NOT APPLIED cannot set the limit on open files"),
            "{what}: {said}"
        );
        let tenant = daemon.tenant("acme");
        let failure = tenant.unapplied.unwrap();
        assert_eq!(
            (failure.stage.word(), failure.errno),
            ("limits", libc::EPERM),
            "{what}"
        );
        assert!(!tenant.applying);
    };
    shown("after the reload");
    assert!(
        daemon.output().contains("acme: live change not applied"),
        "{}",
        daemon.output()
    );
    assert_eq!(daemon.tenant("globex").unapplied, None);
    // It is retried although the manifest is unchanged.
    let retry = "acme: not applied live: what was refused before: ";
    let said = daemon.tell(&["reload"]).expect(1);
    assert!(said.starts_with(retry) && said.contains(why), "{said}");
    shown("after another reload");
    let said = daemon.tell(&["diff"]).expect(3);
    assert!(said.starts_with("retry acme\n"), "{said}");
    // Once the manifest has the current limits, nothing is pending.
    edit(&daemon, "open_files = 800", "open_files = 500");
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("acme").unapplied, None);
    assert_eq!(daemon.tell(&["reload"]).expect(0), "no changes\n");
    assert_eq!(pids(&daemon), before);
    // A restart sets limits that could not be set on the running program.
    edit(&daemon, "open_files = 500", "open_files = 800");
    daemon.tell(&["reload"]).expect(1);
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").unapplied, None);
    assert_eq!(open_files(&daemon, "acme"), "800 800");
    daemon.end();
}

#[test]
fn a_limit_that_no_launch_could_set_is_refused_early() {
    let daemon = start("open_files = 500");
    let before = pids(&daemon);
    edit(
        &daemon,
        "open_files = 500",
        "open_files = \"500:unlimited\"",
    );
    let said = daemon.tell(&["reload"]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.err
            .contains("tenantd cannot set a hard limit of unlimited on this host"),
        "{said:?}"
    );
    let path = daemon.manifest.display().to_string();
    let said = crate::support::daemon::tenantd(&["check", "--config", &path]);
    assert_eq!(said.code, 78, "{said:?}");
    assert_eq!(open_files(&daemon, "acme"), "500 500");
    assert_eq!(pids(&daemon), before);
    daemon.end();
}

#[test]
fn limits_changed_without_a_supervisor_are_set_by_the_next_one() {
    // The hard limits stay, so that no privilege is needed to reset the soft ones.
    let hard = |resource| match getrlimit(resource).maximum {
        Some(most) => most.to_string(),
        None => "unlimited".to_owned(),
    };
    let files = format!("open_files = \"500:{}\"\n", hard(Resource::Nofile));
    let core = format!("core = \"0:{}\"", hard(Resource::Core));
    let mut daemon = start(&format!("{files}{core}"));
    let before = pids(&daemon);
    let pid = daemon.tenant("acme").pid.unwrap();
    assert!(limit(pid, "Max core file size").starts_with("0 "));
    daemon.kill();
    edit(&daemon, &files, "");
    edit(&daemon, &core, "locked_memory = \"4 KiB\"");
    daemon.again();
    daemon.settles();
    let acme = daemon.until_tenant("acme", |tenant| !tenant.applying);
    assert_eq!(acme.unapplied, None);
    assert_eq!(pids(&daemon), before);
    assert_eq!(limit(pid, "Max locked memory"), "4096 4096");
    // Limits that are no longer planned are reset to those that the supervisor was started with, and that
    // of core files to none.
    let label = "Max open files";
    assert_eq!(limit(pid, label), limit(std::process::id(), label));
    assert_eq!(limit(pid, "Max core file size"), "1 1");
    daemon.end();
}

/// The host may lack the controller of one.
#[test]
fn a_limit_that_is_refused_keeps_no_other_from_being_set() {
    let daemon = start("open_files = 1000");
    let limits = ["memory.max=1GiB", "open_files=600"];
    let _perhaps_refused = daemon.tell(&[&["set", "acme", "--permanent"], &limits[..]].concat());
    assert_eq!(open_files(&daemon, "acme"), "600 600");
    let _perhaps_refused = daemon.tell(&["set", "acme", "--permanent", "memory.max=2GiB"]);
    assert_eq!(open_files(&daemon, "acme"), "600 600");
    daemon.end();
}

/// A limit beside whatever else changes live: the firewall, names, the rate and the addresses.
#[test]
fn a_limit_is_applied_also_if_something_else_changes_with_it() {
    let daemon = start("open_files = 1000");
    let before = pids(&daemon);
    let tenant = |text: &str| format!("acme = {{ ip = \"10.77.0.11\"{text} }}");
    let mut now = tenant("");
    for (number, other) in [
        ", outbound = \"routed\", egress = [\"allow 192.0.2.1:80/tcp\"]",
        ", resolv = { nameservers = [\"192.0.2.9\"] }, outbound = \"routed\"",
        ", rate = \"50 Mbit/s\"",
    ]
    .iter()
    .enumerate()
    {
        let next = tenant(&format!(
            "{other}, limits = {{ open_files = {} }}",
            900 - number
        ));
        edit(&daemon, &now, &next);
        now = next;
        let said = daemon.tell(&["reload"]).expect(0);
        assert!(said.contains("acme: applied live: "), "{said}");
        let limit = format!("{0} {0}", 900 - number);
        assert_eq!(open_files(&daemon, "acme"), limit, "{other}");
    }
    let next = now.replacen("\"10.77.0.11\"", "[\"10.77.0.11\", \"10.77.0.20\"]", 1);
    edit(&daemon, &now, &next.replace("898", "700"));
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(open_files(&daemon, "acme"), "700 700");
    assert_eq!(pids(&daemon), before);
    daemon.end();
}
