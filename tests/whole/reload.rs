//! A manifest that is edited while its tenants run.

use std::fs;
use std::os::fd::AsFd;

use nix::sys::signal::Signal;
use serde_json::Value;
use tenantd_api::wire::StateWord;

use crate::guestbook::{link, three};
use crate::support::daemon::{CommandOutput, Daemon, tenantd, until};
use crate::support::place::folder;
use crate::support::visit::{get, write_entry};

/// Replaces part of a manifest's text.
#[track_caller]
fn edit(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&daemon.manifest, text.replacen(old, new, 1)).unwrap();
}

fn pid(daemon: &Daemon, name: &str) -> u32 {
    daemon.tenant(name).pid.unwrap()
}

fn names(daemon: &Daemon) -> Vec<String> {
    let tenants = daemon.status().tenants;
    tenants.iter().map(|t| t.name.to_string()).collect()
}

#[track_caller]
fn reload(daemon: &Daemon) -> String {
    daemon.tell(&["reload"]).expect(0)
}

#[test]
fn each_change_has_its_documented_effect_and_no_other() {
    let daemon = three();
    let (acme, globex, initech) = (
        pid(&daemon, "acme"),
        pid(&daemon, "globex"),
        pid(&daemon, "initech"),
    );
    assert_eq!(reload(&daemon), "no changes\n");

    // Live: the same processes.
    edit(&daemon, "stop.grace = \"5s\"", "stop.grace = \"4s\"");
    let diff = daemon.tell(&["diff"]).expect(3);
    assert!(
        diff.contains("live acme\n  grace             5s → 4s\n"),
        "{diff}"
    );
    let said = reload(&daemon);
    assert!(said.starts_with("acme: changed live: grace\n"), "{said}");
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");
    assert_eq!(
        (
            pid(&daemon, "acme"),
            pid(&daemon, "globex"),
            pid(&daemon, "initech")
        ),
        (acme, globex, initech)
    );

    // Relaunched: another process on the same link.
    let before = link(&daemon, "globex");
    write_entry("10.77.0.12", "globex", "kept");
    edit(
        &daemon,
        "globex = { ip = \"10.77.0.12\" }",
        "globex = { ip = \"10.77.0.12\", environment = { WHO = \"globex\" } }",
    );
    let said = reload(&daemon);
    assert!(
        said.starts_with("globex: relaunched because of environment WHO; now up, ready"),
        "{said}"
    );
    assert_ne!(pid(&daemon, "globex"), globex);
    assert_eq!(daemon.tenant("globex").restarts, 0);
    assert_eq!(link(&daemon, "globex"), before);
    assert_eq!(get("10.77.0.12", "/entries").1, "globex\tkept\n");

    // A new tenant takes one line and one reload.
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let text = text.replace(
        "[tenants]\n",
        "[tenants]\nhooli = { ip = \"10.77.0.14\" }\n",
    );
    fs::write(&daemon.manifest, text).unwrap();
    let said = reload(&daemon);
    assert!(said.starts_with("hooli: added; now up, ready"), "{said}");
    assert_eq!(get("10.77.0.14", "/entries"), (200, String::new()));
    assert_eq!(names(&daemon), ["hooli", "acme", "globex", "initech"]);
    assert_eq!(
        (pid(&daemon, "acme"), pid(&daemon, "initech")),
        (acme, initech)
    );
    daemon.end();
}

#[test]
fn two_tenants_swap_their_addresses() {
    let daemon = three();
    let initech = pid(&daemon, "initech");
    for (name, ip) in [("acme", "10.77.0.11"), ("globex", "10.77.0.12")] {
        write_entry(ip, name, "mine");
    }
    edit(
        &daemon,
        "acme = { ip = \"10.77.0.11\"",
        "acme = { ip = \"10.77.0.12\"",
    );
    edit(
        &daemon,
        "globex = { ip = \"10.77.0.12\"",
        "globex = { ip = \"10.77.0.11\"",
    );
    let diff = daemon.tell(&["diff"]).expect(3);
    assert!(diff.contains("waits for         globex"), "{diff}");
    let said = reload(&daemon);
    assert!(said.contains("; now up, ready"), "{said}");
    assert_eq!(get("10.77.0.12", "/entries").1, "acme\tmine\n");
    assert_eq!(get("10.77.0.11", "/entries").1, "globex\tmine\n");
    // It succeeded at the first attempt.
    assert!(!daemon.output().contains("WARN"), "{}", daemon.output());
    assert_eq!(pid(&daemon, "initech"), initech);
    daemon.end();
}

