//! What the keys of `top` do: the board and a key make a changed board, and perhaps an action. Pure.

use super::board::{Board, Mode};
use super::keys::Key;
use super::request::Request;
use tenantd_api::wire::Verb;
use tenantd_core::name::TenantName;

/// What a key asks for that the board cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Draw everything again.
    Redraw,
    /// Send this request.
    Act(Request, TenantName),
    /// Follow the log of the tenant.
    Logs(TenantName),
    /// Ask why the tenant is in its state.
    Why(TenantName),
}

/// The text of the key `?`.
const KEYS: &str = "\
up, down, k, j    choose a tenant, as PageUp, PageDown, Home and End do
Escape            choose none, and show the beginning
s                 start the chosen tenant
x                 stop it, after y
r                 restart it, after y
p                 pause it, after y; let it continue
l                 follow its log, until Ctrl-C
w, Enter          show why it is in its state, its last error and what to type
/                 show only tenants with a text in their name, or in a state
f                 show only tenants that are not as wanted, or all
o, O              sort by the next column, by the previous one
i                 invert the order
Ctrl-L            draw the screen again
q                 quit

CPU%      processor time, in percent of one processor
MEM       memory that the kernel counts for the tenant's cgroup
RSS       instead of MEM where it does not: resident memory of its processes;
          what several of them share counts several times
IN, OUT   bytes per second that the tenant receives and sends
TREND     CPU% of the last measurements, the latest at the right; the full
          height is the largest of them, and at least 10
K, M, G   1024, 1024 times that, and so on; - is not known";

impl Board {
    /// Takes a key.
    pub(super) fn key(&mut self, key: Key) -> Option<Action> {
        if key == Key::Redraw {
            return Some(Action::Redraw);
        }
        match self.mode.clone() {
            Mode::Table => self.in_table(key),
            Mode::Filter(before) => self.in_filter(key, before),
            Mode::Confirm(request, tenant) => self.confirmed(key, (request, tenant)),
            Mode::Text(lines, first) => self.in_text(key, lines, first),
        }
    }

    fn in_table(&mut self, key: Key) -> Option<Action> {
        self.said = None;
        let page = isize::try_from(self.page).unwrap_or(isize::MAX);
        match key {
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-page),
            Key::PageDown => self.step(page),
            Key::Home | Key::Char('g') => self.step(isize::MIN),
            Key::End | Key::Char('G') => self.last(),
            Key::Escape => self.choose_none(),
            Key::Char('/') => self.mode = Mode::Filter(self.filter.clone()),
            Key::Char('f') => self.only_bad = !self.only_bad,
            Key::Char('o') => self.sort = self.sort.beside(true),
            Key::Char('O') => self.sort = self.sort.beside(false),
            Key::Char('i') => self.is_inverted = !self.is_inverted,
            Key::Char('?' | 'h') => self.show(KEYS.lines().map(str::to_owned).collect()),
            Key::Char('q') => return Some(Action::Quit),
            Key::Char('s') => {
                return Some(Action::Act(Request::Act(Verb::Start), self.chosen()?));
            }
            Key::Char('x') => self.confirm(Request::Act(Verb::Stop))?,
            Key::Char('r') => self.confirm(Request::Act(Verb::Restart))?,
            Key::Char('p') if self.is_paused() => {
                return Some(Action::Act(Request::Resume, self.chosen()?));
            }
            Key::Char('p') => self.confirm(Request::Pause)?,
            Key::Char('l') => return Some(Action::Logs(self.chosen()?)),
            Key::Char('w') | Key::Enter => return Some(Action::Why(self.chosen()?)),
            Key::Char(_) => self.say("no such key: ? shows all".to_owned(), true),
            Key::Backspace | Key::Redraw => {}
        }
        None
    }

    fn confirm(&mut self, request: Request) -> Option<()> {
        self.mode = Mode::Confirm(request, self.chosen()?);
        Some(())
    }

    fn last(&mut self) {
        self.step(0);
        self.step(isize::MAX);
    }

    /// The chosen tenant. Without one it says so.
    fn chosen(&mut self) -> Option<TenantName> {
        if self.chosen.is_none() {
            self.say(
                "choose a tenant first, with the arrow keys".to_owned(),
                true,
            );
        }
        self.chosen.clone()
    }

    fn in_filter(&mut self, key: Key, before: String) -> Option<Action> {
        match key {
            Key::Char(letter) if !letter.is_control() => self.filter.push(letter),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Enter => {
                self.mode = Mode::Table;
                self.choose_none();
                self.step(0);
            }
            Key::Escape => {
                self.filter = before;
                self.mode = Mode::Table;
            }
            Key::Char(_)
            | Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Redraw => {}
        }
        None
    }

    fn confirmed(&mut self, key: Key, asked: (Request, TenantName)) -> Option<Action> {
        let (request, tenant) = asked;
        self.mode = Mode::Table;
        if matches!(key, Key::Char('y' | 'Y')) {
            return Some(Action::Act(request, tenant));
        }
        self.say(format!("{tenant}: nothing was done"), false);
        None
    }

    fn in_text(&mut self, key: Key, lines: Vec<String>, first: usize) -> Option<Action> {
        let last = lines.len().saturating_sub(self.page);
        let first = match key {
            Key::Up | Key::Char('k') => first.saturating_sub(1),
            Key::Down | Key::Char('j') => first + 1,
            Key::PageUp => first.saturating_sub(self.page),
            Key::PageDown | Key::Char(' ') => first + self.page,
            Key::Home => 0,
            Key::End => last,
            Key::Escape | Key::Enter | Key::Char(_) => {
                self.mode = Mode::Table;
                return None;
            }
            Key::Backspace | Key::Redraw => first,
        };
        self.mode = Mode::Text(lines, first.min(last));
        None
    }
}
