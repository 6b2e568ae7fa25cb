//! `logs`, with log files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// The lines that a child writes, one by one.
pub(super) struct Lines {
    child: Child,
    lines: Receiver<String>,
}

impl Lines {
    pub(super) fn of(mut child: Child) -> Self {
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
    pub(super) fn next(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(LIMIT).unwrap(), expected);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn log_file(app: &str) -> PathBuf {
    let folder = PathBuf::from("/var/log/tenantd").join(app);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("acme.log")
}

pub(super) fn append(path: &PathBuf, text: &str) {
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

/// A journalctl that notes how it was called and has these lines: the past, and what follows it.
pub(super) fn journalctl(folder: &Path, past: &str, next: &str) {
    let [past_file, next_file] = ["past", "next"].map(|name| folder.join(name));
    std::fs::write(&past_file, past).unwrap();
    std::fs::write(&next_file, next).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\ncase \"$*\" in *--follow*) exec /bin/cat {};; \
         *--field*) printf 'shop-2\\nacme\\n';; *) exec /bin/cat {};; esac\n",
        folder.join("calls").display(),
        next_file.display(),
        past_file.display()
    );
    let stand_in = folder.join("journalctl");
    std::fs::write(&stand_in, script).unwrap();
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(super) fn journal_line(
    second: u64,
    tenant: &str,
    stream: &str,
    message: &serde_json::Value,
) -> String {
    let time = (1_794_995_200 + second) * 1_000_000;
    let line = serde_json::json!({
        "__CURSOR": format!("c{second}"),
        "__REALTIME_TIMESTAMP": time.to_string(),
        "TENANTD_TENANT": tenant,
        "TENANTD_STREAM": stream,
        "MESSAGE": message,
    });
    format!("{line}\n")
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
    let run = |arguments: &[&str]| {
        let mut command = tenantd(&[&["logs", "--utc"], arguments].concat());
        command.env("PATH", folder.path()).output().unwrap()
    };
    let past = journal_line(1, "acme", "tenantd", &"program started, pid 7".into())
        + &journal_line(2, "acme", "stderr", &[0x1b, 0x5b, 0x41].as_slice().into())
        + &journal_line(3, "beta", "stdout", &"hello".into());
    journalctl(
        folder.path(),
        &past,
        &journal_line(4, "acme", "stdout", &"new".into()),
    );
    let [first, second, third, fourth] = [
        "2026-11-18T09:46:41.000000Z tenantd program started, pid 7\n",
        "2026-11-18T09:46:42.000000Z stderr  \\x1b[A\n",
        "2026-11-18T09:46:43.000000Z stdout  hello\n",
        "2026-11-18T09:46:44.000000Z stdout  new\n",
    ];
    let all = format!("acme {first}acme {second}beta {third}acme {fourth}");
    expect(&run(&["acme", "beta", "-f", "-n", "7"]), 0, &all, "");
    let matches = |tenants: &str| {
        format!(
            "TENANTD_APP={app} {tenants} TENANTD_STREAM=stdout TENANTD_STREAM=stderr \
             TENANTD_STREAM=syslog TENANTD_STREAM=file TENANTD_STREAM=tenantd --output=json --all \
             --quiet --no-pager --output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,SYSLOG_PID,\
             TENANTD_TENANT,TENANTD_STREAM,TENANTD_CONTINUES,TENANTD_TRUNCATED,TENANTD_OPEN,\
             TENANTD_FILE"
        )
    };
    let both = matches("TENANTD_TENANT=acme TENANTD_TENANT=beta");
    let calls = || std::fs::read_to_string(folder.path().join("calls")).unwrap();
    let called = format!("{both} --lines=7\n{both} --follow --no-tail --after-cursor=c3\n");
    assert_eq!(calls(), called);

    // The last lines since a time are not what --lines of journalctl selects.
    let output = run(&["acme", "-n", "1", "--since", "2026-11-18T09:46:41.5Z"]);
    expect(&output, 0, second, "");
    let one = matches("TENANTD_TENANT=acme");
    assert_eq!(
        calls(),
        format!("{called}{one} --since=@1794995201.500000\n")
    );

    std::fs::remove_file(folder.path().join("journalctl")).unwrap();
    let output = run(&["acme"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("tenantd: error: cannot read the journal with journalctl: "),
        "{text}"
    );
}

const LONG_AGO: &str = "2026-11-18T09:46:4";

pub(super) fn line(second: u32, stream: &str, text: &str) -> String {
    format!("{LONG_AGO}{second}.000000Z {stream} {text}\n")
}

#[test]
fn the_logs_of_several_tenants_are_merged_and_named() {
    support::enter();
    let acme = log_file("wiki");
    let [shop, other] = ["shop-1.log", "shop-22.log"].map(|name| acme.with_file_name(name));
    append(
        &acme,
        &(line(1, "tenantd", "program started, pid 7") + &line(4, "stdout", "a")),
    );
    append(&shop, &line(2, "stderr", "b"));
    append(&other, &line(3, "stdout", "c"));
    let logs = |arguments: &[&str]| {
        let arguments = [&["logs", "--app", "wiki"], arguments].concat();
        let output = tenantd(&arguments)
            .env("TZ", "Europe/Berlin")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        logs(&["--all"]),
        "acme    2026-11-18 10:46:41.000 tenantd program started, pid 7\n\
         shop-1  2026-11-18 10:46:42.000 stderr  b\n\
         shop-22 2026-11-18 10:46:43.000 stdout  c\n\
         acme    2026-11-18 10:46:44.000 stdout  a\n"
    );
    assert_eq!(
        logs(&["shop-*", "-n", "1", "--utc"]),
        "shop-22 2026-11-18T09:46:43.000000Z stdout  c\n"
    );
    assert_eq!(logs(&["shop-?", "--since", "2026-11-18 10:46:43"]), "");
    assert_eq!(
        logs(&["shop-?", "--since", "2026-11-18 10:46:42"])
            .lines()
            .count(),
        1
    );
    assert_eq!(logs(&["acme", "--since", "10m"]), "");
    assert_eq!(
        logs(&["acme", "--since", "2026-11-18T09:46:44Z"]),
        "2026-11-18 10:46:44.000 stdout  a\n"
    );
}

#[test]
fn several_logs_are_followed_together() {
    support::enter();
    let acme = log_file("wiki");
    let beta = acme.with_file_name("beta.log");
    append(&acme, &line(1, "stdout", "a"));
    append(&beta, "");
    // Its neighbours are of no concern.
    append(
        &acme.with_file_name("other.log"),
        &line(1, "stdout", "other"),
    );
    let child = tenantd(&["logs", "acme", "b*", "--app", "wiki", "--utc", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = Lines::of(child);
    lines.next("acme 2026-11-18T09:46:41.000000Z stdout  a");
    append(
        &acme.with_file_name("other.log"),
        &line(2, "stdout", "other"),
    );
    append(&beta, &line(3, "tenantd", "program exited with status 1"));
    lines.next("beta 2026-11-18T09:46:43.000000Z tenantd program exited with status 1");
    std::fs::rename(&acme, acme.with_extension("log.1")).unwrap();
    // A line is shown once it is complete.
    let (head, tail) = (line(4, "stdout", "half"), line(5, "stderr", "b"));
    let (begin, end) = head.split_at(36);
    append(&acme, begin);
    append(&beta, &tail);
    lines.next("beta 2026-11-18T09:46:45.000000Z stderr  b");
    append(&acme, end);
    lines.next("acme 2026-11-18T09:46:44.000000Z stdout  half");
}

#[test]
fn all_unknown_names_are_reported_with_the_nearest() {
    support::enter();
    append(&log_file("wiki"), "1\n");
    let output = run(&["logs", "acem", "shop-*", "acme", "--app", "wiki"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = "tenantd: error: \
        acem: no log file /var/log/tenantd/wiki/acem.log, did you mean `acme`?\n\
        shop-*: no log file /var/log/tenantd/wiki/shop-*.log: wiki: supervisor not running";
    assert!(text.starts_with(said), "{text}");
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let said = format!(
        "tenantd: error: 2 unknown tenants\n  acem: no such tenant, did you mean `acme`?\n  \
         zulu: no such tenant\nsee `tenantd status --app {app}` for its tenants\n"
    );
    expect(
        &run(&["logs", "acem", "beta", "zulu", "--app", &app]),
        1,
        "",
        &said,
    );
    for wrong in [
        &["logs"][..],
        &["logs", "--all", "acme"],
        &["logs", "a", "-S", "soon"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
