//! `logs`: prints the output of tenants' programs, from the journal or from their log files. Works
//! without a supervisor too.

mod choose;
mod files;
mod follow;
mod journal;
mod print;
mod since;
pub mod typed;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::choose::Chosen;
use self::print::Printer;
use self::typed::Logs;
use super::End;
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
    let Chosen { tenants, place } = choose::choose(app, &what.logged)?;
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
        out: BufWriter::new(io::stdout().lock()),
        tenants: &tenants,
        zone: (!what.utc).then_some(zone),
        colours: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    match place {
        LogPlace::Journal => journal::show(app, range, what.follow, &mut printer)?,
        LogPlace::Files => {
            if tenants.len() > MANY {
                tenantd_host::limits::raise().context("cannot open so many files")?;
            }
            let folder = Path::new(FOLDER).join(app.as_str());
            let shown = files::past(&folder, range, &mut printer)
                .with_context(|| format!("{}: cannot show the logs", folder.display()))?;
            printer.out.flush()?;
            if what.follow {
                follow::follow(&folder, shown, &mut printer)
                    .with_context(|| format!("{}: cannot follow the logs", folder.display()))?;
            }
        }
    }
    printer.out.flush()?;
    Ok(End::Done)
}
