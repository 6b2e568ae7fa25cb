//! Logs that a deputy reads, for a client without root that has the right to.

use std::fs::File;
use std::io::{self, BufReader, Write};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};

use super::Range;
use super::print::Printer;
use super::sent::{self, Item};
use crate::cli::converse;
use tenantd_api::client::Connection;
use tenantd_api::client::deputy::Lines;
use tenantd_api::wire::LOG_LINES_MAX;
use tenantd_core::name::AppName;

/// Shows the logs of the printer's tenants.
pub(super) fn show(
    app: &AppName,
    range: Range,
    follow: bool,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<()> {
    let lines = range.lines.and_then(|lines| u64::try_from(lines).ok());
    if lines.is_some_and(|lines| lines > LOG_LINES_MAX) {
        anyhow::bail!(
            "--lines: at most {LOG_LINES_MAX} without root: use --since for more, or try again with sudo"
        );
    }
    let what = Lines {
        lines,
        since: range.since.map(jiff::Timestamp::as_microsecond),
        follow,
    };
    let tenants = &printer.tenants;
    let stream = converse(async {
        let mut connection = Connection::open(app).await?;
        Ok(connection.logs(tenants, what).await?)
    })?;
    let mut input = BufReader::new(File::from(stream));
    loop {
        if input.buffer().is_empty() {
            printer.out.flush()?;
            if !waits(input.get_ref())? {
                return Ok(());
            }
        }
        match sent::read(&mut input).context("cannot read the logs")? {
            Some(Item::Line(index, entry)) if index < printer.tenants.len() => {
                printer.print(index, &entry)?;
            }
            Some(Item::Done) => return Ok(()),
            Some(Item::Error(text)) => anyhow::bail!("{text}"),
            Some(Item::Line(..)) | None => {
                printer.out.flush()?;
                anyhow::bail!(
                    "{app}: the process that read the logs has ended: it was killed, or the right to read them \
                     was taken away"
                );
            }
        }
    }
}

/// Waits for more. False if the reader of standard output has closed it.
fn waits(stream: &File) -> io::Result<bool> {
    let stdout = io::stdout();
    let mut both = [
        PollFd::new(stream, PollFlags::IN),
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
