//! `exec` of groups with the right to run commands.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use super::{command, deputies, start, told};
use crate::support::daemon::{Daemon, signal, until};
use crate::terminal::Terminal;

/// Runs a shell script in acme.
fn runs(daemon: &Daemon, script: &str) -> crate::support::daemon::CommandOutput {
    told(daemon, "4242", &["exec", "acme", "--", "sh", "-c", script])
}

#[test]
fn a_command_runs_as_the_tenants_user_and_with_nothing_of_the_clients() {
    let daemon = start();
    let own = daemon.tell(&["exec", "acme", "--", "id", "-u"]).expect(0);
    assert!(own != "0\n" && own != "65534\n", "{own}");
    let said = runs(&daemon, "id -u; echo no >&2; exit 7");
    assert_eq!((said.code, said.out, &*said.err), (7, own, "no\n"));
    // The same as for root.
    let script = "env | sort; pwd; cat /proc/self/cgroup | sed 's/[^/]*$//'; readlink /proc/self/ns/*; ulimit -a; \
                  grep -v -e Speculation -e '^Pid' -e PPid -e Tgid -e Ngid -e NSpid -e Vm -e Rss -e switches -e NSpgid -e NSsid \
                  -e Cpus -e NStgid -e SigIgn -e SigQ /proc/self/status; ls /proc/self/fd | wc -l; ps -o ni=,cls= $$";
    let of_root = daemon
        .tell(&["exec", "acme", "--", "sh", "-c", script])
        .expect(0);
    assert_eq!(runs(&daemon, script).expect(0), of_root);
    // What the client has in its environment is not there, but for TERM.
    let mut env = command(&daemon, "4242", &["exec", "acme", "--", "env"]);
    let output = env
        .env("SECRET", "1")
        .env("TERM", "vt100")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("TERM=vt100\n") && !said.contains("SECRET"),
        "{said}"
    );
    let mut env = command(&daemon, "4242", &["exec", "acme", "--", "env"]);
    let output = env.env("TERM", "../../srv/data/x").output().unwrap();
    assert!(!String::from_utf8(output.stdout).unwrap().contains("TERM"));
    daemon.end();
}

#[test]
fn input_output_and_exit_codes_are_those_of_the_command() {
    let daemon = start();
    let text = "0123456789abcdef\n".repeat(100_000);
    fs::write("/srv/input", &text).unwrap();
    let mut cat = command(&daemon, "4242", &["exec", "acme", "--", "cat"]);
    let output = cat
        .stdin(File::open("/srv/input").unwrap())
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), text.len())
    );
    // A command that does not read all.
    let mut head = command(&daemon, "4242", &["exec", "acme", "--", "head", "-c", "3"]);
    let output = head
        .stdin(File::open("/srv/input").unwrap())
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(0), &b"012"[..])
    );
    for (script, code) in [("kill -9 $$", 137), ("exit 125", 125)] {
        assert_eq!(runs(&daemon, script).code, code, "{script}");
    }
    daemon.end();
}

#[test]
fn what_cannot_be_run_is_told_and_noted() {
    let daemon = start();
    runs(&daemon, "cat").expect(0);
    for (arguments, code, why) in [
        (
            &["acme", "--", "nothing-here"][..],
            127,
            "command not found in the tenant",
        ),
        (
            &["acme", "--", "/etc/passwd"],
            126,
            "cannot execute the command",
        ),
        (&["bolt", "--", "true"], 125, "permission denied"),
        (&["--user", "root", "acme", "--", "true"], 125, "need root"),
        (&["--offline", "acme", "--", "true"], 125, "need root"),
    ] {
        let refused = told(&daemon, "4242", &[&["exec"], arguments].concat());
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.err.contains(why), "{arguments:?}: {refused:?}");
    }
    let refused = told(&daemon, "4343", &["exec", "acme", "--", "true"]);
    let why = "none of your groups may run commands in acme";
    assert!(
        refused.code == 125 && refused.err.contains(why),
        "{refused:?}"
    );
    daemon.tell(&["stop", "acme"]).expect(0);
    let refused = told(&daemon, "4242", &["exec", "acme", "--", "true"]);
    assert!(
        refused.code == 125 && refused.err.contains("not running"),
        "{refused:?}"
    );

    let audit = format!("/var/log/tenantd/{}.audit", daemon.app);
    until("the commands are noted", || {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        let is = |outcome: &str, verb: &str| {
            let wanted = [
                format!("\"{outcome}\""),
                format!("\"{verb}\""),
                "[\"acme\"]".to_owned(),
            ];
            text.lines()
                .any(|line| wanted.iter().all(|it| line.contains(it)))
        };
        (is("done", "exec sh -c cat") && is("refused", "exec true") && is("failed", "exec true"))
            .then_some(())
    });
    daemon.end();
}

