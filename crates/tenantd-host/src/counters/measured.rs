//! The sizes of datastores, as the meter measured them last: a file with a line for each tenant,
//! `/var/lib/tenantd/.meter/datastores`. So a program that shows them need not walk through what tenants have written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::regular;
use tenantd_core::name::{AppName, TenantName};

/// The file. It exists once the meter has measured something.
pub const PATH: &str = "/var/lib/tenantd/.meter/datastores";

/// The same before it is complete.
const NEW: &str = "/var/lib/tenantd/.meter/.datastores";

/// The maximum size of the file in bytes: that of some 100,000 tenants.
const SIZE_MAX: u64 = 16 << 20;

/// What was measured of a datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Its size in bytes.
    pub bytes: u64,
    /// The limit that the filesystem has of it; `None` if there is none, or the meter may not know it.
    pub limit: Option<u64>,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
}

/// The last size of each datastore.
pub type Sizes = BTreeMap<(AppName, TenantName), Measured>;

/// Writes all of them in place of the file.
///
/// # Errors
/// Those of writing and renaming; the file is as before then.
pub fn write(sizes: &Sizes) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(NEW)?.write_all(text(sizes).as_bytes())?;
    fs::rename(NEW, PATH)
}

/// Reads them. There are none without the file.
///
/// # Errors
/// Those of reading, and `InvalidData` if a line cannot be understood.
pub fn read() -> io::Result<Sizes> {
    match regular::read(Path::new(PATH), SIZE_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Sizes::new()),
        bytes => parse(&String::from_utf8_lossy(&bytes?)),
    }
}

fn text(sizes: &Sizes) -> String {
    let mut text = String::new();
    for ((app, tenant), measured) in sizes {
        let Measured {
            bytes,
            limit,
            time_ms,
        } = measured;
        let limit = limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        // A String takes everything.
        let _ok = writeln!(text, "{app} {tenant} {bytes} {limit} {time_ms}");
    }
    text
}

fn parse(text: &str) -> io::Result<Sizes> {
    let lines = text.lines().map(|line| {
        line_of(line).ok_or_else(|| {
            let why = format!("{PATH}: cannot understand the line {line:?}");
            io::Error::new(ErrorKind::InvalidData, why)
        })
    });
    lines.collect()
}

fn line_of(line: &str) -> Option<((AppName, TenantName), Measured)> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[app, tenant, bytes, limit, time_ms] = words.as_slice() else {
        return None;
    };
    let limit = match limit {
        "-" => None,
        limit => Some(limit.parse().ok()?),
    };
    let measured = Measured {
        bytes: bytes.parse().ok()?,
        limit,
        time_ms: time_ms.parse().ok()?,
    };
    Some(((app.parse().ok()?, tenant.parse().ok()?), measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_half_a_line_is_refused() {
        let name = |app: &str, tenant: &str| (app.parse().unwrap(), tenant.parse().unwrap());
        let measured = |bytes, limit| Measured {
            bytes,
            limit,
            time_ms: 1_795_000_000_000,
        };
        let sizes = Sizes::from([
            (name("wiki", "acme"), measured(0, None)),
            (name("wiki", "bolt"), measured(7 << 40, Some(8 << 40))),
        ]);
        let written = text(&sizes);
        assert_eq!(parse(&written).unwrap(), sizes);
        assert_eq!(parse("").unwrap(), Sizes::new());
        for damaged in [
            "wiki acme 7",
            "wiki acme 7 - x",
            "wiki acme -1 - 7",
            "a b c d e f",
        ] {
            let why = parse(&format!("{written}{damaged}\n")).unwrap_err();
            assert_eq!(why.kind(), ErrorKind::InvalidData);
        }
    }
}
