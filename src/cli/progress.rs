//! Prints the outcomes of a command as they come, and a summary.
//!
//! On a terminal, one line of progress is drawn again and again, and failures are printed at once;
//! the others too if they are few. Otherwise there is one line per tenant.

pub(super) mod bar;
mod summary;

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use self::bar::Bar;
use anyhow::Context;

use super::args::Show;
use super::interrupts::Interrupts;
use super::outcome::{self, Outcome};
use super::wrap::wrapped;
use tenantd_api::client::watch::{self, Waiting};
use tenantd_api::wire::{LogPlace, Verb};
use tenantd_core::name::{AppName, TenantName};

/// Up to this many tenants, a terminal shows a line for each.
const FEW: usize = 10;

/// What a command does, in the words of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Start,
    Stop,
    Restart,
    Kill,
    Pause,
    Resume,
    Hibernate,
    ReloadApp,
    Reload,
    Add,
    Remove,
    Set,
}

impl Doing {
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Hibernate => "hibernate",
            Self::ReloadApp => "reload-app",
            Self::Reload => "reload",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Set => "set",
        }
    }

    /// While it is under way.
    pub(super) fn present(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Stop => "stopping",
            Self::Restart => "restarting",
            Self::Kill => "signalling",
            Self::Pause | Self::Hibernate => "pausing",
            Self::Resume => "resuming",
            Self::ReloadApp => "reloading",
            Self::Reload | Self::Add | Self::Remove | Self::Set => "changing",
        }
    }

    /// Of a tenant for which it is done.
    fn past(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Kill => "signalled",
            Self::Pause | Self::Hibernate => "paused",
            Self::Resume => "resumed",
            Self::ReloadApp => "reloaded",
            Self::Reload | Self::Add | Self::Remove | Self::Set => "changed",
        }
    }
}

impl From<Verb> for Doing {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Start => Self::Start,
            Verb::Stop => Self::Stop,
            Verb::Restart => Self::Restart,
        }
    }
}

/// Which outcomes are printed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    All,
    Failures,
    None,
}

/// The outcomes of one command.
pub(super) struct Progress<'a> {
    app: &'a AppName,
    doing: Doing,
    show: Show,
    lines: Lines,
    out: Box<dyn Write + 'a>,
    bar: Option<Bar<'a>>,
    total: usize,
    outcomes: Vec<Outcome>,
    /// What an interrupted command says, instead of naming those that it did not wait for.
    hint: Option<String>,
    logs: Option<LogPlace>,
}

impl<'a> Progress<'a> {
    /// For this number of tenants.
    pub(super) fn new(app: &'a AppName, doing: Doing, total: usize, show: Show) -> Self {
        let on_terminal = io::IsTerminal::is_terminal(&io::stdout());
        let out = Box::new(anstream::stdout());
        Self::on(out, on_terminal, app, doing, total, show).with(Bar::on_terminal())
    }

    fn on(
        out: Box<dyn Write + 'a>,
        on_terminal: bool,
        app: &'a AppName,
        doing: Doing,
        total: usize,
        show: Show,
    ) -> Self {
        let lines = match (show, on_terminal) {
            (Show { json: true, .. }, _) => Lines::None,
            (Show { quiet: true, .. }, _) => Lines::Failures,
            (_, true) if total > FEW => Lines::Failures,
            (_, true | false) => Lines::All,
        };
        Self {
            app,
            doing,
            show,
            lines,
            out,
            bar: None,
            total,
            outcomes: Vec::new(),
            hint: None,
            logs: None,
        }
    }

    /// With a line of progress, where one is wanted.
    fn with(self, bar: Option<Bar<'a>>) -> Self {
        let bar = bar.filter(|_| !self.show.json && !self.show.quiet);
        Self { bar, ..self }
    }

    /// Takes the outcome of a tenant, and prints it if it is to be printed.
    pub(super) fn settled(&mut self, outcome: Outcome) -> io::Result<()> {
        let failed = outcome.became.is_failure();
        let shown = match self.lines {
            Lines::All => true,
            Lines::Failures => failed,
            Lines::None => false,
        };
        if shown {
            let line = outcome.line();
            match failed {
                true => self.failure(&line)?,
                false => self.line(&line)?,
            }
        }
        self.left(outcome);
        self.draw(false)
    }

