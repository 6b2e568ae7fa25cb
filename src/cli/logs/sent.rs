//! Logs as a deputy sends them to its client: a stream of items. Each begins with a line of words:
//!
//! - `line INDEX TIME STREAM LENGTH`: a line of the tenant with this index among those that were asked for, whose
//!   text follows. `-` stands for an unknown time or stream.
//! - `error LENGTH`: why the rest cannot be sent, with its text.
//! - `done`: all has been sent. If neither this nor an error has come, something is missing.

use std::io::{self, BufRead, BufWriter, Write};

use anyhow::Context;
use jiff::Timestamp;

use super::Range;
use super::print::{Entry, Form, Printer, STREAMS};
use tenantd_core::name::AppName;
use tenantd_daemon::deputy::Logs;

/// The longest text of an item: far more than a line of a log has.
const TEXT_MAX: usize = 16 * 1024 * 1024;

/// One item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Line(usize, Entry),
    Error(String),
    Done,
}

/// In a deputy: sends logs on standard output.
pub(in crate::cli) fn send(app: &AppName, what: Logs) -> anyhow::Result<()> {
    let Logs {
        tenants,
        place,
        lines,
        since,
        follow,
    } = what;
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        tenants,
        named: false,
        form: Form::Sent,
    };
    let since = since.map(Timestamp::from_microsecond).transpose();
    let shown = since.context("the time is out of range").and_then(|since| {
        let followed: Option<&[_]> = follow.then_some(&[]);
        let range = Range { lines, since };
        super::show((app, place), range, followed, &mut printer)
    });
    let out = &mut printer.out;
    match shown {
        Ok(()) => writeln!(out, "done")?,
        Err(error) => {
            let text = format!("{error:#}");
            write!(out, "error {}\n{text}", text.len())?;
        }
    }
    Ok(out.flush()?)
}

/// Writes a line.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(out: &mut impl Write, index: usize, entry: &Entry) -> io::Result<()> {
    let Entry { time, stream, text } = entry;
    write!(out, "line {index} ")?;
    match time {
        Some(time) => write!(out, "{time}")?,
        None => write!(out, "-")?,
    }
    writeln!(out, " {} {}", stream.unwrap_or("-"), text.len())?;
    out.write_all(text)
}

/// Reads the next item; None at the end of the stream.
///
/// # Errors
/// Those of reading, and `InvalidData` for what is no item.
pub(super) fn read(input: &mut impl BufRead) -> io::Result<Option<Item>> {
    let mut head = String::new();
    input.read_line(&mut head)?;
    let words: Vec<&str> = head.split_ascii_whitespace().collect();
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    let mut text = |length: &str| {
        let length = length.parse().ok().filter(|length| *length <= TEXT_MAX);
        let mut text = vec![0; length.ok_or_else(nonsense)?];
        input.read_exact(&mut text)?;
        io::Result::Ok(text)
    };
    let item = match words[..] {
        [] => return Ok(None),
        ["done"] => Item::Done,
        ["error", length] => Item::Error(String::from_utf8_lossy(&text(length)?).into_owned()),
        ["line", index, time, stream, length] => {
            let entry = Entry {
                time: time.parse().ok(),
                stream: STREAMS.into_iter().find(|it| *it == stream),
                text: text(length)?,
            };
            Item::Line(index.parse().map_err(|_| nonsense())?, entry)
        }
        _ => return Err(nonsense()),
    };
    Ok(Some(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = |time: &str, stream, text: &[u8]| Entry {
            time: time.parse().ok(),
            stream,
            text: text.to_vec(),
        };
        let entries = [
            entry("2026-11-26T17:30:00.123456Z", Some("stderr"), b"one"),
            entry("", None, b"\xff\ndone\nline 0"),
            entry("2026-11-26T17:30:00Z", Some("tenantd"), b""),
        ];
        let mut bytes = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            write(&mut bytes, index, entry).unwrap();
        }
        bytes.extend_from_slice(b"error 2\nnodone\n");
        let mut input = &bytes[..];
        for (index, entry) in entries.into_iter().enumerate() {
            assert_eq!(read(&mut input).unwrap(), Some(Item::Line(index, entry)));
        }
        assert_eq!(
            read(&mut input).unwrap(),
            Some(Item::Error("no".to_owned()))
        );
        assert_eq!(read(&mut input).unwrap(), Some(Item::Done));
        assert_eq!(read(&mut input).unwrap(), None);
        assert!(read(&mut &b"line 0 - - 99999999999\n"[..]).is_err());
        assert!(read(&mut &b"more\n"[..]).is_err());
    }
}
