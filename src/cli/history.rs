//! `history`: prints what has happened, as the meter has kept it.

use std::fs::File;
use std::io::{self, Read, Write};

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::args::History as Typed;
use super::logs::Since;
use super::plain::plain;
use super::wrap::wrapped;
use super::{End, converse, meter, metered, select};
use tenantd_api::client::Connection;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::pattern::Pattern;
use tenantd_api::history::{Asked, Entry, Sent};
use tenantd_api::wire::asked::RequestEvent;
use tenantd_core::name::{AppName, TenantName};

/// How many entries are shown if nothing else is asked for.
const LINES: u64 = 100;

/// How much of a text is printed that a client or a tenant has chosen.
const TEXT: usize = 400;

/// How many tenants of a request are named.
const NAMED: usize = 5;

/// Prints the history of the tenants of this application, or of all and of the host.
pub(super) fn history(selector: &Selector, what: &Typed) -> anyhow::Result<End> {
    let is_root = rustix::process::geteuid().is_root();
    let app = match is_root {
        true => metered(selector)?,
        // The supervisor knows what this user may see.
        false => Some(app::find(selector)?),
    };
    let zone = match what.utc {
        true => TimeZone::UTC,
        false => TimeZone::system(),
    };
    let now = Timestamp::now();
    let moment = |time: Option<Since>| {
        let moment = time.map(|time| time.moment(now, &zone)).transpose();
        moment.context("the time is out of range")
    };
    let (since, until) = (moment(what.since)?, moment(what.until)?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        bail!("--since {since:.0} is later than --until {until:.0}");
    }
    let asked = Asked {
        app,
        names: what.names.iter().map(|it| it.as_str().to_owned()).collect(),
        since_ms: since.map(Timestamp::as_millisecond),
        until_ms: until.map(Timestamp::as_millisecond),
        lines: what.lines.or(since.is_none().then_some(LINES)),
        kinds: what.kind.clone(),
        is_restricted: false,
    };
    let entries = match asked.app.clone().filter(|_| !is_root) {
        Some(app) => received(&app, &what.names, &asked)?,
        None => kept(&asked)?,
    };
    if entries.is_empty() {
        eprintln!("nothing is known to have happened");
    }
    let mut out = io::stdout().lock();
    let form = Form::of(&entries, what.utc, zone);
    for entry in &entries {
        if what.json {
            serde_json::to_writer(&mut out, entry)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", wrapped(&form.text(entry), &io::stdout()))?;
        }
    }
    Ok(End::Done)
}

fn kept(asked: &Asked) -> anyhow::Result<Vec<Entry>> {
    let answer = meter::history(&serde_json::to_string(asked)?)?;
    serde_json::from_slice(&answer).context("cannot understand the answer of tenantd-meter")
}

/// Asks the supervisor, which starts a deputy for a client that has the right `logs`.
fn received(app: &AppName, names: &[Pattern], asked: &Asked) -> anyhow::Result<Vec<Entry>> {
    let stream = converse(async {
        let mut connection = Connection::open(app).await?;
        // No name means all, which only some may ask for: those that this user sees are meant.
        let any = [Pattern::any()];
        let names = if names.is_empty() { &any } else { names };
        let names = select::ask(&mut connection, names).await?;
        Ok(connection.history(&names, asked).await?)
    })?;
    let mut bytes = Vec::new();
    let read = File::from(stream).read_to_end(&mut bytes);
    read.context("cannot read the history")?;
    match serde_json::from_slice(&bytes) {
        Ok(Sent::Entries(entries)) => Ok(entries),
        Ok(Sent::Error(why)) => bail!("{why}"),
        Err(_) => bail!(
            "{app}: the process that read the history has ended: it was killed, or the right to read it was taken away"
        ),
    }
}

/// In a deputy: sends entries on standard output.
pub(super) fn send(asked: &Asked) -> anyhow::Result<()> {
    let sent = match kept(asked) {
        Ok(entries) => Sent::Entries(entries),
        Err(error) => Sent::Error(format!("{error:#}")),
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &sent)?;
    Ok(out.flush()?)
}

/// How entries are printed.
struct Form {
    zone: TimeZone,
    utc: bool,
    /// Whether entries are of several applications.
    several: bool,
    /// The width of the names.
    width: usize,
}

impl Form {
    fn of(entries: &[Entry], utc: bool, zone: TimeZone) -> Self {
        let mut apps: Vec<&AppName> = entries.iter().filter_map(|it| it.app.as_ref()).collect();
        apps.sort();
        apps.dedup();
        let mut form = Self {
            zone,
            utc,
            several: apps.len() > 1,
            width: 0,
        };
        let widths = entries.iter().map(|entry| form.name(entry).len());
        form.width = widths.max().unwrap_or_default();
        form
    }

