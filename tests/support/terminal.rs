//! Commands on a real terminal: a pseudo-terminal of a given size, and a terminal emulator that
//! interprets what they write, so that a test sees what a person would see.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::daemon::{LIMIT, ends, pidfd};

/// The height of every terminal.
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();

/// How many lines above the screen are kept.
const SCROLLBACK: usize = 2000;

/// A command that runs on a terminal of its own.
pub struct Terminal {
    master: File,
    child: Child,
    parser: vt100::Parser,
    /// Everything that was written, with all control sequences.
    pub raw: Vec<u8>,
}

impl Terminal {
    /// Starts a command on a terminal of this many columns and 24 lines.
    pub fn start(columns: u16, program: &str, arguments: &[&str], colours: bool) -> Self {
        let size = Winsize {
            ws_row: ROWS.get(),
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        // setsid(1) makes the terminal the controlling one, so that Ctrl-C reaches the command.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", program]).args(arguments);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        if !colours {
            command.env("NO_COLOR", "1");
        }
        let child = command
            .stdin(slave(&pty.slave))
            .stdout(slave(&pty.slave))
            .stderr(slave(&pty.slave))
            .spawn()
            .unwrap();
        Self {
            master: File::from(pty.master),
            child,
            parser: vt100::Parser::new(ROWS, NonZero::new(columns).unwrap(), SCROLLBACK),
            raw: Vec::new(),
        }
    }

    /// Reads on until the screen contains this.
    #[track_caller]
    pub fn until(&mut self, shown: &str) {
        while !self.parser.screen().contents().contains(shown) {
            let reads = self.read();
            assert!(reads, "{shown:?} does not appear: {}", self.text());
        }
    }

    /// Types these characters.
    pub fn type_in(&mut self, typed: &str) {
        self.master.write_all(typed.as_bytes()).unwrap();
    }

    /// Reads on to the end of the command. Returns its exit code.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        while self.read() {}
        assert!(ends(&pidfd(self.child.id()), LIMIT));
        self.child.wait().unwrap()
    }

    /// All lines that were shown and not overwritten, without the spaces at their ends.
    pub fn text(&mut self) -> String {
        let columns = self.parser.screen().size().1.get();
        let screen = self.parser.screen_mut();
        let mut lines = Vec::new();
        screen.set_scrollback(usize::MAX);
        for above in (1..=screen.scrollback()).rev() {
            screen.set_scrollback(above);
            lines.extend(screen.rows(0, columns).next());
        }
        screen.set_scrollback(0);
        lines.extend(screen.rows(0, columns));
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        lines.join("\n").trim_end().to_owned() + "\n"
    }

    /// Waits for output and interprets it. False once the command has closed the terminal.
    #[track_caller]
    fn read(&mut self) -> bool {
        let begun = Instant::now();
        let limit = Timespec::try_from(LIMIT).unwrap();
        let mut coming = [PollFd::new(&self.master, PollFlags::IN)];
        let ready = poll(&mut coming, Some(&limit)).unwrap();
        assert!(
            ready > 0,
            "no output for {:?}: {}",
            begun.elapsed(),
            self.text()
        );
        let mut bytes = [0; 16 * 1024];
        // EIO: no process has the other end open.
        let Ok(count @ 1..) = self.master.read(&mut bytes) else {
            return false;
        };
        self.parser.process(&bytes[..count]);
        self.raw.extend_from_slice(&bytes[..count]);
        true
    }
}

fn slave(slave: &OwnedFd) -> Stdio {
    slave.as_fd().try_clone_to_owned().unwrap().into()
}
