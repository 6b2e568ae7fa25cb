//! The line of progress on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

/// How long the line stays as it is if nothing happens; the elapsed time in it changes.
const TICK: Duration = Duration::from_secs(1);

/// The shortest time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

/// Terminal sequence: to the beginning of the line, and clear it.
const CLEAR: &str = "\r\x1b[K";

pub(in super::super) struct Bar<'a> {
    out: Box<dyn Write + 'a>,
    /// What the command does now, instead of the verb.
    pub(super) note: String,
    width: fn() -> usize,
    begun: Instant,
    drawn: Option<Instant>,
    /// Whether something has happened since it was drawn.
    stale: bool,
}

impl<'a> Bar<'a> {
    /// On standard error if that is a terminal, else on standard output if that is one. A terminal
    /// that cannot clear a line (`TERM=dumb`) has none.
    pub(in super::super) fn on_terminal() -> Option<Self> {
        if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            return None;
        }
        if io::stderr().is_terminal() {
            return Some(Self::on(Box::new(io::stderr()), || width(io::stderr())));
        }
        let is_terminal = io::stdout().is_terminal();
        is_terminal.then(|| Self::on(Box::new(io::stdout()), || width(io::stdout())))
    }

    pub(super) fn on(out: Box<dyn Write + 'a>, width: fn() -> usize) -> Self {
        Self {
            out,
            note: String::new(),
            width,
            begun: Instant::now(),
            drawn: None,
            stale: true,
        }
    }

    pub(super) fn due_in(&self) -> Duration {
        let pause = if self.stale { PAUSE } else { TICK };
        self.drawn.map_or(Duration::ZERO, |drawn| {
            pause.saturating_sub(drawn.elapsed())
        })
    }

    /// Draws the line, unless it was drawn a moment ago.
    pub(in super::super) fn draw(&mut self, text: &str, now: bool) -> io::Result<()> {
        self.stale = true;
        if !now && !self.due_in().is_zero() {
            return Ok(());
        }
        let seconds = self.begun.elapsed().as_secs();
        let text = match seconds {
            0 => text.to_owned(),
            _ => format!("{text} ({seconds} s)"),
        };
        // A line that is wrapped could not be cleared.
        let text: String = text.chars().take((self.width)() - 1).collect();
        write!(self.out, "{CLEAR}{text}")?;
        self.out.flush()?;
        self.drawn = Some(Instant::now());
        self.stale = false;
        Ok(())
    }

    /// Clears it, so that a line can be printed in its place.
    pub(in super::super) fn clear(&mut self) -> io::Result<()> {
        if self.drawn.take().is_some() {
            write!(self.out, "{CLEAR}")?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// The width of a terminal; the usual one, if it does not report any.
fn width(terminal: impl std::os::fd::AsFd) -> usize {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        Ok(_) | Err(_) => 80,
    }
}
