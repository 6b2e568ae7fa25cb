//! Reads the journal through journalctl(1), whose JSON names the tenant and the stream of each line.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Deserialize;
use serde_json::Value;

use super::Range;
use super::print::{Entry, Printer, STREAMS};
use tenantd_api::client::pattern::Pattern;
use tenantd_core::name::{AppName, TenantName};
use tenantd_daemon::logs::Origin;
use tenantd_daemon::logs::split::{self, Extent};

/// A line as `journalctl --output=json` prints it.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    /// Microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: String,
    #[serde(rename = "TENANTD_TENANT")]
    tenant: String,
    #[serde(rename = "TENANTD_STREAM")]
    stream: String,
    #[serde(rename = "TENANTD_CONTINUES")]
    continues: Option<String>,
    #[serde(rename = "TENANTD_TRUNCATED")]
    truncated: Option<String>,
    #[serde(rename = "TENANTD_OPEN")]
    open: Option<String>,
    #[serde(rename = "TENANTD_FILE")]
    file: Option<String>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<String>,
    #[serde(rename = "SYSLOG_PID")]
    pid: Option<String>,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    /// A string, or an array of bytes if the line has control characters.
    #[serde(rename = "MESSAGE", default)]
    message: Value,
}

impl Line {
    /// Where a line of syslog or of a file comes from, so that it is shown as in a log file.
    fn origin(&self) -> Option<Origin> {
        let number = |text: &Option<String>| text.as_ref()?.parse().ok();
        match self.stream.as_str() {
            "syslog" => Some(Origin::Syslog {
                level: number(&self.priority)
                    .and_then(|it| u8::try_from(it).ok())
                    .unwrap_or(6),
                facility: 0,
                identifier: self.identifier.clone(),
                pid: number(&self.pid),
            }),
            "file" => self.file.clone().map(Origin::File),
            _ => None,
        }
    }

    fn extent(&self) -> Extent {
        match (&self.continues, &self.truncated, &self.open) {
            (Some(_), _, _) => Extent::Continues,
            (None, Some(_), _) => Extent::Truncated,
            (None, None, Some(_)) => Extent::Open,
            (None, None, None) => Extent::Whole,
        }
    }

