//! Lines of logs, and how they are shown.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::sent;
use tenantd_core::name::TenantName;

/// The streams that a line can be of, see [`tenantd_daemon::logs::Stream`]; the last one is the
/// supervisor's.
pub(super) const STREAMS: [&str; 5] = ["stdout", "stderr", "syslog", "file", MARK];

/// The stream of the supervisor.
const MARK: &str = "tenantd";

/// Tells tenants apart, in this order.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// Longer names are not padded for, so that one of them does not cost all lines their room.
const WIDTH_MAX: usize = 20;

/// A line of a tenant's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was written. A line without a time has that of the line before it.
    pub(super) time: Option<Timestamp>,
    /// Its stream. None if the line has another form than tenantd gives to lines.
    pub(super) stream: Option<&'static str>,
    /// Its text, or all of it if it has another form. Without a line end.
    pub(super) text: Vec<u8>,
}

/// Shows lines on standard output, or elsewhere in a test.
pub(super) struct Printer<W> {
    pub(super) out: W,
    /// The tenants, by whose indexes lines are given.
    pub(super) tenants: Vec<TenantName>,
    /// Whether each line begins with the name of its tenant.
    pub(super) named: bool,
    pub(super) form: Form,
}

/// The form of a line.
pub(super) enum Form {
    /// For a person.
    Shown {
        /// The time zone; None for UTC in its full form.
        zone: Option<TimeZone>,
        colours: bool,
    },
    /// For the client of a deputy, see [`super::sent`].
    Sent,
}

impl<W: Write> Printer<W> {
    /// Shows a line of the tenant with this index.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn print(&mut self, index: usize, entry: &Entry) -> io::Result<()> {
        let Form::Shown { colours, .. } = self.form else {
            return sent::write(&mut self.out, index, entry);
        };
        if self.named {
            self.name(index, colours)?;
        }
        let (out, form) = (&mut self.out, &self.form);
        if let (Some(stream), Some(time)) = (entry.stream, entry.time) {
            match form {
                Form::Shown {
                    zone: Some(zone), ..
                } => {
                    let local = time.to_zoned(zone.clone());
                    write!(out, "{}", local.strftime("%Y-%m-%d %H:%M:%S%.3f"))?;
                }
                Form::Shown { zone: None, .. } | Form::Sent => write!(out, "{time:.6}")?,
            }
            let dim = match colours && stream == MARK {
                true => Style::new().dimmed(),
                false => Style::new(),
            };
            write!(out, " {dim}{stream:<7} ")?;
            out.write_all(&entry.text)?;
            writeln!(out, "{dim:#}")
        } else {
            out.write_all(&entry.text)?;
            writeln!(out)
        }
    }

    fn name(&mut self, index: usize, colours: bool) -> io::Result<()> {
        let longest = self.tenants.iter().map(|name| name.as_str().len()).max();
        let width = longest.unwrap_or(0).min(WIDTH_MAX);
        let colour = COLOURS[index % COLOURS.len()];
        let style = match colours {
            true => Style::new().fg_color(Some(colour.into())),
            false => Style::new(),
        };
        let name = &self.tenants[index];
        write!(self.out, "{style}{name:<width$}{style:#} ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tenants: &[&str], zone: Option<TimeZone>, colours: bool) -> String {
        let tenants: Vec<TenantName> = tenants.iter().map(|name| name.parse().unwrap()).collect();
        let mut printer = Printer {
            out: Vec::new(),
            named: tenants.len() > 1,
            tenants,
            form: Form::Shown { zone, colours },
        };
        let time = "2026-11-26T17:30:00.123456Z".parse().ok();
        let (stream, text) = (Some("stderr"), b"no".to_vec());
        let line = Entry { time, stream, text };
        let (stream, text) = (Some(MARK), b"program started, pid 7".to_vec());
        let mark = Entry { time, stream, text };
        let (stream, text) = (None, b"as it is".to_vec());
        let raw = Entry { time, stream, text };
        for (index, entry) in [line, mark, raw].iter().enumerate() {
            printer.print(index % printer.tenants.len(), entry).unwrap();
        }
        String::from_utf8(printer.out).unwrap()
    }

    #[test]
    fn one_tenant_needs_no_name() {
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(
            shown(&["acme"], Some(berlin), false),
            "2026-11-26 18:30:00.123 stderr  no\n\
             2026-11-26 18:30:00.123 tenantd program started, pid 7\n\
             as it is\n"
        );
    }

    #[test]
    fn several_are_told_apart() {
        assert_eq!(
            shown(&["acme", "shop-1"], None, false),
            "acme   2026-11-26T17:30:00.123456Z stderr  no\n\
             shop-1 2026-11-26T17:30:00.123456Z tenantd program started, pid 7\n\
             acme   as it is\n"
        );
        let coloured = shown(&["acme", "b"], None, true);
        assert!(
            coloured.starts_with("\x1b[36macme\x1b[0m 2026"),
            "{coloured:?}"
        );
        assert!(
            coloured.contains("\x1b[33mb   \x1b[0m 2026"),
            "{coloured:?}"
        );
        assert!(
            coloured.contains("\x1b[2mtenantd program started, pid 7\x1b[0m\n"),
            "{coloured:?}"
        );
    }
}
