//! `exec` on a terminal: the tenant gets one of its own, never the operator's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::guestbook::three;
use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal, until};

/// The terminal of an operator, on which one command runs in a session of its own.
pub(super) struct Terminal {
    master: File,
    slave: OwnedFd,
    shown: Arc<Mutex<String>>,
    command: Child,
}

impl Terminal {
    /// Runs a shell script. `TENANTD` in it is the program for this daemon.
    pub(super) fn run(daemon: &Daemon, script: &str) -> Self {
        let pair = openpty(None, None).unwrap();
        resize(&pair.slave, 30, 90);
        let script = script.replace("TENANTD", &format!("{PROGRAM} --app {}", daemon.app));
        let stdio = || pair.slave.try_clone().unwrap();
        let command = Command::new("setsid")
            .args(["--ctty", "--wait", "sh", "-c", &script])
            .env("TERM", "vt100")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let master = File::from(pair.master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, text) = (master.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            // EIO once nobody has the other end open.
            while let Ok(length) = reader.read(&mut bytes) {
                let read = String::from_utf8_lossy(&bytes[..length]).into_owned();
                text.lock().unwrap().push_str(&read);
            }
        });
        Self {
            master,
            slave: pair.slave,
            shown,
            command,
        }
    }

    pub(super) fn resizes(&self, rows: u16, columns: u16) {
        resize(&self.slave, rows, columns);
    }

    pub(super) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows a text, and returns all that it shows.
    #[track_caller]
    pub(super) fn shows(&self, wanted: &str) -> String {
        until(&format!("the terminal shows {wanted}"), || {
            let shown = self.shown.lock().unwrap().clone();
            shown.contains(wanted).then_some(shown)
        })
    }

    /// The number after `NAME=` that it shows.
    fn number(&self, name: &str) -> u32 {
        until(name, || {
            let shown = self.shown.lock().unwrap().clone();
            let (_, rest) = shown.split_once(&format!("{name}="))?;
            let (number, _) = rest.split_once('\r')?;
            number.parse().ok()
        })
    }

    pub(super) fn code(&mut self) -> Option<i32> {
        self.command.wait().unwrap().code()
    }

    fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.slave).unwrap())
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

/// Types a text on its controlling terminal, see TIOCSTI in `ioctl_tty(2)`.
const INJECT: &str = r#"perl -e 'open(T, "+<", "/dev/tty"); for (split(//, "injected\n")) { ioctl(T, 0x5412, $_) }'"#;

#[test]
fn a_tenant_cannot_type_on_the_operators_terminal() {
    let daemon = three();
    let script = format!("TENANTD exec acme -- {INJECT}; echo ran; read line; echo got:$line");
    let mut terminal = Terminal::run(&daemon, &script);
    terminal.shows("ran");
    terminal.types("typed\n");
    let shown = terminal.shows("got:");
    assert!(!shown.contains("got:injected"), "{shown}");
    terminal.shows("got:typed");
    assert_eq!(terminal.code(), Some(0));
    daemon.end();
}

#[test]
fn without_a_terminal_a_command_has_no_controlling_terminal() {
    let daemon = three();
    let script = "TENANTD exec acme -- sh -c '(: >/dev/tty) || echo none' </dev/null 2>&1 | cat";
    let mut terminal = Terminal::run(&daemon, script);
    terminal.shows("none");
    assert_eq!(terminal.code(), Some(0));
    daemon.end();
}

#[test]
fn a_command_has_a_terminal_of_its_own() {
    let daemon = three();
    let script = "TENANTD exec acme -- sh -c 'tty; stty size; echo $TERM; read line; \
                  echo line:$line; stty size; exit 7'; echo code:$?";
    let mut terminal = Terminal::run(&daemon, script);
    let before = terminal.settings();
    let shown = terminal.shows("vt100");
    let own = nix::unistd::ttyname(&terminal.slave).unwrap();
    assert!(!shown.contains(&format!("{}\r", own.display())), "{shown}");
    assert!(shown.contains("30 90"), "{shown}");
    resize(&terminal.slave, 40, 100);
    terminal.types("hello\n");
    terminal.shows("line:hello");
    terminal.shows("40 100");
    terminal.shows("code:7");
    assert_eq!(terminal.code(), Some(0));
    assert_eq!(terminal.settings(), before);
    daemon.end();
}

#[test]
fn keys_that_send_signals_reach_the_command_only() {
    let daemon = three();
    let script = "TENANTD exec acme -- sh -c 'trap \"echo trapped; exit 3\" INT; echo ready; \
                  while :; do sleep 0.1; done'; echo code:$?";
    let mut terminal = Terminal::run(&daemon, script);
    terminal.shows("ready");
    terminal.types("\x03");
    terminal.shows("trapped");
    terminal.shows("code:3");
    assert_eq!(terminal.code(), Some(0));
    let mut killed = Terminal::run(
        &daemon,
        "TENANTD exec acme -- sh -c 'kill -9 $$'; echo code:$?",
    );
    killed.shows("code:137");
    assert_eq!(killed.code(), Some(0));
    daemon.end();
}

#[test]
fn all_of_a_command_ends_with_it() {
    let daemon = three();
    let script = "TENANTD exec acme -- sh -c \
                  'trap \"\" HUP; (setsid sleep 1000) & echo left=$!; sleep 1000 & echo also=$!'";
    let mut terminal = Terminal::run(&daemon, script);
    let left = [terminal.number("left"), terminal.number("also")];
    terminal.code();
    for pid in left {
        // It may be a zombie of a process that does not wait for it.
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        let opened = pidfd_open(pid, PidfdFlags::empty());
        assert!(
            opened.is_err() || ends(&opened.unwrap(), Duration::ZERO),
            "{pid:?} is left"
        );
    }
    daemon.end();
}

/// Ends `exec` by a signal: the terminal is as it was, and the command has ended.
fn ended_by(which: Signal) {
    let daemon = three();
    // A shell without job control gives a background job no terminal to read.
    let script = "exec 3<&0; TENANTD exec acme -- sh -c 'trap \"\" TERM; echo inside=$$; \
                  while :; do sleep 0.1; done' <&3 & \
                  exec=$!; echo exec=$exec; wait $exec; echo code:$?";
    let mut terminal = Terminal::run(&daemon, script);
    let before = terminal.settings();
    let inside = pidfd(terminal.number("inside"));
    assert_ne!(terminal.settings(), before, "it is in raw mode");
    signal(terminal.number("exec"), which);
    terminal.shows(&format!("code:{}", 128 + which as i32));
    assert!(ends(&inside, LIMIT));
    assert_eq!(terminal.settings(), before);
    assert_eq!(terminal.code(), Some(0));
    daemon.end();
}

#[test]
fn sigterm_restores_the_terminal() {
    ended_by(Signal::SIGTERM);
}

#[test]
fn sighup_restores_the_terminal() {
    ended_by(Signal::SIGHUP);
}

#[test]
fn the_end_of_the_tenant_restores_the_terminal() {
    let daemon = three();
    let script = "TENANTD exec acme -- sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.1; \
                  done'; echo code:$?";
    let mut terminal = Terminal::run(&daemon, script);
    let before = terminal.settings();
    terminal.shows("ready");
    daemon.tell(&["stop", "acme"]).expect(0);
    terminal.shows("code:129");
    assert_eq!(terminal.settings(), before);
    assert_eq!(terminal.code(), Some(0));
    daemon.end();
}
