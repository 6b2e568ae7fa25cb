//! What a launch would refuse is refused before: a reload, `diff` and `check` rehearse it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use tenantd_api::wire::{Program, StateWord};

use crate::guestbook::{manifest, three};
use crate::support::daemon::{Daemon, signal};
use crate::support::place::{self, example, folder, script};

#[test]
fn a_reload_after_which_a_tenant_could_not_be_launched_changes_nothing() {
    let daemon = three();
    let before = daemon.status().tenants;
    let script = script("no-interpreter", "");
    fs::write(&script, "#!/opt/none\n").unwrap();
    let good = fs::read_to_string(&daemon.manifest).unwrap();
    let bad = good.replace("\"/srv/guestbook\"", &format!("{script:?}"));
    assert_ne!(good, bad);
    fs::write(&daemon.manifest, bad).unwrap();
    let why = format!("acme could not be launched: cannot execute the program {script}: ");
    let shown = daemon.tell(&["diff"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown
            .out
            .contains(&format!("a reload would be refused: {why}")),
        "{shown:?}"
    );
    let place = format!(":3:12\n  |\n3 | command = [{script:?}]\n  |            ^");
    assert_eq!(shown.out.matches(&place).count(), 1, "{shown:?}");
    let refused = daemon.tell(&["reload"]);
    assert!(refused.err.contains(&place), "{refused:?}");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains(&why), "{refused:?}");
    assert_eq!(daemon.status().tenants, before);
    let checked = daemon.tell(&["check", "--config", daemon.manifest.to_str().unwrap()]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(
        checked.out.contains("acme: bad: cannot execute"),
        "{checked:?}"
    );
    assert_eq!(checked.out.matches(&place).count(), 1, "{checked:?}");
    daemon.end();
}

fn kill(daemon: &Daemon, tenant: &str) {
    signal(daemon.tenant(tenant).pid.unwrap(), Signal::SIGKILL);
}

/// Starts with a copy of the program that a test can break.
fn breakable() -> (Daemon, String) {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    (Daemon::start_settled(&manifest(&program)), program)
}

#[test]
fn a_restart_that_would_fail_ends_nothing() {
    let (daemon, program) = breakable();
    let before = daemon.status().tenants;
    fs::rename(&program, format!("{program}.old")).unwrap();
    let why = format!("cannot find the program {program}: No such file or directory");
    for restart in [
        &["restart", "acme", "globex"][..],
        &["restart", "--all", "--rolling"],
    ] {
        let refused = daemon.tell(restart);
        assert_eq!(refused.code, 1, "{refused:?}");
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains(&why), "{refused:?}");
        let mut now = daemon.status().tenants;
        for (now, before) in now.iter_mut().zip(&before) {
            now.program = before.program;
        }
        assert_eq!(now, before, "{restart:?}");
    }
    fs::rename(format!("{program}.old"), &program).unwrap();
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_ne!(daemon.tenant("acme").pid, before[0].pid);
    daemon.end();
}

#[test]
fn a_start_that_no_retry_can_mend_changes_nothing() {
    let (daemon, program) = breakable();
    daemon.tell(&["stop", "acme"]).expect(0);
    let down = daemon.tenant("acme");
    fs::rename(&program, format!("{program}.old")).unwrap();
    fs::write(&program, "not a program").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let refused = daemon.tell(&["start", "acme", "--permanent"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let said = format!("{}{}", refused.out, refused.err);
    assert!(said.contains("nothing was changed"), "{refused:?}");
    assert!(said.contains("Exec format error"), "{refused:?}");
    assert_eq!(daemon.tenant("acme"), down);
    fs::rename(format!("{program}.old"), &program).unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_program_that_is_back_in_time_is_started() {
    let (daemon, program) = breakable();
    // As a package manager does that removes the old package first.
    fs::rename(&program, format!("{program}.old")).unwrap();
    kill(&daemon, "acme");
    let waiting = daemon.until_tenant("acme", |it| it.failure.is_some());
    assert_eq!(waiting.state, StateWord::Waiting, "{waiting:?}");
    fs::rename(format!("{program}.old"), &program).unwrap();
    daemon.until_state("acme", StateWord::Up);
    // What cannot pass is given up at once.
    fs::rename(&program, format!("{program}.old")).unwrap();
    fs::write(&program, "not a program").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    kill(&daemon, "acme");
    let failed = daemon.until_state("acme", StateWord::Failed);
    assert_eq!(failed.failure.unwrap().errno, libc::ENOEXEC);
    let status = daemon.tell(&["status"]);
    assert!(
        status.out.contains("correct that, then `tenantd start"),
        "{status:?}"
    );
    // A reload with a corrected manifest tries it again.
    let other = format!("{program}.old");
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, text.replace(&program, &other)).unwrap();
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    daemon.end();
}

#[test]
fn an_owner_that_does_not_fit_is_said() {
    let daemon = three();
    let data = format!("/var/lib/tenantd/{}/acme", daemon.app);
    std::os::unix::fs::chown(&data, Some(0), Some(0)).unwrap();
    let why = format!("{data} belongs to 0:0 with mode 0750, so user nobody cannot write to it");
    let status = daemon.tell(&["status"]).expect(0);
    assert!(status.contains(&format!("\n  DATA {why}")), "{status}");
    assert!(daemon.tenant("acme").misfit.unwrap().starts_with(&why));
    assert_eq!(daemon.tenant("globex").misfit, None);
    let shown = daemon.tell(&["diff"]).expect(0);
    assert!(shown.contains(&format!("\nacme: {why}")), "{shown}");
    let checked = daemon.tell(&["check", "--config", daemon.manifest.to_str().unwrap()]);
    assert!(checked.out.contains(&format!("acme: {why}")), "{checked:?}");
    daemon.end();
}

/// Replaces a program on disk as a package manager does.
fn upgrade(program: &str) {
    let new = format!("{program}.new");
    fs::copy(program, &new).unwrap();
    fs::rename(new, program).unwrap();
}

#[test]
fn a_wrapper_does_not_hide_an_old_program() {
    place::host();
    let real = "/srv/real-program";
    fs::copy("/bin/sleep", real).unwrap();
    for (what, text) in [
        ("executed by a script", format!("exec {real} infinity")),
        ("a child of a script", format!("{real} infinity & wait")),
    ] {
        let wrapper = script("wrapper", &text);
        let daemon = Daemon::start_settled(&format!(
            "[app]\nname = \"APP\"\ncommand = [{wrapper:?}]\nuser = \"nobody\"\n\
             ready.lived = \"300ms\"\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        ));
        let program = || daemon.tenant("acme").program;
        assert_eq!(program(), Some(Program::Current), "{what}");
        upgrade(real);
        assert_eq!(program(), Some(Program::Older), "{what}");
        daemon.tell(&["restart", "acme"]).expect(0);
        assert_eq!(program(), Some(Program::Current), "{what}");
        // The script itself counts, too.
        upgrade(&wrapper);
        assert_eq!(program(), Some(Program::Older), "{what}");
        daemon.end();
    }
}