#[test]
fn an_added_tenant_gets_the_address_of_a_removed_one() {
    let daemon = three();
    write_entry("10.77.0.11", "acme", "of acme");
    let acme = "acme = { ip = \"10.77.0.11\" }";
    edit(
        &daemon,
        acme,
        "hooli = { ip = \"10.77.0.11\", datastore = \"acme\" }",
    );
    let said = reload(&daemon);
    let line = "acme: stopped and removed, datastore kept\n";
    assert!(said.contains(line), "{said}");
    assert_eq!(names(&daemon), ["hooli", "globex", "initech"]);
    assert_eq!(get("10.77.0.11", "/entries").1, "acme\tof acme\n");
    assert!(!daemon.output().contains("WARN"), "{}", daemon.output());
    // Its name may be used again.
    edit(&daemon, "hooli = {", "acme = {");
    reload(&daemon);
    assert_eq!(names(&daemon), ["acme", "globex", "initech"]);
    assert_eq!(daemon.tell(&["start", "hooli"]).code, 1);
    daemon.end();
}

#[test]
fn a_bad_manifest_changes_nothing_and_all_problems_are_shown() {
    let daemon = three();
    let before: Vec<_> = daemon.status().tenants;
    edit(
        &daemon,
        "user = \"nobody\"",
        "user = \"nobody-at-all\"\nusr = 3",
    );
    let check_problems = |said: CommandOutput| {
        assert_eq!(said.code, 78, "{said:?}");
        assert!(said.err.contains("nobody-at-all"), "{}", said.err);
        assert!(said.err.contains("`usr`"), "{}", said.err);
        assert!(said.err.contains("2 problems"), "{}", said.err);
    };
    check_problems(daemon.tell(&["reload"]));
    check_problems(daemon.tell(&["diff"]));
    daemon.signal(Signal::SIGHUP);
    until("the problems are logged", || {
        daemon.output().contains("2 problems").then_some(())
    });
    assert!(daemon.output().contains("nothing was changed"));
    let good = fs::read_to_string(&daemon.manifest).unwrap();
    fs::remove_file(&daemon.manifest).unwrap();
    let gone = daemon.tell(&["reload"]);
    assert_eq!(gone.code, 78);
    assert!(
        gone.err.contains("cannot read the manifest"),
        "{}",
        gone.err
    );
    let good = good.replace("-at-all\"\nusr = 3", "\"");
    let network = "[network]\nsubnet = \"10.99.0.0/24\"\n[tenants]";
    let renamed = good.replace(&format!("\"{}\"", daemon.app), "\"other\"");
    let renamed = renamed.replace("10.77.", "10.99.");
    fs::write(&daemon.manifest, renamed.replace("[tenants]", network)).unwrap();
    let shown = daemon.tell(&["diff"]).expect(1);
    assert!(shown.starts_with("a reload would be refused: "), "{shown}");
    let fixed = daemon.tell(&["reload"]);
    assert_eq!(fixed.code, 1, "{fixed:?}");
    assert!(fixed.err.contains("→ other)"), "{}", fixed.err);
    assert_eq!(daemon.status().tenants, before);
    daemon.end();
}

#[test]
fn a_reload_keeps_stopped_tenants_down_and_retries_failed_ones() {
    let daemon = three();
    daemon.tell(&["stop", "acme"]).expect(0);
    edit(
        &daemon,
        "stop.grace",
        "restart = { strikes = 1 }\nenvironment.X = \"1\"\nstop.grace",
    );
    reload(&daemon);
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
    // Another process uses its datastore. A rehearsal does not take the lock.
    let taken = folder(&format!("/var/lib/tenantd/{}/taken", daemon.app));
    let opened = tenantd_host::datastore::open(&taken).unwrap();
    let lock = tenantd_host::lock::Lock::take(opened.as_fd(), &taken).unwrap();
    let globex = "globex = { ip = \"10.77.0.12\"";
    edit(&daemon, globex, &format!("{globex}, datastore = \"taken\""));
    let said = daemon.tell(&["reload"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("; now failed: "), "{}", said.out);
    drop(lock);
    edit(&daemon, ", datastore = \"taken\"", "");
    reload(&daemon);
    daemon.until_tenant("globex", tenantd_api::wire::TenantStatus::is_as_wanted);
    daemon.end();
}

#[test]
fn sighup_reloads_and_concurrent_reloads_are_serialized() {
    let daemon = three();
    edit(&daemon, "initech = { ip = \"10.77.0.13\" }\n", "");
    daemon.signal(Signal::SIGHUP);
    daemon.until("initech is gone", |status| status.tenants.len() == 2);
    assert!(
        daemon.output().contains("initech: removed"),
        "{}",
        daemon.output()
    );
    edit(
        &daemon,
        "[tenants]\n",
        "[tenants]\nhooli = { ip = \"10.77.0.13\" }\n",
    );
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| daemon.tell(&["reload"])))
            .collect();
        for said in all {
            said.join().unwrap().expect(0);
        }
    });
    daemon.until_tenant("hooli", tenantd_api::wire::TenantStatus::is_as_wanted);
    assert_eq!(
        daemon.output().matches("hooli: ready").count(),
        1,
        "{}",
        daemon.output()
    );
    daemon.end();
}

