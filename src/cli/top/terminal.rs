//! The operator's terminal while `top` draws on it. Dropping it restores the terminal, and a panic does,
//! which drops nothing.

use std::io::{self, Write, stdin, stdout};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize,
    tcsetattr,
};

use super::draw::{Line, Screen, Style};
use crate::cli::exec::terminal::restore;

/// Shows the alternate screen, without a cursor, and does not continue a long line on the next one.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";

/// Undoes that.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The usual size, for a terminal that does not report one.
const USUAL: (u16, u16) = (80, 24);

/// The terminal.
pub(super) struct Terminal {
    saved: Arc<Termios>,
    /// Whether it is drawn on now. The hook for a panic knows too.
    is_entered: Arc<AtomicBool>,
    is_coloured: bool,
    is_unicode: bool,
    /// The lines that it shows.
    shown: Vec<Line>,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Those of tcgetattr(3), tcsetattr(3) and of writing to it.
    pub(super) fn enter() -> io::Result<Self> {
        let saved = Arc::new(tcgetattr(stdin())?);
        let mut terminal = Self {
            saved: Arc::clone(&saved),
            is_entered: Arc::new(AtomicBool::new(false)),
            is_coloured: AutoStream::choice(&stdout()) != ColorChoice::Never,
            is_unicode: is_unicode(|name| std::env::var(name).ok()),
            shown: Vec::new(),
        };
        let (is_entered, before) = (Arc::clone(&terminal.is_entered), panic::take_hook());
        panic::set_hook(Box::new(move |panicked| {
            leave(&is_entered, &saved);
            before(panicked);
        }));
        terminal.again()?;
        Ok(terminal)
    }

    /// Takes it again, after it was left, or after a shell has changed it.
    ///
    /// # Errors
    /// Those of tcsetattr(3) and of writing to it.
    pub(super) fn again(&mut self) -> io::Result<()> {
        let mut settings = Termios::clone(&self.saved);
        // Ctrl-C and Ctrl-Z still send signals.
        let line = LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        settings.local_modes.remove(line);
        let translated = InputModes::ICRNL | InputModes::INLCR | InputModes::IXON;
        settings.input_modes.remove(translated);
        // A read returns what is there, and never waits.
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Drain, &settings)?;
        self.is_entered.store(true, Ordering::SeqCst);
        self.forget();
        write(ENTER)
    }

    /// Restores it, until [`Terminal::again`].
    pub(super) fn leave(&self) {
        leave(&self.is_entered, &self.saved);
    }

    /// Its size, and what it can show.
    pub(super) fn screen(&self) -> Screen {
        let size = tcgetwinsize(stdout()).map(|size| (size.ws_col, size.ws_row));
        let (width, height) = match size {
            Ok((width, height)) if width > 0 && height > 0 => (width, height),
            Ok(_) | Err(_) => USUAL,
        };
        Screen {
            width: width.into(),
            height: height.into(),
            is_unicode: self.is_unicode,
        }
    }

    /// Draws everything the next time: another program wrote to it, or its size is another.
    pub(super) fn forget(&mut self) {
        self.shown.clear();
    }

    /// Draws the lines that differ from those that it shows.
    ///
    /// # Errors
    /// Those of writing to it.
    pub(super) fn draw(&mut self, lines: Vec<Line>) -> io::Result<()> {
        let mut text = String::new();
        if self.shown.len() != lines.len() {
            self.shown.clear();
            text.push_str("\x1b[H\x1b[2J");
        }
        for (place, line) in lines.iter().enumerate() {
            if self.shown.get(place) == Some(line) {
                continue;
            }
            let (begin, end) = match self.is_coloured {
                true => (colour(line.style), "\x1b[0m"),
                false => ("", ""),
            };
            // Cleared first: after a line of the full width the cursor is still on its last character.
            text += &format!("\x1b[{};1H\x1b[K{begin}{}{end}", place + 1, line.text);
        }
        self.shown = lines;
        match text.is_empty() {
            true => Ok(()),
            false => write(&text),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

fn leave(is_entered: &AtomicBool, saved: &Termios) {
    if is_entered.swap(false, Ordering::SeqCst) {
        // A terminal that was hung up shows nothing any more. The lock of standard output may be held by
        // what panics, so it is not taken.
        let _ = rustix::io::write(rustix::stdio::stdout(), LEAVE.as_bytes());
        restore(saved);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// See `console_codes(4)`.
fn colour(style: Style) -> &'static str {
    match style {
        Style::Plain => "",
        Style::Head => "\x1b[1m",
        Style::Chosen => "\x1b[7m",
        Style::Bad => "\x1b[31m",
        Style::Warned => "\x1b[33m",
        Style::Faint => "\x1b[2m",
    }
}

/// Whether the locale has all characters, by its variables. See locale(7).
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let set = names.into_iter().filter_map(variable);
    let mut set = set.filter(|value| !value.is_empty());
    set.next().is_some_and(|locale| {
        let locale = locale.to_ascii_uppercase();
        locale.ends_with("UTF-8") || locale.ends_with("UTF8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_tells_which_characters_there_are() {
        let of = |all: &'static str, lang: &'static str| {
            is_unicode(|name| match name {
                "LC_ALL" => Some(all.to_owned()),
                "LANG" => Some(lang.to_owned()),
                _ => None,
            })
        };
        assert!(of("", "en_GB.UTF-8") && of("C.utf8", "C"));
        assert!(!of("C", "en_GB.UTF-8") && !of("", "") && !is_unicode(|_| None));
    }
}
