//! `logs` of tenants without a line yet, and for users who may not read any.

use std::os::unix::fs::PermissionsExt;

use super::logs::{Lines, append, journal_line, journalctl, line, log_file};
use super::*;

/// Whether a process waits for changes of files.
fn watches(pid: u32) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    links.any(|link| link.as_os_str() == "anon_inode:inotify")
}

#[test]
fn the_first_line_and_tenants_that_are_added_later_are_waited_for() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let follow = |arguments: &[&str]| {
        let child = tenantd(&[&["logs", "--utc", "-f"], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let lines = Lines::of(child);
        support::until("it waits", || watches(pid));
        lines
    };
    let (one, all) = (follow(&["acme"]), follow(&["--all"]));
    let acme = log_file(&app);
    append(&acme, &line(1, "stdout", "first"));
    one.next("2026-11-18T09:46:41.000000Z stdout  first");
    all.next("acme 2026-11-18T09:46:41.000000Z stdout  first");
    // Neither of the two knows this one.
    let gamma = acme.with_file_name("gamma.log");
    append(&gamma, &line(2, "tenantd", "program started, pid 7"));
    all.next("gamma 2026-11-18T09:46:42.000000Z tenantd program started, pid 7");
    std::fs::rename(&gamma, gamma.with_extension("log.1")).unwrap();
    append(&gamma, &line(3, "stdout", "rotated"));
    all.next("gamma 2026-11-18T09:46:43.000000Z stdout  rotated");
    append(&acme, &line(4, "stdout", "second"));
    one.next("2026-11-18T09:46:44.000000Z stdout  second");

    // What an earlier tenant of a name has left is not new.
    let pattern = follow(&["acme", "*a", "-n", "0"]);
    append(&gamma, &line(5, "stdout", "added again"));
    pattern.next("gamma 2026-11-18T09:46:45.000000Z stdout  added again");
}

#[test]
fn a_user_who_may_not_read_the_logs_is_told_so() {
    support::enter();
    let log = log_file("wiki");
    append(&log, "1\n");
    for (path, mode) in [(log.as_path(), 0o600), (log.parent().unwrap(), 0o700)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let program = env!("CARGO_BIN_EXE_tenantd");
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", program])
            .args(["logs", "acme", "--app", "wiki"])
            .output()
            .unwrap();
        let said = "tenantd: error: wiki: permission denied: only root may read the log files: try again \
                    with sudo (while a supervisor runs, a group with the right `logs` in `control.operators` of \
                    the manifest may read those of its tenants)\n";
        expect(&output, 1, "", said);
    }
}

#[test]
fn the_journal_is_asked_for_tenants_that_are_added_later() {
    support::enter();
    let script = Script {
        logs: LogPlace::Journal,
        ..Script::new()
    };
    script.serve();
    let folder = tempfile::tempdir().unwrap();
    let next = journal_line(5, "gamma", "stdout", &"later".into())
        + &journal_line(6, "other", "stdout", &"not meant".into());
    journalctl(folder.path(), "", &next);
    let output = tenantd(&["logs", "--utc", "acme", "*a", "-f"])
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let line = "gamma 2026-11-18T09:46:45.000000Z stdout  later\n";
    expect(&output, 0, line, "");
}
