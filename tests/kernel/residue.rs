//! Residue of a killed supervisor that the next one cannot adopt, because a record is damaged and a
//! link has no mark. The next supervisor ends no running process, reports the residue on request,
//! and leaves nothing when it has ended. Residue that belongs to no plan is collected; objects of
//! other owners are kept.

use crate::support;

use std::process::Command;

use nix::sys::signal::Signal;
use support::daemon::{
    CommandOutput, Daemon, LIMIT, PROGRAM, ends, in_time, pidfd, run, signal, tenantd, until,
};
use support::place::{self, example};
use support::residue::{create, create_foreign, exist, kill_and_wait, remove};
use support::state_file;
use tenantd_api::wire::TenantStatus;
use tenantd_core::plan::derive::{host_end, tenant_hash};

/// A supervisor that took over from a killed one, and the process of the one tenant that survived.
/// The other tenant's process was killed too.
fn taken_over() -> (Daemon, u32) {
    place::folder("/srv/data");
    let manifest = format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{}\"]\ndatastore.path = \"/srv/data\"\n\
         restart = {{ delay = \"10ms\" }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nbeta = {{ ip = \"10.77.0.12\" }}\n",
        example("idle")
    );
    let mut daemon = Daemon::start_settled(&manifest);
    let [acme, beta] = ["acme", "beta"].map(|name| daemon.tenant(name).pid.unwrap());
    daemon.kill();
    let process = pidfd(beta);
    signal(beta, Signal::SIGKILL);
    assert!(ends(&process, LIMIT));
    state_file::damage(&daemon.app, "acme");
    let link = host_end(tenant_hash(
        &daemon.app.parse().unwrap(),
        &"acme".parse().unwrap(),
    ));
    support::residue::ip(&format!("link set {} alias theirs", link.name.as_str()));
    daemon.again();
    daemon.until_tenant("acme", |acme| acme.why.is_some());
    (daemon, acme)
}

/// Whether the host's route to the survivor still uses its link.
fn has_its_link() -> bool {
    let route = run(Command::new("ip").args(["route", "get", "10.77.0.11"])).out;
    route.contains(" dev td")
}

fn check_survivor() {
    let (mut daemon, acme) = taken_over();
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    assert!(has_its_link(), "its link is left alone");
    let said = daemon.tell(&["stop", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("refused"), "{said:?}");
    assert!(said.out.contains(&acme.to_string()), "{said:?}");
    assert!(std::fs::metadata(format!("/proc/{acme}/exe")).is_ok());
    // The supervisor's own end fails too.
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(1));
    let output = daemon.output();
    assert!(output.contains("resources are left on the host: acme: "));
    assert!(output.contains(&acme.to_string()), "{output}");
    assert!(has_its_link(), "its link is left alone");

    kill_and_wait(&daemon.app, "acme", acme);
    // The kernel destroys its namespace, and with it the link, some time after the process has ended.
    until("its link is gone", || (!has_its_link()).then_some(()));
    daemon.again();
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_survivor_in_its_cgroup_keeps_its_network_and_is_not_shown_as_down() {
    place::host();
    check_survivor();
}

#[test]
fn a_survivor_without_a_cgroup_keeps_its_network_and_is_not_shown_as_down() {
    place::host();
    run(Command::new("umount").arg("/sys/fs/cgroup")).expect(0);
    check_survivor();
}

#[test]
fn unclaimed_residue_is_removed_at_the_end() {
    place::host();
    let (daemon, acme) = taken_over();
    daemon.tell(&["stop", "beta"]).expect(0);
    // Wanted down before the supervisor ended, so the tenant was never provisioned by this one.
    assert_eq!(daemon.tell(&["stop", "acme"]).code, 1);
    kill_and_wait(&daemon.app, "acme", acme);
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.end();
}

const ONE: &str = "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/idle\"]\ndatastore.path = \"/srv/data\"\n\
    [tenants]\nacme = { ip = \"10.77.0.11\" }\n";

fn one() -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    Daemon::start_settled(ONE)
}

