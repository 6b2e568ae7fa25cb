//! Permanent wants hold after the supervisor's end and after a reboot.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use tenantd_api::wire::{StateWord, TenantStatus, Want};

use crate::support::daemon::Daemon;
use crate::support::place::{self, example, folder, fresh};
use crate::support::state_file;

fn two() -> Daemon {
    place::host();
    folder("/srv/data");
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{}\"]\ndatastore.path = \"/srv/data\"\n\
         ready.tcp = 80\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n\
         manual = {{ ip = \"10.77.0.12\", autostart = false }}\n",
        example("idle")
    ))
}

/// The want of a tenant, its permanent want, and its state.
fn seen(tenant: &TenantStatus) -> (Want, Option<Want>, StateWord) {
    (tenant.want, tenant.permanent, tenant.state)
}

/// Ends the supervisor with all tenants, and starts the next one.
fn ended(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    daemon.again();
    daemon.until("all are as wanted", |status| {
        status.tenants.iter().all(TenantStatus::is_as_wanted)
    });
}

const DOWN: (Want, Option<Want>, StateWord) = (Want::Down, Some(Want::Down), StateWord::Down);
const UP: (Want, Option<Want>, StateWord) = (Want::Up, Some(Want::Up), StateWord::Up);

#[test]
fn a_permanent_want_holds_until_it_is_taken_back() {
    let mut daemon = two();
    daemon.tell(&["stop", "acme", "--permanent"]).expect(0);
    daemon.tell(&["start", "manual", "--permanent"]).expect(0);
    let both = |daemon: &Daemon| ["acme", "manual"].map(|name| seen(&daemon.tenant(name)));
    assert_eq!(both(&daemon), [DOWN, UP]);
    let table = daemon.tell(&["status"]).expect(0);
    assert!(table.contains("down (permanent)"), "{table}");
    // An end with all tenants, and then one that looks like a reboot.
    ended(&mut daemon);
    assert_eq!(both(&daemon), [DOWN, UP]);
    daemon.kill();
    state_file::edit_head(&daemon.app, |head| head["boot"] = "another one".into());
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/manual/cgroup.kill", daemon.app);
    fs::write(leaf, "1").unwrap();
    daemon.again();
    daemon.until_state("manual", StateWord::Up);
    assert_eq!(both(&daemon), [DOWN, UP]);

    // A start that is not permanent holds after a kill, and not after an end.
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.kill();
    daemon.again();
    let until_then = (Want::Up, Some(Want::Down), StateWord::Up);
    assert_eq!(seen(&daemon.tenant("acme")), until_then);
    let table = daemon.tell(&["status"]).expect(0);
    assert!(table.contains("up (permanent: down)"), "{table}");
    ended(&mut daemon);
    assert_eq!(both(&daemon), [DOWN, UP]);

    // A want that agrees with the manifest needs no file.
    daemon.tell(&["start", "acme", "--permanent"]).expect(0);
    daemon.tell(&["stop", "manual", "--permanent"]).expect(0);
    ended(&mut daemon);
    assert_eq!(
        both(&daemon),
        [
            (Want::Up, None, StateWord::Up),
            (Want::Down, None, StateWord::Down)
        ]
    );
    let kept = fs::read_dir(format!("/var/lib/tenantd/.wants/{}", daemon.app)).unwrap();
    assert_eq!(kept.count(), 0);
    daemon.end();
}

#[test]
fn a_want_that_cannot_be_written_is_an_error() {
    let daemon = two();
    folder("/var/lib/tenantd/.wants");
    fresh("/var/lib/tenantd/.wants", "ro");
    let said = daemon.tell(&["stop", "acme", "--permanent"]);
    assert_eq!(said.code, 1, "{said:?}");
    // It has waited, and says what is done and what is not.
    let line = "acme: down, but not permanent, since it could not be written: cannot make \
                /var/lib/tenantd/.wants/";
    assert!(said.out.starts_with(line), "{said:?}");
    assert!(said.out.contains("Read-only"), "{said:?}");
    let acme = daemon.tenant("acme");
    assert_eq!((acme.state, acme.permanent), (StateWord::Down, None));
    let said = daemon.tell(&["start", "manual", "--permanent", "--no-wait", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["tenants"][0]["outcome"], "failed");
    let reason = json["tenants"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("not permanent, since it could not be written"));
    daemon.tell(&["start", "acme"]).expect(0);
    place::unmount("/var/lib/tenantd/.wants");
    daemon.end();
}

#[test]
fn a_want_that_does_not_fit_on_the_disk_leaves_nothing() {
    let daemon = two();
    folder("/var/lib/tenantd/.wants");
    fresh("/var/lib/tenantd/.wants", "size=16k");
    let kept = format!("/var/lib/tenantd/.wants/{}", daemon.app);
    daemon.tell(&["stop", "acme", "--permanent"]).expect(0);
    // Until nothing more can be written.
    let _full = fs::write("/var/lib/tenantd/.wants/filler", vec![0; 65536]);
    let said = daemon.tell(&["start", "manual", "--permanent"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("No space left"), "{said:?}");
    assert!(said.out.starts_with("manual: up, ready"), "{said:?}");
    let names = fs::read_dir(&kept)
        .unwrap()
        .map(|it| it.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["acme"]);
    assert_eq!(
        fs::read_to_string(format!("{kept}/acme")).unwrap(),
        "down\n"
    );
    place::unmount("/var/lib/tenantd/.wants");
    daemon.end();
}

#[test]
fn a_permanent_want_is_removed_with_its_tenant() {
    let mut daemon = two();
    daemon.tell(&["stop", "acme", "--permanent"]).expect(0);
    let kept = format!("/var/lib/tenantd/.wants/{}/acme", daemon.app);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "down\n");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let whole = fs::read_to_string(&daemon.manifest).unwrap();
    let without: Vec<_> = whole.lines().filter(|l| !l.starts_with("acme")).collect();
    fs::write(&daemon.manifest, without.join("\n")).unwrap();
    daemon.again();
    crate::support::until("it is forgotten", || !Path::new(&kept).exists());
    daemon.end();
}
