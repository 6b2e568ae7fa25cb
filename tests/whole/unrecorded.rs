//! Tenants that survived their supervisor and its state file: the next one adopts them only if the
//! kernel confirms all that it needs.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};

use nix::sys::signal::Signal;
use tenantd_api::wire::{StateWord, TenantStatus, Want};
use tenantd_core::plan::derive::{host_end, tenant_hash};

use crate::guestbook::{TENANTS, three};
use crate::support::daemon::{CommandOutput, Daemon, LIMIT, ends, pidfd, run, signal, until};
use crate::support::place;
use crate::support::residue::kill_and_wait;
use crate::support::state_file;
use crate::support::visit::{get, write_entry};

fn state_file_of(daemon: &Daemon) -> String {
    format!("/run/tenantd/{}/ledger", daemon.app)
}

/// A tenant without autostart that an operator started.
fn three_and_one_started() -> Daemon {
    let daemon = three();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let by_hand = manifest.replace("10.77.0.13\"", "10.77.0.13\", autostart = false");
    fs::write(&daemon.manifest, by_hand).unwrap();
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("initech").state, StateWord::Up);
    daemon
}

/// Checks that all of them are the same processes as before, serve, and belong to the next
/// supervisor.
fn check_adopted(daemon: &Daemon, before: &[TenantStatus]) {
    let after = daemon.settles();
    for (tenant, was) in after.tenants.iter().zip(before) {
        assert_eq!(tenant.pid, was.pid, "{}", daemon.output());
        assert_eq!(tenant.state, StateWord::Up);
        let later = tenant.since.duration_since(was.since).abs();
        assert!(later.as_secs() < 2, "{tenant:?} {was:?}");
    }
    for (name, ip) in TENANTS {
        assert_eq!(get(ip, "/entries").1, format!("{name}\tunsupervised\n"));
    }
    // Their exits are noticed, their output is read, and a stop ends them.
    daemon.kill_tenant("acme");
    let restarts = after.tenants[0].restarts;
    daemon.until_tenant("acme", |t| {
        t.restarts == restarts + 1 && t.ready == Some(true)
    });
    let log = daemon.tell(&["logs", "initech"]).expect(0);
    assert!(log.contains("POST / 303"), "{log}");
    daemon.tell(&["stop", "--all"]).expect(0);
}

fn check_logged(daemon: &Daemon, words: &str) {
    let said = daemon.output();
    assert!(said.contains(words), "{said}");
}

fn kill_and_damage(damage_file: impl FnOnce(&Daemon)) -> (Daemon, Vec<TenantStatus>) {
    let mut daemon = three_and_one_started();
    daemon.kill_tenant("globex");
    daemon.until_tenant("globex", |t| t.restarts == 1 && t.ready == Some(true));
    let before = daemon.status().tenants;
    daemon.kill();
    for (name, ip) in TENANTS {
        write_entry(ip, name, "unsupervised");
    }
    damage_file(&daemon);
    daemon.again();
    (daemon, before)
}

#[test]
fn tenants_are_adopted_without_a_state_file() {
    let (daemon, before) =
        kill_and_damage(|daemon| fs::remove_file(state_file_of(daemon)).unwrap());
    check_adopted(&daemon, &before);
    check_logged(&daemon, "acme: adopted without a record");
    check_logged(&daemon, "`tenantd restart acme`");
    daemon.end();
}

#[test]
fn tenants_are_adopted_with_an_unreadable_state_file() {
    let garbage = b"\xff\0none of our business\n".repeat(500);
    let (daemon, before) =
        kill_and_damage(|daemon| fs::write(state_file_of(daemon), garbage).unwrap());
    check_adopted(&daemon, &before);
    check_logged(&daemon, &state_file_of(&daemon));
    daemon.end();
}