#[test]
fn residue_is_collected_beside_a_running_supervisor_and_nothing_else() {
    let daemon = one();
    let acme = daemon.tenant("acme").pid;
    let (ours, foreign) = (create(&daemon.app), create_foreign(&daemon.app));
    let said = daemon.tell(&["gc", "--dry-run"]).expect(0);
    assert_eq!(said.matches("would remove: ").count(), 4, "{said}");
    assert_eq!(said.matches("left alone: ").count(), 3, "{said}");
    assert_eq!(exist(&ours), [true; 4], "{said}");

    let said = daemon.tell(&["gc"]).expect(0);
    assert_eq!(said.matches("removed: ").count(), 4, "{said}");
    assert_eq!(exist(&ours), [false; 4], "{said}");
    assert_eq!(exist(&foreign), [true; 4], "{said}");
    assert!(
        !said.contains("acme") && !said.contains("td00000000077e"),
        "{said}"
    );
    assert_eq!(daemon.tenant("acme").pid, acme);
    assert!(has_its_link());
    remove(&foreign);
    let said = daemon.tell(&["gc"]).expect(0);
    assert!(said.contains(": nothing to remove\n"), "{said}");
    daemon.end();
}

#[test]
fn residue_is_collected_at_the_start_and_a_missing_cgroup_is_made() {
    let mut daemon = one();
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    kill_and_wait(&daemon.app, "acme", acme);
    let (ours, foreign) = (create(&daemon.app), create_foreign(&daemon.app));
    // As after a reboot: the state file is of another boot, and names objects that no longer exist.
    let state_file = format!("/run/tenantd/{}/ledger", daemon.app);
    let text = std::fs::read_to_string(&state_file).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()));
    let other = "00000000-0000-4000-8000-000000000000";
    std::fs::write(&state_file, text.replace(boot.trim(), other)).unwrap();
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    std::fs::remove_dir(format!("{leaf}/program")).unwrap();
    std::fs::remove_dir(leaf).unwrap();

    daemon.again();
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    assert_eq!(exist(&ours), [false; 4], "{}", daemon.output());
    assert_eq!(exist(&foreign), [true; 4]);
    remove(&foreign);
    daemon.end();
}

