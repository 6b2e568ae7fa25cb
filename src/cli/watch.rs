//! `status --watch`: on a terminal, draws the table of `status` again after each event. Otherwise
//! prints the table once, and then a line for each event.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice, StripStream};
use jiff::Timestamp;
use rustix::termios::tcgetwinsize;
use tokio::time::{Instant, timeout_at};

use super::events::Line;
use super::status::table::{self, Lines};
use super::status::view::View;
use super::{End, select, status};
use tenantd_api::client::pattern::Pattern;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::watch::{EventKind, Snapshot, TenantEvent};
use tenantd_api::wire::{AppStatus, NetworkState, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

/// How long events are collected before the table is drawn again.
const GATHER: Duration = Duration::from_millis(100);

/// How often the table is drawn without events, to update the times in it.
const TICK: Duration = Duration::from_secs(1);

/// Terminal sequences: cursor to the top left; clear the rest of a line; clear all lines below.
const HOME: &str = "\x1b[H";
const LINE_END: &str = "\x1b[K\r\n";
const CLEAR_BELOW: &str = "\x1b[J";

pub(super) fn watch(app: &AppName, names: &[Pattern], view: &View) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let names = select::ask(&mut connection, names).await?;
        drop(connection);
        let mut subscription = Subscription::open(app, &names).await?;
        match io::stdout().is_terminal() {
            true => draw_on(app, view, &mut subscription).await,
            false => print_on(view, &mut subscription).await,
        }
    })
}

async fn print_on(view: &View, subscription: &mut Subscription) -> anyhow::Result<End> {
    let mut out = anstream::stdout();
    loop {
        match subscription.next().await? {
            Watched::Snapshot(snapshot) => {
                status::show(&mut out, &status_of(snapshot), view, Timestamp::now())?;
            }
            Watched::Event(event) => writeln!(out, "{}", Line::of_event(*event).text())?,
            // Not asked for.
            Watched::Request(_) => {}
        }
    }
}

async fn draw_on(
    app: &AppName,
    view: &View,
    subscription: &mut Subscription,
) -> anyhow::Result<End> {
    let mut out = io::stdout();
    let plain = AutoStream::choice(&out) == ColorChoice::Never;
    write!(out, "{HOME}{CLEAR_BELOW}")?;
    let mut board = Board::default();
    let mut next = Instant::now() + TICK;
    loop {
        let update = match timeout_at(next, subscription.next()).await {
            Ok(update) => update?,
            Err(_) => {
                board.look(app).await?;
                board.draw(&mut out, view, plain)?;
                next = Instant::now() + TICK;
                continue;
            }
        };
        next = next.min(Instant::now() + GATHER);
        match update {
            Watched::Snapshot(snapshot) => board.status = Some(status_of(snapshot)),
            Watched::Event(event) => board.apply(*event),
            Watched::Request(_) => {}
        }
    }
}

pub(super) fn status_of(snapshot: Snapshot) -> AppStatus {
    AppStatus {
        app: snapshot.app,
        pid: snapshot.pid,
        tracking: snapshot.tracking,
        logs: snapshot.logs,
        unwatched: None,
        network: NetworkState::default(),
        manifest: None,
        tenants: snapshot.tenants,
    }
}

/// The status that is drawn.
#[derive(Debug, Default)]
struct Board {
    status: Option<AppStatus>,
    /// Tenants with a new launch. Events do not say whether it runs the program on disk: `status` does.
    started: Vec<TenantName>,
}

impl Board {
    fn apply(&mut self, event: TenantEvent) {
        let Some(status) = &mut self.status else {
            return;
        };
        let place = status.tenants.iter().position(|t| t.name == event.tenant);
        match (place, event.status) {
            (Some(place), None) => {
                // It is shown while it is stopped and released, until it is removed.
                if event.kind == EventKind::Removed {
                    status.tenants.remove(place);
                }
            }
            (None, None) => {}
            (place, Some(mut now)) => {
                let before = place.map(|place| &status.tenants[place]);
                match before.filter(|before| before.pid == now.pid) {
                    Some(before) => now.program = before.program,
                    None if now.pid.is_some() => self.started.push(now.name.clone()),
                    None => {}
                }
                match place {
                    Some(place) => status.tenants[place] = now,
                    None => status.tenants.push(now),
                }
            }
        }
    }