#[test]
fn tenants_are_adopted_with_a_truncated_state_file() {
    let (daemon, before) = kill_and_damage(|daemon| {
        let bytes = fs::read(state_file_of(daemon)).unwrap();
        fs::write(state_file_of(daemon), &bytes[..40]).unwrap();
    });
    check_adopted(&daemon, &before);
    check_logged(&daemon, &state_file_of(&daemon));
    daemon.end();
}

#[test]
fn a_damaged_head_costs_none_of_the_records() {
    let (daemon, before) = kill_and_damage(|daemon| {
        let mut bytes = fs::read(state_file_of(daemon)).unwrap();
        bytes[20] ^= 1;
        fs::write(state_file_of(daemon), bytes).unwrap();
    });
    assert_eq!(daemon.tenant("globex").restarts, 1);
    check_adopted(&daemon, &before);
    check_logged(&daemon, &state_file_of(&daemon));
    daemon.end();
}

#[test]
fn a_damaged_record_loses_only_its_own_data() {
    let (daemon, before) = kill_and_damage(|daemon| state_file::damage(&daemon.app, "initech"));
    assert_eq!(daemon.tenant("globex").restarts, 1);
    check_adopted(&daemon, &before);
    check_logged(&daemon, "initech: adopted without a record");
    check_logged(&daemon, &state_file_of(&daemon));
    daemon.end();
}

/// One tenant, on a host without cgroups.
fn without_cgroups() -> Daemon {
    place::host();
    run(Command::new("umount").arg("/sys/fs/cgroup")).expect(0);
    place::folder("/srv/data");
    let program = place::example("idle");
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\ndatastore.path = \"/srv/data\"\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ))
}

#[test]
fn an_orphan_that_cannot_be_identified_is_kept() {
    let mut daemon = without_cgroups();
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    fs::remove_file(state_file_of(&daemon)).unwrap();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let other = manifest.replace("acme =", "beta =").replace("0.11", "0.12");
    fs::write(&daemon.manifest, other).unwrap();
    daemon.again();
    daemon.settles();
    check_logged(&daemon, "acme: cannot end");
    let route = run(Command::new("ip").args(["route", "get", "10.77.0.11"])).out;
    assert!(route.contains(" dev td"), "{route}");
    assert!(fs::metadata(format!("/proc/{acme}/exe")).is_ok());
    daemon.kill();
    kill_and_wait(&daemon.app, "acme", acme);
    until("its link is gone", || {
        let route = run(Command::new("ip").args(["route", "get", "10.77.0.11"])).out;
        (!route.contains(" dev td")).then_some(())
    });
    daemon.again();
    daemon.settles();
    daemon.end();
}

#[test]
fn a_tenant_without_a_cgroup_is_adopted_by_the_process_in_its_claim() {
    let mut daemon = without_cgroups();
    let before = daemon.tenant("acme").pid;
    daemon.kill();
    fs::remove_file(state_file_of(&daemon)).unwrap();
    daemon.again();
    assert_eq!(daemon.settles().tenants[0].pid, before);
    daemon.end();
}

#[test]
fn a_daemonized_program_is_adopted_without_its_first_process() {
    place::host();
    place::folder("/srv/data");
    let idle = place::example("idle");
    let program = place::script("program", &format!("{idle} 80 & exit 0"));
    let mut daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\ndatastore.path = \"/srv/data\"\n\
         daemonizes = true\nready.tcp = 80\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ));
    let leaf = format!(
        "/sys/fs/cgroup/tenantd/{}/acme/program/cgroup.procs",
        daemon.app
    );
    // The first process has left, and another one is known as the main one.
    let main = daemon.until_tenant("acme", |acme| acme.main.is_some()).pid;
    let before = fs::read_to_string(&leaf).unwrap();
    daemon.kill();
    fs::remove_file(state_file_of(&daemon)).unwrap();
    daemon.again();
    daemon.settles();
    let acme = daemon.until_tenant("acme", |acme| acme.main.is_some());
    assert_eq!(
        (acme.state, acme.pid, acme.restarts),
        (StateWord::Up, main, 0)
    );
    assert_eq!(fs::read_to_string(&leaf).unwrap(), before);
    daemon.end();
}