#[test]
fn without_a_supervisor_only_residue_without_processes_is_collected() {
    let mut daemon = one();
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    let ours = create(&daemon.app);
    let said = daemon.tell(&["gc"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("kept: tenant acme ("), "{said:?}");
    assert!(said.out.contains(&acme.to_string()), "{said:?}");
    assert_eq!(exist(&ours), [false; 4], "{said:?}");
    assert!(has_its_link());

    // The application's manifest does not name it any more.
    let manifest = daemon.manifest.to_str().unwrap();
    let said = tenantd(&["--config", manifest, "gc"]).expect(0);
    let by = format!("no supervisor runs; the 1 tenant of {manifest} is no residue\n");
    assert!(said.contains(&by), "{said}");
    assert!(said.contains(": nothing to remove\n"), "{said}");
    tenantd(&["--config", manifest, "gc", "--kill", "--yes"]).expect(0);
    assert!(has_its_link());

    kill_and_wait(&daemon.app, "acme", acme);
    let said = daemon.tell(&["gc"]).expect(0);
    assert!(said.contains("removed: folder"), "{said}");
    daemon.left_nothing();
}

/// A tenant that ends slowly: its program handles SIGTERM.
fn slow_to_end() -> Daemon {
    place::folder("/srv/data");
    let text = "trap 'echo the end > /srv/data/end; exit 0' TERM\n> /srv/data/begun\nwhile :; do sleep 1000 & wait $!; done";
    place::script("idle", text);
    Daemon::start_settled(ONE)
}

fn processes_are_ended(mut daemon: Daemon) {
    let acme = pidfd(daemon.tenant("acme").pid.unwrap());
    let begun = format!("/var/lib/tenantd/{}/acme/begun", daemon.app);
    until("it listens to signals", || {
        std::fs::exists(&begun).unwrap().then_some(())
    });
    // Running tenants are not disturbed.
    let said = daemon.tell(&["gc", "--kill"]).expect(0);
    assert!(said.contains(": nothing to remove\n"), "{said}");
    daemon.kill();
    let said = daemon.tell(&["gc"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains(" --kill`"), "{said:?}");
    let said = daemon.tell(&["gc", "--kill", "--yes", "--json"]).expect(0);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["app"], *daemon.app);
    let of_kind = |kind: &str| {
        let mut all = found["residue"].as_array().unwrap().iter();
        let item = all.find(|item| item["kind"] == kind);
        item.unwrap_or_else(|| panic!("no {kind}: {said}"))["fate"].clone()
    };
    assert_eq!(of_kind("tenant"), "ended");
    assert!(ends(&acme, std::time::Duration::ZERO));
    let words = format!("/var/lib/tenantd/{}/acme/end", daemon.app);
    assert_eq!(std::fs::read_to_string(words).unwrap(), "the end\n");
    daemon.left_nothing();
}

#[test]
fn processes_of_no_supervisor_are_ended_by_their_cgroup() {
    place::host();
    processes_are_ended(slow_to_end());
}

#[test]
fn processes_of_no_supervisor_are_ended_without_a_cgroup() {
    place::host();
    run(Command::new("umount").arg("/sys/fs/cgroup")).expect(0);
    processes_are_ended(slow_to_end());
}

#[test]
fn residue_of_unknown_state_is_kept_with_a_reason() {
    place::host();
    run(Command::new("umount").arg("/sys/fs/cgroup")).expect(0);
    place::folder("/srv/data");
    example("idle");
    let mut daemon = Daemon::start_settled(ONE);
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    std::fs::remove_file(format!("/run/tenantd/{}/ledger", daemon.app)).unwrap();
    let said = daemon.tell(&["gc"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("its link still exists"), "{said:?}");
    let said = daemon.tell(&["gc", "--kill", "--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains("kept: tenant acme (cannot end"),
        "{said:?}"
    );
    assert!(said.out.contains("kill(1)"), "{said:?}");
    assert!(has_its_link());
    assert!(std::fs::metadata(format!("/proc/{acme}/exe")).is_ok());

    kill_and_wait(&daemon.app, "acme", acme);
    until("its link is gone", || (!has_its_link()).then_some(()));
    daemon.tell(&["gc"]).expect(0);
    daemon.left_nothing();
}

/// Runs `gc --kill` on a terminal where a person types `answer`.
fn answered(app: &str, answer: &str) -> CommandOutput {
    let gc = format!("{PROGRAM} gc --app {app} --kill");
    let typed = format!("echo {answer} | script -qec '{gc}' /dev/null");
    run(in_time("sh").args(["-c", &typed]))
}

#[test]
fn nothing_is_ended_that_nobody_has_agreed_to() {
    let mut daemon = one();
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    let ours = create(&daemon.app);
    let app = daemon.app.clone();
    let named = format!("  acme  alive: process {acme}\n");

    let said = daemon.tell(&["gc", "--kill"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert!(said.err.contains(&named), "{said:?}");
    let typed = format!("nothing was changed; to end them: tenantd gc --app {app} --kill --yes\n");
    assert!(said.err.ends_with(&typed), "{said:?}");
    // It names a tenant that it would end as well if the manifest does not.
    let manifest = std::fs::read_to_string(&daemon.manifest).unwrap();
    std::fs::write(&daemon.manifest, manifest.replace("acme", "beta")).unwrap();
    let by_manifest = daemon.manifest.to_str().unwrap();
    let said = tenantd(&["--config", by_manifest, "gc", "--kill"]);
    assert_eq!(said.code, 2, "{said:?}");
    let typed = format!("tenantd gc --config {by_manifest} --kill --yes\n");
    assert!(
        said.err.contains(&named) && said.err.ends_with(&typed),
        "{said:?}"
    );

    let said = answered(&app, "no");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("nothing was changed"), "{said:?}");
    assert_eq!(exist(&ours), [true; 4], "{said:?}");
    assert!(has_its_link());
    let process = pidfd(acme);
    assert!(!ends(&process, std::time::Duration::ZERO));

    let said = answered(&app, "yes");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("ended: tenant acme"), "{said:?}");
    assert!(ends(&process, std::time::Duration::ZERO));
    daemon.left_nothing();
}

#[test]
fn an_application_that_does_not_exist_has_no_residue_but_is_an_error() {
    let daemon = one();
    let said = tenantd(&["gc", "--app", &format!("{}x", daemon.app)]);
    assert_eq!(said.code, 1, "{said:?}");
    let near = format!("no such application, did you mean `{}`?", daemon.app);
    assert!(said.err.contains(&near), "{said:?}");
    let said = tenantd(&["gc", "--app", "quite-another", "--kill", "--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("quite-another: no such application: "),
        "{said:?}"
    );
    assert!(!std::fs::exists("/run/tenantd/quite-another").unwrap());
    daemon.end();
}
