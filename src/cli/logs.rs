//! `logs`: prints the output of tenants' programs, from the journal or from their log files. Works
//! without a supervisor too.

mod access;
mod choose;
mod files;
mod follow;
mod journal;
mod print;
mod received;
pub(super) mod sent;
mod since;
pub mod typed;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::choose::Chosen;
use self::follow::Others;
use self::print::{Form, Printer};
use self::typed::Logs;
use super::End;
use tenantd_api::client::pattern::Pattern;
use tenantd_api::wire::LogPlace;
use tenantd_core::name::AppName;

pub use self::since::{NoSince, Since};

/// The folder of the tenants' log files, one folder per application.
pub(super) const FOLDER: &str = "/var/log/tenantd";

/// How many lines are shown if nothing else is asked for.
const LINES: usize = 100;

/// More tenants than a usual limit on open files has room for.
const MANY: usize = 200;

/// Which part of the past is shown.
#[derive(Debug, Clone, Copy)]
struct Range {
    /// The most lines, the last ones; None if there is no limit.
    lines: Option<usize>,
    since: Option<Timestamp>,
}

pub(super) fn logs(app: &AppName, what: &Logs) -> anyhow::Result<End> {
    let Chosen {
        tenants,
        place,
        later,
        is_served,
    } = choose::choose(app, &what.logged)?;
    let zone = match what.utc {
        true => TimeZone::UTC,
        false => TimeZone::system(),
    };
    let since = what
        .since
        .map(|since| since.moment(Timestamp::now(), &zone));
    let range = Range {
        lines: what.lines.or(what.since.is_none().then_some(LINES)),
        since: since.transpose().context("--since")?,
    };
    let mut printer = Printer {
        named: tenants.len() > 1 || what.follow && !later.is_empty(),
        out: BufWriter::new(io::stdout().lock()),
        form: Form::Shown {
            zone: (!what.utc).then_some(zone),
            colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        },
        tenants,
    };
    match is_served && access::needs_deputy(app, place, &printer.tenants) {
        true => received::show(app, range, what.follow, &mut printer)?,
        false => {
            let later = what.follow.then_some(later.as_slice());
            show((app, place), range, later, &mut printer)?;
        }
    }
    printer.out.flush()?;
    Ok(End::Done)
}

/// Shows logs, and with `followed` what is added to them, and to those of tenants that are added and that one of
/// its patterns matches.
fn show(
    (app, place): (&AppName, LogPlace),
    range: Range,
    followed: Option<&[Pattern]>,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<()> {
    match place {
        LogPlace::Journal => journal::show(app, range, followed, printer),
        LogPlace::Files => {
            if printer.tenants.len() > MANY {
                tenantd_host::limits::raise().context("cannot open so many files")?;
            }
            let folder = Path::new(FOLDER).join(app.as_str());
            let others = Others::of(&folder, followed.unwrap_or_default())
                .map_err(|error| unread(app, &folder, "show", error))?;
            let shown = files::past(&folder, range, printer)
                .map_err(|error| unread(app, &folder, "show", error))?;
            printer.out.flush()?;
            if followed.is_some() {
                follow::follow(&folder, shown, &others, printer)
                    .map_err(|error| unread(app, &folder, "follow", error))?;
            }
            Ok(())
        }
    }
}

/// Why the log files cannot be read.
fn unread(app: &AppName, folder: &Path, what: &str, error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => needs_root(app),
        _ => anyhow::Error::new(error)
            .context(format!("{}: cannot {what} the logs", folder.display())),
    }
}

fn needs_root(app: &AppName) -> anyhow::Error {
    anyhow::anyhow!(
        "{app}: permission denied: only root may read the log files: try again with sudo (while a supervisor \
         runs, a group with the right `logs` in `control.operators` of the manifest may read those of its tenants)"
    )
}