#[test]
fn a_changed_address_is_detected_on_the_link() {
    let (daemon, before) = kill_and_damage(|daemon| {
        let manifest = fs::read_to_string(&daemon.manifest).unwrap();
        fs::write(&daemon.manifest, manifest.replace("0.11\"", "0.21\"")).unwrap();
        fs::remove_file(state_file_of(daemon)).unwrap();
    });
    let acme = daemon.until_tenant("acme", |t| t.ready == Some(true) && t.pid.is_some());
    assert_ne!(acme.pid, before[0].pid);
    assert_eq!(get("10.77.0.21", "/entries").1, "acme\tunsupervised\n");
    assert_eq!(daemon.tenant("globex").pid, before[1].pid);
    daemon.end();
}

/// Replaces the process in acme's cgroup by a command, which gets its network namespace as an argument.
/// It must not be adopted.
fn is_not_adopted(command: &str, why: &str) {
    let mut daemon = three();
    let acme = daemon.tenant("acme").pid.unwrap();
    let leaf = format!(
        "/sys/fs/cgroup/tenantd/{}/acme/program/cgroup.procs",
        daemon.app
    );
    daemon.kill();
    let command = command.replace("NETNS", &format!("/proc/{acme}/ns/net"));
    // Link and namespace are kept while the tenant's last process ends.
    let netns = File::open(format!("/proc/{acme}/ns/net")).unwrap();
    let mut other = replace_process(acme, &leaf, &command);
    fs::remove_file(state_file_of(&daemon)).unwrap();
    daemon.again();
    let acme = daemon.until_tenant("acme", |t| t.why.is_some());
    assert_eq!(acme.pid, None);
    check_logged(&daemon, "acme: not adopted");
    check_logged(&daemon, why);
    check_logged(&daemon, &format!("process {}", other.id()));
    check_logged(&daemon, "end it, for example with kill(1)");
    nothing_is_called_down(&daemon, &other.id().to_string());
    assert!(other.try_wait().unwrap().is_none(), "it is left alone");
    is_shown_if_not_wanted(&mut daemon, &other.id().to_string());
    other.kill().unwrap();
    other.wait().unwrap();
    drop(netns);
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

/// While a process works on acme's datastore, what would call acme down is refused and changes
/// nothing.
fn nothing_is_called_down(daemon: &Daemon, pid: &str) {
    let refused = |said: &CommandOutput, text: &str| {
        assert_eq!(said.code, 1, "{said:?}");
        assert!(text.contains(pid), "{said:?}");
    };
    for stop in [&["stop", "acme"][..], &["stop", "acme", "--permanent"]] {
        let said = daemon.tell(stop);
        refused(&said, &said.out);
        let acme = daemon.tenant("acme");
        assert_eq!((acme.want, acme.permanent), (Want::Up, None), "{acme:?}");
        assert_ne!(acme.state, StateWord::Down, "{acme:?}");
    }
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let without: Vec<&str> = manifest.lines().filter(|l| !l.contains("acme")).collect();
    fs::write(&daemon.manifest, without.join("\n")).unwrap();
    let said = daemon.tell(&["reload"]);
    refused(&said, &said.err);
    assert_ne!(daemon.tenant("acme").state, StateWord::Down);
    fs::write(&daemon.manifest, manifest).unwrap();
}

/// The next supervisor wants acme down, and does not call it down either.
fn is_shown_if_not_wanted(daemon: &mut Daemon, pid: &str) {
    daemon.kill();
    fs::remove_file(state_file_of(daemon)).unwrap();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let unwanted = manifest.replace("10.77.0.11\"", "10.77.0.11\", autostart = false");
    assert_ne!(unwanted, manifest);
    fs::write(&daemon.manifest, unwanted).unwrap();
    daemon.again();
    let acme = daemon.tenant("acme");
    assert_eq!((acme.want, acme.state), (Want::Down, StateWord::Stuck));
    assert!(acme.why.unwrap().contains(pid));
    let said = daemon.tell(&["status", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
}

/// The path and text of the claim that a process has.
pub(crate) fn claim_of(pid: u32) -> Option<(PathBuf, String)> {
    let process = format!("\"process\":{{\"pid\":{pid},");
    let entries = fs::read_dir("/run/tenantd/locks").unwrap();
    let all = entries.map(|entry| entry.unwrap().path());
    let texts = all.map(|path| (fs::read_to_string(&path).unwrap_or_default(), path));
    let mut found = texts.filter(|(text, _)| text.contains(&process));
    found.next().map(|(text, path)| (path, text))
}

/// Starts a command in a leaf, and ends the process that was in it before.
fn replace_process(pid: u32, leaf: &str, command: &str) -> Child {
    let joined = "echo $$ > \"$0\" && echo y && exec";
    let mut child = Command::new("sh")
        .args(["-c", &format!("{joined} {command}"), leaf])
        .spawn()
        .unwrap();
    let is_in = |pid: u32| {
        let pids = fs::read_to_string(leaf).unwrap();
        pids.lines().any(|line| line == pid.to_string())
    };
    let sleeps = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        name.trim() == "sleep"
    };
    until("it sleeps in the cgroup", || {
        assert!(child.try_wait().unwrap().is_none());
        (is_in(child.id()) && sleeps(child.id())).then_some(())
    });
    let process = pidfd(pid);
    signal(pid, Signal::SIGKILL);
    assert!(ends(&process, LIMIT));
    let alone = format!("{}\n", child.id());
    until("it is alone in the cgroup", || {
        (fs::read_to_string(leaf).unwrap() == alone).then_some(())
    });
    child
}

#[test]
fn a_process_in_another_network_is_not_adopted() {
    is_not_adopted("sleep 1000", "its link leads to another network namespace");
}

#[test]
fn a_process_that_the_claim_does_not_name_is_not_adopted() {
    is_not_adopted(
        "nsenter --net=NETNS sleep 1000",
        "the process in the claim of its datastore has ended",
    );
}

#[test]
fn a_process_without_the_tenants_link_is_not_adopted() {
    let mut daemon = three();
    let before = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    let link = host_end(tenant_hash(
        &daemon.app.parse().unwrap(),
        &"acme".parse().unwrap(),
    ));
    let mark = ["link", "set", link.name.as_str(), "alias", "theirs"];
    run(Command::new("ip").args(mark)).expect(0);
    fs::remove_file(state_file_of(&daemon)).unwrap();
    daemon.again();
    daemon.until_tenant("acme", |t| t.why.is_some() && t.pid.is_none());
    check_logged(&daemon, "no link has its mark");
    assert!(fs::metadata(format!("/proc/{before}/exe")).is_ok());
    kill_and_wait(&daemon.app, "acme", before);
    // The kernel removes the link some moments after its namespace's last process.
    let link = format!("/sys/class/net/{}", link.name.as_str());
    until("the link is gone", || {
        fs::symlink_metadata(&link).is_err().then_some(())
    });
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_claim_of_another_tenant_proves_nothing() {
    let mut daemon = three();
    let before = daemon.tenant("acme").pid.unwrap();
    let (claim, text) = claim_of(before).unwrap();
    daemon.kill();
    let app = format!("\"app\":\"{}\"", daemon.app);
    assert!(text.contains(&app), "{text}");
    fs::write(&claim, text.replace(&app, "\"app\":\"other\"")).unwrap();
    fs::remove_file(state_file_of(&daemon)).unwrap();
    daemon.again();
    daemon.until_tenant("acme", |t| t.why.is_some() && t.pid.is_none());
    check_logged(&daemon, "is claimed by other/acme");
    assert!(fs::metadata(format!("/proc/{before}/exe")).is_ok());
    kill_and_wait(&daemon.app, "acme", before);
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}
