//! `logs`: prints the output of a tenant's program, from the journal or from its log files. Works
//! without a supervisor too.

mod follow;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::End;
use super::args::Logs;
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};

/// The folder of the tenants' log files, one folder per application.
const FOLDER: &str = "/var/log/tenantd";

/// Exists if a journal runs, see systemd-journald.service(8).
const JOURNAL: &str = "/run/systemd/journal/socket";

pub(super) fn logs(app: &AppName, what: &Logs) -> anyhow::Result<End> {
    let tenant = &what.tenant;
    match place(app, tenant)? {
        LogPlace::Journal => Err(journal(app, what)),
        LogPlace::Files => {
            let generations = Generations::of(&Path::new(FOLDER).join(app.as_str()), tenant);
            let mut out = io::stdout().lock();
            let newest = last_lines(&generations, what.lines, &mut out)
                .with_context(|| format!("{}: cannot show", generations.newest.display()))?;
            out.flush()?;
            if what.follow {
                follow::follow(&generations, newest, &mut out)
                    .with_context(|| format!("{}: cannot follow", generations.newest.display()))?;
            }
            Ok(End::Done)
        }
    }
}

/// Where the log is: as the supervisor says; if none runs, in the file if that exists.
fn place(app: &AppName, tenant: &TenantName) -> anyhow::Result<LogPlace> {
    let asked = super::converse(async {
        let names = std::slice::from_ref(tenant);
        let status = match Connection::open(app).await {
            Ok(mut connection) => connection.status(names).await,
            Err(error) => Err(error),
        };
        Ok(status)
    })?;
    let error = match asked {
        Ok(status) => return Ok(status.logs),
        Err(
            error @ (ClientError::NotRunning { .. }
            | ClientError::Dead { .. }
            | ClientError::Detached { .. }
            | ClientError::NotAllowed { .. }),
        ) => error,
        Err(error) => return Err(error.into()),
    };
    let file = Generations::of(&Path::new(FOLDER).join(app.as_str()), tenant).newest;
    if file.exists() {
        Ok(LogPlace::Files)
    } else if Path::new(JOURNAL).exists() {
        Ok(LogPlace::Journal)
    } else {
        let file = file.display();
        Err(anyhow::Error::new(error).context(format!("{tenant}: no log file {file}")))
    }
}

/// Becomes journalctl(1); returns only if that fails.
fn journal(app: &AppName, what: &Logs) -> anyhow::Error {
    let mut journalctl = Command::new("journalctl");
    journalctl
        .arg(format!("TENANTD_APP={app}"))
        .arg(format!("TENANTD_TENANT={}", what.tenant))
        .args(["--output=short-iso-precise", "--no-pager"])
        .arg(format!("--lines={}", what.lines));
    if what.follow {
        journalctl.arg("--follow");
    }
    let subject = format!("{}: cannot read the journal with journalctl", what.tenant);
    anyhow::Error::new(journalctl.exec()).context(subject)
}

/// The two files of a tenant's log.
#[derive(Debug, Clone)]
struct Generations {
    newest: PathBuf,
    older: PathBuf,
}

impl Generations {
    fn of(folder: &Path, tenant: &TenantName) -> Self {
        Self {
            newest: folder.join(format!("{tenant}.log")),
            older: folder.join(format!("{tenant}.log.1")),
        }
    }

    /// Opens both files. Never the same file twice, even if a rotation happens meanwhile.
    fn open(&self) -> io::Result<(Option<File>, Option<File>)> {
        loop {
            let newest = open(&self.newest)?;
            let older = open(&self.older)?;
            if newest.is_none() || inode(newest.as_ref())? != inode(older.as_ref())? {
                return Ok((newest, older));
            }
        }
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Device and inode of a file, which identify it after a rename.
fn inode(file: Option<&File>) -> io::Result<Option<(u64, u64)>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let found = file.metadata()?;
    Ok(Some((found.dev(), found.ino())))
}

/// Prints the last lines of both generations. Returns the newest one, positioned at its end.
fn last_lines(
    generations: &Generations,
    count: usize,
    out: &mut impl Write,
) -> io::Result<Option<File>> {
    let (newest, older) = generations.open()?;
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    for file in [&older, &newest].into_iter().flatten() {
        let mut lines = BufReader::new(file);
        loop {
            let mut line = Vec::new();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            last.push_back(line);
            if last.len() > count {
                last.pop_front();
            }
        }
    }
    for line in last {
        out.write_all(&line)?;
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_include_the_rotated_file() {
        let folder = tempfile::tempdir().unwrap();
        let generations = Generations::of(folder.path(), &"acme".parse().unwrap());
        let last = |count| {
            let mut out = Vec::new();
            last_lines(&generations, count, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(last(5), "");
        std::fs::write(&generations.newest, "c\nd\n").unwrap();
        assert_eq!(last(5), "c\nd\n");
        std::fs::write(&generations.older, "a\nb\n").unwrap();
        assert_eq!(last(3), "b\nc\nd\n");
        assert_eq!(last(0), "");
        assert_eq!(last(usize::MAX), "a\nb\nc\nd\n");
    }
}