/// The hash that `diff` shows.
fn hash(daemon: &Daemon) -> String {
    let shown = daemon.tell(&["diff"]).expect(3);
    let line = shown.lines().next_back().unwrap();
    let hash = line.strip_prefix("to apply exactly this: tenantd reload --expect ");
    let hash = hash.unwrap_or_else(|| panic!("{shown}")).to_owned();
    let json = daemon.tell(&["diff", "--json"]).expect(3);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["hash"], *hash);
    hash
}

#[test]
fn a_reload_applies_exactly_what_was_shown() {
    let daemon = three();
    let before = pid(&daemon, "acme");
    edit(&daemon, "stop.grace = \"5s\"", "stop.grace = \"4s\"");
    let seen = hash(&daemon);
    assert_eq!(hash(&daemon), seen, "it is the same each time");

    // Edited again after it was shown.
    edit(
        &daemon,
        "[tenants]\n",
        "[tenants]\nhooli = { ip = \"10.77.0.14\" }\n",
    );
    let refused = daemon.tell(&["reload", "--expect", &seen]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let now = hash(&daemon);
    assert_ne!(now, seen);
    let said = format!("are not those with the hash {seen} (now they have the hash {now})");
    assert!(refused.err.contains(&said), "{}", refused.err);
    assert!(
        refused.err.contains("run `tenantd diff` again"),
        "{}",
        refused.err
    );
    assert_eq!(names(&daemon), ["acme", "globex", "initech"]);

    let said = daemon.tell(&["reload", "--expect", &now]).expect(0);
    assert!(said.contains("hooli: added; now up, ready"), "{said}");
    assert_eq!(names(&daemon), ["hooli", "acme", "globex", "initech"]);
    assert_eq!(pid(&daemon, "acme"), before);

    // It is applied already.
    let refused = daemon.tell(&["reload", "--expect", &now]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("(now there are none)"),
        "{}",
        refused.err
    );
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");
    daemon.end();
}

/// The next supervisor reads the same changes from the manifest that were reloaded before.
#[test]
fn a_live_change_restarts_nothing_even_after_a_crash() {
    let mut daemon = three();
    let before = pid(&daemon, "acme");
    edit(&daemon, "stop.grace = \"5s\"", "stop.grace = \"3s\"");
    reload(&daemon);
    daemon.kill();
    daemon.again();
    assert_eq!(pid(&daemon, "acme"), before);
    let json = daemon.tell(&["diff", "--json"]).expect(0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["unchanged"], 3, "{json}");
    daemon.end();
}

#[test]
fn one_line_adds_a_tenant_and_another_removes_it() {
    let daemon = three();
    edit(&daemon, "[tenants]\n", "# Those who pay.\n[tenants]\n");
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let acme = pid(&daemon, "acme");
    let said = daemon.tell(&["add", "hooli", "ip=10.77.0.14"]).expect(0);
    assert!(said.contains("hooli: added; now up, ready"), "{said}");
    let line = "hooli = { ip = \"10.77.0.14\" }\n";
    assert_eq!(
        fs::read_to_string(&daemon.manifest).unwrap(),
        format!("{text}{line}")
    );

    // All problems are shown at once, and nothing is changed.
    let bad = daemon.tell(&["add", "pied", "ip=10.77.0.14", "usr=x"]);
    assert_eq!(bad.code, 78, "{bad:?}");
    assert!(
        bad.err.contains("`usr`") && bad.err.contains("2 problems"),
        "{}",
        bad.err
    );
    let again = daemon.tell(&["add", "acme", "ip=10.77.0.15"]);
    assert!(
        again.err.contains("already has a tenant acme"),
        "{}",
        again.err
    );
    assert_eq!(
        fs::read_to_string(&daemon.manifest).unwrap(),
        format!("{text}{line}")
    );

    let said = daemon.tell(&["remove", "hooli"]).expect(0);
    let stays = format!(
        "its datastore stays: /var/lib/tenantd/{}/hooli\n",
        daemon.app
    );
    assert!(
        said.contains(&stays) && said.contains("hooli: stopped and removed, datastore kept\n"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&daemon.manifest).unwrap(), text);
    assert_eq!(pid(&daemon, "acme"), acme);
    assert_eq!(names(&daemon), ["acme", "globex", "initech"]);
    daemon.end();
}

#[test]
fn without_a_supervisor_add_edits_the_manifest_and_keeps_a_symbolic_link() {
    let mut daemon = three();
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let link = daemon.manifest.with_extension("link");
    std::os::unix::fs::symlink(&daemon.manifest, &link).unwrap();
    let link = link.to_str().unwrap();
    let said = tenantd(&["add", "hooli", "ip=10.77.0.14", "--config", link]).expect(0);
    assert!(said.contains("no supervisor runs"), "{said}");
    assert!(fs::symlink_metadata(link).unwrap().is_symlink());
    daemon.again();
    daemon.until_tenant("hooli", tenantd_api::wire::TenantStatus::is_as_wanted);
    daemon.end();
}