    /// Asks for the programs of the tenants that were started.
    async fn look(&mut self, app: &AppName) -> Result<(), ClientError> {
        let Some(status) = &mut self.status else {
            return Ok(());
        };
        self.started.sort_unstable();
        self.started.dedup();
        self.started
            .retain(|name| status.tenants.iter().any(|t| t.name == *name));
        if self.started.is_empty() {
            return Ok(());
        }
        let found = match Connection::open(app).await?.status(&self.started).await {
            // One of them was removed: its event follows.
            Err(ClientError::UnknownTenant { .. }) => return Ok(()),
            found => found?,
        };
        self.started.clear();
        for TenantStatus {
            name, pid, program, ..
        } in found.tenants
        {
            let shown = status.tenants.iter_mut().find(|t| t.name == name);
            if let Some(shown) = shown.filter(|shown| shown.pid == pid) {
                shown.program = program;
            }
        }
        Ok(())
    }

    fn draw(&self, out: &mut impl Write, view: &View, plain: bool) -> io::Result<()> {
        let Some(status) = &self.status else {
            return Ok(());
        };
        // The usual size, if the terminal does not report one.
        let (width, height) = match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 1 => (size.ws_col, size.ws_row),
            Ok(_) | Err(_) => (80, 24),
        };
        let size = (width.into(), height.into());
        let screen = screen(status, view, Timestamp::now(), size, plain)?;
        out.write_all(screen.as_bytes())?;
        out.flush()
    }
}

/// The table, shortened to the size of the terminal. If it is too long, tenants that are as wanted
/// are left out, those that changed last come first, and the last line says how many are missing.
fn screen(
    status: &AppStatus,
    view: &View,
    now: Timestamp,
    (width, height): (usize, usize),
    plain: bool,
) -> io::Result<String> {
    // The cursor needs the line below the last one.
    let room = height - 1;
    let end = status::summary(status)
        .into_iter()
        .chain(status::older(status));
    let end: Vec<String> = end.collect();
    let status = view.of(status);
    let mut lines = table(&status, now, width, plain)?;
    if lines.len() + end.len() > room {
        // The application, the header, and the line that counts the others.
        let shown = shortened(&status, room.saturating_sub(3 + end.len()));
        let left_out = status.tenants.len() - shown.tenants.len();
        lines = table(&shown, now, width, plain)?;
        lines.truncate(room.saturating_sub(1 + end.len()));
        lines.push(match left_out {
            0 => "... and more that are not as wanted: the terminal has too few lines".to_owned(),
            _ => format!("... and {left_out} more, as wanted: the terminal has too few lines"),
        });
    }
    lines.extend(end);
    let lines = lines.iter().map(|line| clip(line, width));
    let text: String = lines.map(|line| line + LINE_END).collect();
    Ok(format!("{HOME}{text}{CLEAR_BELOW}"))
}

/// The tenants that are not as wanted (two lines each), and as many of the others as fit.
fn shortened(status: &AppStatus, lines: usize) -> AppStatus {
    let (good, bad): (Vec<_>, Vec<_>) = status.tenants.iter().partition(|t| t.is_as_wanted());
    let mut good: Vec<_> = good.iter().map(|t| (t.since, &t.name)).collect();
    good.sort_unstable_by(|one, other| other.cmp(one));
    good.truncate(lines.saturating_sub(2 * bad.len()));
    let good: HashSet<_> = good.into_iter().map(|(_, name)| name).collect();
    let is_shown = |t: &&TenantStatus| !t.is_as_wanted() || good.contains(&t.name);
    AppStatus {
        tenants: status.tenants.iter().filter(is_shown).cloned().collect(),
        app: status.app.clone(),
        unwatched: status.unwatched.clone(),
        network: status.network.clone(),
        manifest: status.manifest.clone(),
        ..*status
    }
}

fn table(status: &AppStatus, now: Timestamp, width: usize, plain: bool) -> io::Result<Vec<String>> {
    lines(plain, |out| {
        table::write(out, status, now, Some(width), &Lines::Why)
    })
}