    fn entry(&self) -> Entry {
        let time = self.time.parse().ok();
        let time = time.and_then(|time| Timestamp::from_microsecond(time).ok());
        let text = match &self.message {
            Value::String(text) => text.clone(),
            Value::Array(bytes) => {
                let byte = |byte: &Value| byte.as_u64().and_then(|byte| u8::try_from(byte).ok());
                let bytes: Vec<u8> = bytes.iter().filter_map(byte).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
        };
        let line = split::Line {
            text,
            extent: self.extent(),
            origin: self.origin().map(Box::new),
        };
        Entry {
            time,
            stream: STREAMS.into_iter().find(|stream| *stream == self.stream),
            text: line.shown().into_owned().into_bytes(),
        }
    }
}

/// A running journalctl(1). It is ended when this is dropped.
struct Reading {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Reading {
    fn start(app: &AppName, tenants: &[TenantName], options: &[String]) -> anyhow::Result<Self> {
        let mut journalctl = Command::new("journalctl");
        journalctl.arg(format!("TENANTD_APP={app}"));
        journalctl.args(tenants.iter().map(|name| format!("TENANTD_TENANT={name}")));
        // Without the supervisor's own messages about the tenants: marks say the same in place.
        journalctl.args(STREAMS.map(|stream| format!("TENANTD_STREAM={stream}")));
        journalctl.args(["--output=json", "--all", "--quiet", "--no-pager"]);
        journalctl.arg(FIELDS);
        journalctl.args(options).stdout(Stdio::piped());
        let mut child = journalctl.spawn().context(FAILED)?;
        let stdout = child.stdout.take().context(FAILED)?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout),
        })
    }

    /// The next line; None at the end, or if the reader of standard output has closed it.
    fn next(&mut self) -> anyhow::Result<Option<Line>> {
        if self.lines.buffer().is_empty() && !self.wait()? {
            return Ok(None);
        }
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        if line.is_empty() {
            let ended = self.child.wait().context(FAILED)?;
            anyhow::ensure!(ended.success(), "{FAILED}: {ended}");
            return Ok(None);
        }
        let line = serde_json::from_str(&line).context("cannot understand journalctl")?;
        Ok(Some(line))
    }

    fn wait(&self) -> io::Result<bool> {
        let stdout = io::stdout();
        let mut both = [
            PollFd::new(self.lines.get_ref(), PollFlags::IN),
            PollFd::new(&stdout, PollFlags::empty()),
        ];
        match poll(&mut both, None) {
            // The reading that follows waits.
            Err(rustix::io::Errno::INTR) => return Ok(true),
            waited => waited?,
        };
        let closed = PollFlags::ERR | PollFlags::HUP;
        Ok(!both[1].revents().intersects(closed))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // It has ended already, unless the output is closed.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The fields that a line has.
const FIELDS: &str = "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,SYSLOG_PID,TENANTD_TENANT,\
    TENANTD_STREAM,TENANTD_CONTINUES,TENANTD_TRUNCATED,TENANTD_OPEN,TENANTD_FILE";

const FAILED: &str = "cannot read the journal with journalctl";

/// Shows the past of these tenants' lines, and with `followed` those that are added, also of tenants that
/// are added and that one of its patterns matches.
pub(super) fn show(
    app: &AppName,
    range: Range,
    followed: Option<&[Pattern]>,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<()> {
    let begun = Timestamp::now();
    let tenants = printer.tenants.clone();
    let mut indexes: HashMap<String, usize> =
        tenants.iter().map(ToString::to_string).zip(0..).collect();
    // With a beginning, --lines would count from there, so the last ones are selected here.
    let mut options = match (range.since, range.lines) {
        (Some(since), _) => vec![since_option(since)],
        (None, Some(lines)) => vec![format!("--lines={lines}")],
        (None, None) => Vec::new(),
    };
    let most = range.lines.filter(|_| range.since.is_some());
    let (mut cursor, mut last) = (None, VecDeque::new());
    let mut reading = Reading::start(app, &tenants, &options)?;
    while let Some(line) = reading.next()? {
        if let Some(&index) = indexes.get(&line.tenant) {
            last.push_back((index, line.entry()));
        }
        cursor = Some(line.cursor);
        match most {
            Some(most) if last.len() > most => drop(last.pop_front()),
            Some(_) => {}
            None => print(&mut last, printer)?,
        }
    }
    print(&mut last, printer)?;
    printer.out.flush()?;
    let Some(later) = followed else {
        return Ok(());
    };
    options = vec!["--follow".to_owned(), "--no-tail".to_owned()];
    options.push(match cursor {
        Some(cursor) => format!("--after-cursor={cursor}"),
        None => since_option(begun),
    });
    // The lines of tenants that are not known yet are asked for too.
    let asked = if later.is_empty() { &tenants[..] } else { &[] };
    let mut reading = Reading::start(app, asked, &options)?;
    while let Some(line) = reading.next()? {
        let new = line.tenant.parse().ok().filter(|name| {
            !indexes.contains_key(&line.tenant) && later.iter().any(|it| it.matches(name))
        });
        if let Some(name) = new {
            indexes.insert(line.tenant.clone(), printer.tenants.len());
            printer.tenants.push(name);
        }
        if let Some(&index) = indexes.get(&line.tenant) {
            printer.print(index, &line.entry())?;
        }
        if reading.lines.buffer().is_empty() {
            printer.out.flush()?;
        }
    }
    Ok(())
}

fn print(
    entries: &mut VecDeque<(usize, Entry)>,
    printer: &mut Printer<impl Write>,
) -> io::Result<()> {
    for (index, entry) in entries.drain(..) {
        printer.print(index, &entry)?;
    }
    Ok(())
}

fn since_option(since: Timestamp) -> String {
    let (seconds, rest) = (since.as_second(), since.subsec_microsecond());
    format!("--since=@{seconds}.{rest:06}")
}

/// The names of all tenants that the journal has lines of, whatever their application.
pub(super) fn tenants() -> anyhow::Result<Vec<TenantName>> {
    let asked = Command::new("journalctl")
        .arg("--field=TENANTD_TENANT")
        .output()
        .context(FAILED)?;
    let names = String::from_utf8_lossy(&asked.stdout);
    let mut names: Vec<TenantName> = names.lines().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    Ok(names)
}