    /// Whom an entry is about.
    fn name(&self, entry: &Entry) -> String {
        match (&entry.app, &entry.tenant) {
            (None, _) => "(host)".to_owned(),
            (Some(app), None) => format!("({app})"),
            (Some(app), Some(tenant)) if self.several => format!("{app}/{tenant}"),
            (Some(_), Some(tenant)) => tenant.to_string(),
        }
    }

    fn time(&self, time: Timestamp) -> String {
        match self.utc {
            true => format!("{time:.3}"),
            false => time
                .to_zoned(self.zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string(),
        }
    }

    fn text(&self, entry: &Entry) -> String {
        let (name, width) = (self.name(entry), self.width);
        let time = self.time(entry.time);
        let what = match &entry.request {
            Some(request) => asked(entry, request),
            None => plain(&entry.text, TEXT),
        };
        let mut text = format!("{time} {name:<width$} {}: {what}", entry.kind.word());
        if entry.times > 1 {
            text += &format!(" ({} times until {})", entry.times, self.time(entry.until));
        }
        for line in &entry.details {
            text += &format!("\n    {}", plain(line, TEXT));
        }
        for line in &entry.output {
            text += &format!("\n    | {}", plain(line, TEXT));
        }
        text
    }
}

/// Who asked for what, and what became of it.
fn asked(entry: &Entry, request: &RequestEvent) -> String {
    let mut words = vec![plain(&request.verb, TEXT)];
    let named = entry.tenants.iter().take(NAMED);
    words.extend(named.map(TenantName::to_string));
    if let Some(more) = entry.tenants.len().checked_sub(NAMED).filter(|it| *it > 0) {
        words.push(format!("and {more} more"));
    }
    let mut text = format!("{}: {}", words.join(" "), request.outcome.word());
    if let Some(why) = &request.detail {
        text += &format!(": {}", plain(why, TEXT));
    }
    text += &format!(" (user {}, process {}", request.uid, request.pid);
    if let Some(comm) = &request.comm {
        text += &format!(" \"{}\"", plain(comm, TEXT));
    }
    if let Some(place) = &request.inside {
        text += &format!(", in {}", plain(place, TEXT));
    }
    text.push(')');
    if request.missing_before > 0 {
        let missing = request.missing_before;
        text += &format!("; {missing} refused before it are not shown");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::history::Kind;
    use tenantd_api::wire::asked::RequestOutcome;

    fn entry(kind: Kind, tenant: Option<&str>, text: &str) -> Entry {
        let mut entry = Entry::new(kind, "2026-11-28T01:02:03.5Z".parse().unwrap(), text);
        entry.app = (kind != Kind::Host).then(|| "wiki".parse().unwrap());
        entry.tenant = tenant.map(|it| it.parse().unwrap());
        entry
    }

    #[test]
    fn a_line_says_when_to_whom_and_what() {
        let mut end = entry(Kind::End, Some("acme"), "up → waiting: its program exited");
        end.output = vec!["no disk".to_owned(), "\u{1b}[2J".to_owned()];
        end.times = 3;
        end.until = "2026-11-28T01:40:00Z".parse().unwrap();
        let host = entry(Kind::Host, None, "the host was booted");
        let mut stop = entry(Kind::Request, None, "stop");
        stop.tenants = (0..7).map(|it| format!("t{it}").parse().unwrap()).collect();
        stop.request = Some(RequestEvent {
            verb: "stop".to_owned(),
            tenants: Vec::new(),
            more_tenants: 0,
            outcome: RequestOutcome::Done,
            detail: None,
            pid: 812,
            uid: 0,
            gid: 0,
            comm: Some("x\u{9b}".to_owned()),
            exe: None,
            inside: None,
            missing_before: 0,
            time: stop.time,
        });
        let entries = [end, host, stop];
        let form = Form::of(&entries, false, TimeZone::UTC);
        let shown: Vec<String> = entries.iter().map(|it| form.text(it)).collect();
        let expected = [
            "2026-11-28 01:02:03 acme   end: up → waiting: its program exited (3 times until \
             2026-11-28 01:40:00)\n    | no disk\n    | \\u{1b}[2J",
            "2026-11-28 01:02:03 (host) host: the host was booted",
            "2026-11-28 01:02:03 (wiki) request: stop t0 t1 t2 t3 t4 and 2 more: done (user 0, \
             process 812 \"x\\u{9b}\")",
        ];
        assert_eq!(shown, expected);
        let form = Form::of(&entries, true, TimeZone::UTC);
        assert!(
            form.text(&entries[1])
                .starts_with("2026-11-28T01:02:03.500Z (host) ")
        );
    }
}