/// The lines that `write` writes.
fn lines(
    plain: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    match plain {
        true => write(&mut StripStream::new(&mut text))?,
        false => write(&mut text)?,
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Cuts a line to a width in characters. Colour sequences do not count.
fn clip(line: &str, width: usize) -> String {
    let mut shown = String::new();
    let (mut used, mut escaped) = (0, false);
    for letter in line.chars() {
        match (escaped, letter) {
            (false, '\x1b') => escaped = true,
            (true, 'm') => escaped = false,
            (true, _) => {}
            (false, _) if used == width => continue,
            (false, _) => used += 1,
        }
        shown.push(letter);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::{LogPlace, Program, StateWord, Tracking};

    fn status(count: usize, bad: usize) -> AppStatus {
        let tenant = |number: usize| TenantStatus {
            name: format!("tenant-number-{number}").parse().unwrap(),
            pid: Some(4_194_304),
            addresses: std::net::Ipv4Addr::new(10, 177, 100, 111).into(),
            restarts: 12,
            ..match number < bad {
                true => crate::cli::outcome::tests::tenant(StateWord::Failed, Some(true), None),
                false => crate::cli::outcome::tests::tenant(StateWord::Up, Some(true), None),
            }
        };
        AppStatus {
            app: "wiki".parse().unwrap(),
            pid: 99,
            tracking: Tracking::Cgroup,
            logs: LogPlace::Files,
            unwatched: None,
            network: NetworkState::default(),
            manifest: None,
            tenants: (0..count).map(tenant).collect(),
        }
    }

    fn drawn(status: &AppStatus, height: usize) -> Vec<String> {
        let screen = screen(
            status,
            &View::default(),
            Timestamp::UNIX_EPOCH,
            (80, height),
            true,
        )
        .unwrap();
        let text = screen.strip_prefix(HOME).unwrap();
        let text = text.strip_suffix(CLEAR_BELOW).unwrap();
        text.split_terminator(LINE_END).map(str::to_owned).collect()
    }

    #[test]
    fn tables_fit_the_terminal() {
        let all = drawn(&status(3, 0), 24);
        assert_eq!(all.len(), 6, "{all:#?}");
        assert_eq!(all[5], "3 tenants: 3 up");
        assert!(
            all.iter().all(|line| line.chars().count() <= 80),
            "{all:#?}"
        );

        let mut long = status(200, 2);
        long.tenants[150].since += jiff::SignedDuration::from_secs(1);
        long.tenants[9].program = Some(Program::Older);
        let few = drawn(&long, 24);
        assert_eq!(few.len(), 23, "{few:#?}");
        assert!(few[2].starts_with("tenant-number-0 "), "{few:#?}");
        assert!(few[3].starts_with("  WHY "), "{few:#?}");
        let last_changed = few
            .iter()
            .any(|line| line.starts_with("tenant-number-150 "));
        assert!(last_changed, "{few:#?}");
        assert_eq!(
            few[20],
            "... and 184 more, as wanted: the terminal has too few lines"
        );
        assert_eq!(few[21], "200 tenants: 198 up, 2 failed");
        assert!(
            few[22].starts_with("1 tenant runs an older program"),
            "{few:#?}"
        );

        let many = drawn(&status(200, 200), 24);
        assert_eq!(many.len(), 23);
        assert!(
            many[21].starts_with("... and more that are not as wanted"),
            "{many:#?}"
        );
    }

    #[test]
    fn colour_sequences_have_no_width() {
        assert_eq!(clip("\x1b[1mabc\x1b[0m", 2), "\x1b[1mab\x1b[0m");
        assert_eq!(clip("äöü", 3), "äöü");
    }

    #[test]
    fn events_change_the_table() {
        let mut board = Board {
            status: Some(status(2, 0)),
            started: Vec::new(),
        };
        let mut event = TenantEvent {
            tenant: "tenant-number-1".parse().unwrap(),
            kind: EventKind::Transition,
            from: Some(StateWord::Up),
            state: StateWord::Stopping,
            reason: None,
            exit: None,
            time: Timestamp::UNIX_EPOCH,
            status: Some(TenantStatus {
                pid: Some(5),
                ..status(2, 0).tenants.remove(1)
            }),
        };
        board.apply(event.clone());
        assert_eq!(board.status.as_ref().unwrap().tenants[1].pid, Some(5));
        assert_eq!(board.started, [event.tenant.clone()]);
        event.status = None;
        board.apply(event.clone());
        assert_eq!(
            board.status.as_ref().unwrap().tenants.len(),
            2,
            "it is shown until it is removed"
        );
        event.kind = EventKind::Removed;
        board.apply(event);
        assert_eq!(board.status.unwrap().tenants.len(), 1);
    }
}