    /// Takes the outcome of a tenant, and does not print it.
    pub(super) fn left(&mut self, outcome: Outcome) {
        // A tenant that became ready may have failed since.
        self.outcomes.retain(|known| known.tenant != outcome.tenant);
        self.outcomes.push(outcome);
    }

    /// The tenants that failed or were refused.
    pub(super) fn failed(&self) -> impl Iterator<Item = &TenantName> {
        let failed = self.outcomes.iter().filter(|o| o.became.is_failure());
        let mut failed: Vec<_> = failed.map(|outcome| &outcome.tenant).collect();
        // They failed in any order.
        failed.sort_unstable();
        failed.into_iter()
    }

    /// Where the output of the tenants goes, if that is known.
    pub(super) fn logs_in(&mut self, place: Option<LogPlace>) {
        self.logs = place;
    }

    /// Has an interrupted command print this, after its summary.
    pub(super) fn hint_if_interrupted(&mut self, hint: String) {
        self.hint = Some(hint);
    }

    /// Prints a line on standard error, whatever is shown.
    pub(super) fn notice(&mut self, line: &str) -> io::Result<()> {
        if let Some(bar) = &mut self.bar {
            bar.clear()?;
        }
        writeln!(io::stderr(), "{}", wrapped(line, &io::stderr()))
    }

    /// Prints a line for people: not with `--json`, nor with `--quiet`.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        match self.show.json || self.show.quiet {
            true => Ok(()),
            false => self.line(line),
        }
    }

    /// Prints why the command fails, unless with `--json`.
    pub(super) fn say_failure(&mut self, line: &str) -> io::Result<()> {
        match self.show.json {
            true => Ok(()),
            false => self.failure(line),
        }
    }

    fn failure(&mut self, line: &str) -> io::Result<()> {
        let wrong = Style::new().fg_color(Some(AnsiColor::Red.into()));
        self.line(&format!("{wrong}{line}{wrong:#}"))
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        if let Some(bar) = &mut self.bar {
            bar.clear()?;
        }
        writeln!(self.out, "{}", wrapped(line, &io::stdout()))?;
        self.out.flush()
    }

    /// Sets what the line of progress says before its numbers.
    pub(super) fn note(&mut self, note: String) -> io::Result<()> {
        if let Some(bar) = &mut self.bar {
            bar.note = note;
        }
        self.draw(true)
    }

    /// How long the line of progress may stay as it is.
    pub(super) fn redraw_in(&self) -> Duration {
        self.bar.as_ref().map_or(Duration::MAX, Bar::due_in)
    }

    /// Draws the line of progress, unless it was drawn a moment ago.
    pub(super) fn draw(&mut self, now: bool) -> io::Result<()> {
        let Some(bar) = &mut self.bar else {
            return Ok(());
        };
        let failed = self.outcomes.iter().filter(|o| o.became.is_failure());
        let failed = failed.count();
        let done = self.outcomes.len() - failed;
        let waiting = self.total.saturating_sub(self.outcomes.len());
        let note = match bar.note.is_empty() {
            true => self.doing.present(),
            false => &bar.note,
        };
        let tenants = outcome::tenants(self.total);
        let text = format!("{note} {tenants}: {done} done, {waiting} waiting, {failed} failed");
        bar.draw(&text, now)
    }
}

/// Prints the outcome of each tenant that is waited for. Returns false if it was interrupted; the
/// wait may then be continued.
pub(super) async fn follow(
    progress: &mut Progress<'_>,
    waiting: &mut Waiting,
    interrupts: &mut Interrupts,
    mut judge: impl FnMut(watch::Became) -> Outcome,
) -> anyhow::Result<bool> {
    progress.draw(true)?;
    loop {
        let redraw = tokio::time::sleep(progress.redraw_in());
        tokio::select! {
            biased;
            interrupted = interrupts.next() => {
                interrupted.context("cannot receive signals")?;
                return Ok(false);
            }
            became = waiting.next() => match became? {
                Some(became) => progress.settled(judge(became))?,
                None => return Ok(true),
            },
            () = redraw => progress.draw(false)?,
        }
    }
}

#[cfg(test)]
mod tests;
