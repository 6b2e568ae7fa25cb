//! `logs`, with log files.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// The lines that a child writes, one by one.
struct Lines {
    child: Child,
    lines: Receiver<String>,
}

impl Lines {
    fn of(mut child: Child) -> Self {
        let (sender, lines): (Sender<String>, _) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn next(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(LIMIT).unwrap(), expected);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_file(app: &str) -> PathBuf {
    let folder = PathBuf::from("/var/log/tenantd").join(app);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("acme.log")
}

fn append(path: &PathBuf, text: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn logs_are_followed_through_rotations_without_a_supervisor() {
    support::enter();
    let log = log_file("wiki");
    let older = log.with_extension("log.1");
    append(&older, "1\n2\n");
    append(&log, "3\n4\n");
    expect(
        &run(&["logs", "acme", "--app", "wiki", "-n", "3"]),
        0,
        "2\n3\n4\n",
        "",
    );
    let child = tenantd(&["logs", "acme", "--app", "wiki", "-n", "1", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = Lines::of(child);
    lines.next("4");
    append(&log, "5\n");
    lines.next("5");
    for round in 6..12 {
        std::fs::rename(&log, &older).unwrap();
        append(&log, &format!("{round}\n"));
        lines.next(&round.to_string());
    }
    append(&log, "12\n");
    lines.next("12");
}

#[test]
fn two_rotations_at_once_lose_nothing() {
    support::enter();
    let log = log_file("wiki");
    let older = log.with_extension("log.1");
    append(&log, "1\n");
    let child = tenantd(&["logs", "acme", "--app", "wiki", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let lines = Lines::of(child);
    lines.next("1");
    append(&log, "2\n");
    lines.next("2");
    // It sleeps during all of this.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    append(&log, "3\n");
    for text in ["4\n", "5\n"] {
        std::fs::rename(&log, &older).unwrap();
        append(&log, text);
    }
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    for expected in ["3", "4", "5"] {
        lines.next(expected);
    }
}

#[test]
fn following_ends_when_its_output_is_closed() {
    support::enter();
    append(&log_file("wiki"), "1\n");
    let mut child = tenantd(&["logs", "acme", "--app", "wiki", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    let (ended, has_ended) = channel();
    std::thread::spawn(move || ended.send(child.wait().unwrap()));
    assert!(has_ended.recv_timeout(LIMIT).unwrap().success());
}

#[test]
fn logs_of_an_unknown_tenant_are_an_error() {
    support::enter();
    let output = run(&["logs", "acme", "--app", "wiki"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = "tenantd: error: acme: no log file /var/log/tenantd/wiki/acme.log: wiki: \
                supervisor not running";
    assert!(text.starts_with(said), "{text}");
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    // A log file alone does not make a tenant.
    append(&log_file(&app).with_file_name("typo.log"), "1\n");
    let output = run(&["logs", "typo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such tenant"));
}

#[test]
fn a_closed_output_is_not_an_error() {
    support::enter();
    let log = log_file("wiki");
    append(
        &log,
        &"a line that is long enough to fill a pipe\n".repeat(20_000),
    );
    for follow in [false, true] {
        let mut arguments = vec!["logs", "acme", "--app", "wiki", "-n", "20000"];
        arguments.extend(follow.then_some("-f"));
        let mut child = tenantd(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        expect(&output, 0, "", "");
    }
}

#[test]
fn the_journal_is_read_with_journalctl() {
    support::enter();
    let script = Script {
        logs: LogPlace::Journal,
        ..Script::new()
    };
    let app = script.app.to_string();
    script.serve();
    let folder = tempfile::tempdir().unwrap();
    let stand_in = folder.path().join("journalctl");
    std::fs::write(&stand_in, "#!/bin/sh\necho \"$@\"\n").unwrap();
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = tenantd(&["logs", "acme", "-f", "-n", "7"])
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let called = format!(
        "TENANTD_APP={app} TENANTD_TENANT=acme --output=short-iso-precise --no-pager --lines=7 \
         --follow\n"
    );
    expect(&output, 0, &called, "");
    std::fs::remove_file(&stand_in).unwrap();
    let output = tenantd(&["logs", "acme"])
        .env("PATH", folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("tenantd: error: acme: cannot read the journal"),
        "{text}"
    );
}
