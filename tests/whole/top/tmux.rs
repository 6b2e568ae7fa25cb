//! A terminal with a screen: tmux(1) in control mode, which tells when a program has written something.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use crate::support::app_name;
use crate::support::daemon::LIMIT;

/// A server of tmux with one window.
pub(super) struct Tmux {
    control: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Whether the screen may have changed since it was looked at.
    is_changed: bool,
}

impl Tmux {
    /// Runs a command of the shell on a screen of this many columns and lines.
    pub(super) fn start((columns, rows): (u16, u16), command: &str) -> Self {
        let mut control = Command::new("tmux");
        control.args(["-L", &app_name()]);
        control.args(["-f", "/dev/null", "-C", "new-session"]);
        control.args(["-x", &columns.to_string(), "-y", &rows.to_string()]);
        // What the command ended with stays on the screen.
        control.arg(format!(
            "trap : INT; {command}; echo ended with $?; exec sleep 1000000"
        ));
        control.env("SHELL", "/bin/sh").env("LC_ALL", "C.UTF-8");
        for name in ["NO_COLOR", "TMUX", "TENANTD_APP", "TENANTD_CONFIG"] {
            control.env_remove(name);
        }
        let mut control = control
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(control.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let input = control.stdin.take().unwrap();
        let mut tmux = Self {
            control,
            input,
            lines,
            is_changed: true,
        };
        tmux.resize(columns, rows);
        tmux
    }

    /// The next line that tmux says.
    #[track_caller]
    fn next(&mut self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => {
                self.is_changed |= line.starts_with("%output") || line.starts_with("%layout");
                line
            }
            Err(RecvTimeoutError::Timeout) => panic!("tmux says nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("tmux has ended"),
        }
    }

    /// Sends a command of tmux, and returns its output.
    #[track_caller]
    fn tell(&mut self, command: &str) -> String {
        // A line that no other command says marks the end.
        writeln!(self.input, "display-message -p begin-of-answer").unwrap();
        writeln!(self.input, "{command}").unwrap();
        writeln!(self.input, "display-message -p end-of-answer").unwrap();
        while self.next() != "begin-of-answer" {}
        let mut said = Vec::new();
        loop {
            let line = self.next();
            if line == "end-of-answer" {
                return said.join("\n");
            }
            if !line.starts_with('%') {
                said.push(line);
            }
        }
    }

    /// What the screen shows now, line by line.
    #[track_caller]
    pub(super) fn screen(&mut self) -> String {
        self.tell("capture-pane -p")
    }

    /// What it shows, with the sequences for colours.
    #[track_caller]
    pub(super) fn styled(&mut self) -> String {
        self.tell("capture-pane -p -e")
    }

    /// Waits until the screen is so: looks again each time that something was written to it.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            self.is_changed = false;
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < LIMIT, "still not so: {what}:\n{screen}");
            while !self.is_changed {
                self.next();
            }
        }
    }

    /// Waits until the screen shows this.
    #[track_caller]
    pub(super) fn shows(&mut self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Presses keys, by their names for tmux.
    #[track_caller]
    pub(super) fn press(&mut self, keys: &[&str]) {
        for key in keys {
            self.tell(&format!("send-keys {}", quoted(key)));
        }
    }

    /// Types a line.
    #[track_caller]
    pub(super) fn line(&mut self, text: &str) {
        self.tell(&format!("send-keys -l {}", quoted(text)));
        self.press(&["Enter"]);
    }

    #[track_caller]
    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        self.tell(&format!("refresh-client -C {columns}x{rows}"));
        self.tell(&format!("resize-window -x {columns} -y {rows}"));
    }

    /// The exit code of the command, once it has ended.
    #[track_caller]
    pub(super) fn ended(&mut self) -> Option<i32> {
        let screen = self.shows("ended with ");
        let (_, code) = screen.split_once("ended with ")?;
        code.lines().next()?.trim().parse().ok()
    }

    /// The process of this program in the foreground of the screen.
    #[track_caller]
    pub(super) fn pid_of(&mut self, program: &str) -> u32 {
        let terminal = self.tell("display-message -p '#{pane_tty}'");
        let terminal = terminal.trim().trim_start_matches("/dev/");
        let listed = Command::new("ps")
            .args(["-t", terminal, "-o", "pid=,args="])
            .output()
            .unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut lines = listed.lines().map(str::trim_start);
        let line = lines.find(|line| line.split_whitespace().nth(1) == Some(program));
        let line = line.unwrap_or_else(|| panic!("{program}: {listed}"));
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// A word as tmux reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It ends with its server.
        let _ = writeln!(self.input, "kill-server");
        let _ = self.control.wait();
    }
}
