//! The copy of a datastore by rsync(1), and what it would miss.
//!
//! rsync takes a file for unchanged if size and time of modification are the same. That is not true of a file that was
//! written twice within one tick of the clock, one between them copied; of one whose program sets its time back; nor of
//! one that is written by mmap(2), whose time changes with the first write to a clean page only. So the last round, with
//! the tenant stopped, compares the content of each file whose status changed since the first round began. That time
//! (`st_ctime`) no program can set. Pages are clean when a first round begins, see [`flush`].
//!
//! Files are written in place, and rsync does not separate files that are one in the copy and no longer one in the
//! datastore: the last that is written would replace the others. So files with several names are copied as several files
//! while the tenant runs, and become one in the last round.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::super::plain::plain;
use super::super::progress::bar::Bar;
use super::peer::Peer;
use super::shown::{self, Ended};
use tenantd_host::relocation;

/// What rsync says if files vanished, or changed while they were read: the next round copies them.
const CHANGING: [i32; 2] = [23, 24];

/// What is in a datastore.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What it uses on disk.
    pub(super) bytes: u64,
    /// The files whose status changed since, with paths below it.
    pub(super) changed: Vec<PathBuf>,
    /// A folder in it that is in another filesystem, or another subvolume.
    pub(super) inner: Option<PathBuf>,
}

/// Looks at each entry, without following links or leaving the filesystem. What vanishes meanwhile is left out.
pub(super) fn survey(source: &Path, since: u64) -> anyhow::Result<Survey> {
    let failed = |path: &Path| format!("cannot read {}", path.display());
    let mut found = Survey::default();
    let device = fs::symlink_metadata(source).with_context(|| failed(source))?;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(source.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| failed(&source.join(&folder))),
        };
        for entry in entries {
            let entry = entry.with_context(|| failed(&source.join(&folder)))?;
            let Ok(meta) = entry.metadata() else {
                continue;
            };
            let path = folder.join(entry.file_name());
            found.bytes += meta.blocks() * 512;
            if meta.is_dir() && meta.dev() == device.dev() {
                folders.push(path);
            } else if meta.is_dir() {
                found.inner = Some(path);
            } else if meta.is_file() && u64::try_from(meta.ctime()).is_ok_and(|it| it >= since) {
                found.changed.push(path);
            }
        }
    }
    Ok(found)
}

/// Writes what is in memory of the datastore's filesystem: from then on a write by mmap(2) changes a file's times.
pub(super) fn flush(source: &Path) -> anyhow::Result<()> {
    let folder = fs::File::open(source).with_context(|| source.display().to_string())?;
    rustix::fs::syncfs(&folder).with_context(|| source.display().to_string())
}

/// What a round has sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    /// `None` if they are not counted.
    pub(super) files: Option<u64>,
    pub(super) bytes: u64,
}

/// Copies the datastore to the folder on the other host.
pub(super) fn round(
    peer: &Peer<'_>,
    folders: (&Path, &Path),
    what: &str,
    is_running: bool,
) -> anyhow::Result<Sent> {
    let mut command = rsync(peer);
    command.args(["--delete", "--inplace"]);
    if !is_running {
        command.arg("--hard-links");
    }
    let said = execute(peer, &mut command, folders, what, None)?;
    judged(&said, is_running)
}

/// Compares the content of these files, and copies what differs.
pub(super) fn compare(
    peer: &Peer<'_>,
    folders: (&Path, &Path),
    what: &str,
    files: &[PathBuf],
) -> anyhow::Result<Sent> {
    if files.is_empty() {
        return Ok(Sent {
            files: Some(0),
            bytes: 0,
        });
    }
    let mut list = Vec::new();
    for path in files {
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    let mut command = rsync(peer);
    command.args([
        "--checksum",
        "--hard-links",
        "--inplace",
        "--files-from=-",
        "--from0",
        "--no-implied-dirs",
    ]);
    let said = execute(peer, &mut command, folders, what, Some(list))?;
    judged(&said, false)
}

/// How many seconds rsync waits for the other side, which may read all of the data meanwhile: 60, and those in which a
/// slow disk does.
fn patience(bytes: u64) -> u64 {
    const SLOW: u64 = 20_000_000;
    60 + bytes / SLOW
}

fn rsync(peer: &Peer<'_>) -> Command {
    let mut command = Command::new("rsync");
    command
        .args(["-aAXS", "--numeric-ids", "--no-human-readable", "--stats"])
        .arg(format!("--filter={}", relocation::KEPT))
        .arg(format!("--timeout={}", patience(peer.bytes)))
        .args(["-e", peer.rsh])
        .env("LC_ALL", "C");
    command
}

fn execute(
    peer: &Peer<'_>,
    command: &mut Command,
    (source, to): (&Path, &Path),
    what: &str,
    list: Option<Vec<u8>>,
) -> anyhow::Result<Ended> {
    let bar = peer.is_alone.then(Bar::on_terminal).flatten();
    if bar.is_some() {
        command.args(shown::SAID);
    }
    let mut from = source.as_os_str().to_owned();
    from.push("/");
    let mut target = std::ffi::OsString::from(format!("{}:", peer.host));
    target.push(to);
    target.push("/");
    let stdin = match list {
        Some(_) => Stdio::piped(),
        None => Stdio::null(),
    };
    // Paths are given to the other side as they are, not to a shell.
    let child = command.args(["-s", "--"]).arg(from).arg(target);
    let child = child.stdin(stdin).stdout(Stdio::piped());
    let mut child = child
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot execute rsync: install it on both hosts")?;
    if let (Some(list), Some(mut stdin)) = (list, child.stdin.take()) {
        // One that ends early says why.
        drop(stdin.write_all(&list));
    }
    let what = format!("{}: {what}", peer.tenant);
    shown::follow(child, &what, bar).context("rsync")
}

/// What was sent, or why it failed. While the tenant runs, files may change meanwhile.
fn judged(said: &Ended, is_running: bool) -> anyhow::Result<Sent> {
    let code = said.status.code().unwrap_or(-1);
    if code != 0 && !(is_running && CHANGING.contains(&code)) {
        let why: Vec<&str> = said.err.trim().lines().rev().take(3).collect();
        let why: Vec<&str> = why.into_iter().rev().collect();
        let why = plain(&why.join("; "), usize::MAX);
        bail!("rsync ended with code {code}: {why}");
    }
    Ok(stats(&said.out))
}

/// The numbers of `--stats`.
fn stats(text: &str) -> Sent {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Sent {
        files: Some(number("Number of regular files transferred:").unwrap_or_default()),
        bytes: number("Total bytes sent:").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_rsync_are_read() {
        let text = "\nNumber of files: 3 (reg: 2, dir: 1)\nNumber of regular files transferred: 2\n\
                    Total file size: 2097152 bytes\nTotal bytes sent: 1234567\n";
        let Sent { files, bytes } = stats(text);
        assert_eq!((files, bytes), (Some(2), 1_234_567));
    }
}