/// A command that says that it runs, and then waits.
fn waits(daemon: &Daemon, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let script = format!("{script}\necho ready $$; while :; do read line < /srv/data/never; done");
    let arguments = ["exec", "acme", "--", "sh", "-c", &script];
    let mut child = command(daemon, "4242", &arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("ready"), "{line:?}");
    (child, lines)
}

fn visitors(daemon: &Daemon) -> bool {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme/visitors", daemon.app);
    let events = fs::read_to_string(format!("{leaf}/cgroup.events")).unwrap_or_default();
    events.contains("populated 1")
}

fn fifo(daemon: &Daemon) {
    runs(daemon, "mkfifo /srv/data/never").expect(0);
}

#[test]
fn a_command_gets_signals_and_ends_with_its_client_or_its_right() {
    let daemon = start();
    fifo(&daemon);
    let (mut child, mut lines) = waits(&daemon, "trap 'echo got; exit 3' TERM");
    signal(child.id(), Signal::SIGTERM);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(
        (line.as_str(), child.wait().unwrap().code()),
        ("got\n", Some(3))
    );

    // It has also left a process behind, in a session of its own, that ignores SIGHUP.
    let (mut child, _lines) = waits(
        &daemon,
        "trap '' HUP; setsid sh -c 'read line < /srv/data/never' &",
    );
    assert!(visitors(&daemon));
    child.kill().unwrap();
    child.wait().unwrap();
    until("nothing is left", || {
        (!visitors(&daemon) && deputies(&daemon).is_empty()).then_some(())
    });

    let (child, _lines) = waits(&daemon, "trap '' TERM HUP");
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, text.replace("\"exec\"", "\"kill\"")).unwrap();
    daemon.tell(&["reload"]).expect(0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    until("nothing is left", || {
        (!visitors(&daemon) && deputies(&daemon).is_empty()).then_some(())
    });
    assert_eq!(runs(&daemon, "true").code, 125);
    daemon.end();
}

/// An upgrade, a death and a restart of the program.
#[test]
fn a_command_outlives_the_supervisor_and_not_the_program() {
    let mut daemon = start();
    fifo(&daemon);
    let (mut child, _lines) = waits(&daemon, "true");
    daemon.tell(&["upgrade"]).expect(0);
    daemon.kill();
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(visitors(&daemon));
    daemon.again();
    assert_eq!(child.try_wait().unwrap(), None);
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(child.wait().unwrap().code(), Some(129));
    daemon.end();
}

/// Types a text on its controlling terminal, see TIOCSTI in `ioctl_tty(2)`.
const INJECT: &str = r#"perl -e 'open(T, "+<", "/dev/tty"); for (split(//, "injected\n")) { ioctl(T, 0x5412, $_) }'"#;

const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --groups 4242 TENANTD exec acme --";

#[test]
fn a_command_on_a_terminal_has_one_of_its_own() {
    let daemon = start();
    let script = format!("{NOBODY} {INJECT}; echo ran; read line; echo got:$line");
    let mut terminal = Terminal::run(&daemon, &script);
    terminal.shows("ran");
    terminal.types("typed\n");
    let shown = terminal.shows("got:");
    assert!(!shown.contains("got:injected"), "{shown}");
    terminal.shows("got:typed");
    assert_eq!(terminal.code(), Some(0));

    let script = format!(
        "tty; {NOBODY} sh -c 'tty; stty size; read a; echo got:$a; read b; stty size; exit 4'; echo code:$?"
    );
    let mut terminal = Terminal::run(&daemon, &script);
    let shown = terminal.shows("30 90");
    let names: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("/dev/pts"))
        .collect();
    assert!(names.len() < 2 || names[0] != names[1], "{shown}");
    terminal.types("one\r");
    terminal.shows("got:one");
    terminal.resizes(40, 100);
    terminal.types("two\r");
    terminal.shows("40 100");
    terminal.shows("code:4");
    assert_eq!(terminal.code(), Some(0));

    // Ctrl-C is for the command. What is typed before it runs is lost, as on any terminal.
    let script = format!("{NOBODY} sh -c 'echo ready; exec cat'; echo code:$?");
    let mut terminal = Terminal::run(&daemon, &script);
    terminal.shows("ready");
    terminal.types("\x03");
    terminal.shows("code:130");
    until("nothing is left", || {
        (!visitors(&daemon) && deputies(&daemon).is_empty()).then_some(())
    });
    daemon.end();
}
