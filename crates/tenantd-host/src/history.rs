//! What supervisors note of what happens, until the meter has read it: a file for each tenant,
//! `/var/lib/tenantd/.meter/history/APP/TENANT`, and one for what concerns several, `@app`.
//!
//! The meter makes the folder at the top; without it nothing is noted, since nobody would read it. Each file is
//! bounded, so that a tenant pushes nothing of another out: once it is full it becomes the older one, and the one
//! before is lost. Writer and reader lock a file, and the reader removes what it has read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use tenantd_core::name::{AppName, TenantName};

/// The folder of all files. It exists once a meter was started.
pub const ROOT: &str = "/var/lib/tenantd/.meter/history";

/// The most bytes of a tenant's file; there is an older one of that size too.
pub const TENANT_MAX: u64 = 32 * 1024;

/// The same for what concerns several tenants.
pub const APP_MAX: u64 = 512 * 1024;

/// The file of what concerns several tenants. No tenant has this name.
const SEVERAL: &str = "@app";

/// The end of an older file's name. No tenant has it.
const OLDER: &str = ".old";

/// How often a file is opened again that the meter has just removed.
const TRIES: usize = 100;

/// Appends a line.
///
/// # Errors
/// Those of writing; then it is lost.
pub fn append(app: &AppName, tenant: Option<&TenantName>, line: &[u8]) -> io::Result<()> {
    append_in(Path::new(ROOT), app, tenant, line)
}

fn append_in(
    root: &Path,
    app: &AppName,
    tenant: Option<&TenantName>,
    line: &[u8],
) -> io::Result<()> {
    let folder = root.join(app.as_str());
    let path = folder.join(tenant.map_or(SEVERAL, TenantName::as_str));
    let max = if tenant.is_some() {
        TENANT_MAX
    } else {
        APP_MAX
    };
    // A writer that was killed may have left half a line.
    let text = [b"\n", line, b"\n"].concat();
    for _ in 0..TRIES {
        let mut file = match open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new()
                    .mode(0o700)
                    .create(&folder)
                    .or_else(exists)?;
                continue;
            }
            opened => opened?,
        };
        lock(&file, FlockOperation::LockExclusive)?;
        let found = file.metadata()?;
        if found.nlink() == 0 || !is_at(&path, &found) {
            // The meter has read and removed it, or another thread has renamed it.
            continue;
        }
        if found.len() > 0 && found.len() + text.len() as u64 > max {
            fs::rename(&path, older(&path))?;
            continue;
        }
        return file.write_all(&text);
    }
    Err(io::Error::other("the meter removes it all the time"))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).open(path)
}

fn exists(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    }
}

fn lock(file: impl AsFd, how: FlockOperation) -> Result<(), Errno> {
    loop {
        match flock(&file, how) {
            Err(Errno::INTR) => {}
            locked => return locked,
        }
    }
}

fn is_at(path: &Path, found: &fs::Metadata) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.ino() == found.ino())
}

fn older(path: &Path) -> PathBuf {
    let mut older = path.as_os_str().to_owned();
    older.push(OLDER);
    older.into()
}

/// A file that waits for the meter, with its older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The application.
    pub app: AppName,
    /// The tenant; `None` for what concerns several.
    pub tenant: Option<TenantName>,
    path: PathBuf,
}

/// What was read, with its locks.
#[derive(Debug)]
pub struct Held {
    files: Vec<(PathBuf, File)>,
    /// The lines, the oldest first.
    pub text: String,
}

/// The files that wait, and the folder at the top, which is made.
///
/// # Errors
/// Those of making and of listing the folders.
pub fn waiting() -> io::Result<Vec<Waiting>> {
    waiting_in(Path::new(ROOT))
}

fn waiting_in(root: &Path) -> io::Result<Vec<Waiting>> {
    let mut waiting = Vec::new();
    for folder in fs::read_dir(root)? {
        let folder = folder?;
        let Some(app) = folder.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        for file in fs::read_dir(folder.path())? {
            let name = file?.file_name();
            let name = name.to_string_lossy();
            let name = name.strip_suffix(OLDER).unwrap_or(&name);
            let tenant: Option<TenantName> = name.parse().ok();
            if tenant.is_some() || name == SEVERAL {
                waiting.push(Waiting {
                    app: AppName::clone(&app),
                    tenant,
                    path: folder.path().join(name),
                });
            }
        }
    }
    waiting.sort_by(|one, other| one.path.cmp(&other.path));
    waiting.dedup();
    Ok(waiting)
}

impl Waiting {
    /// Locks and reads them. `None` if a supervisor writes just now.
    ///
    /// # Errors
    /// Those of reading.
    pub fn take(&self) -> io::Result<Option<Held>> {
        let mut held = Held {
            files: Vec::new(),
            text: String::new(),
        };
        // The newer first: only who holds it may rename it.
        for path in [self.path.clone(), older(&self.path)] {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            if !is_at(&path, &file.metadata()?) {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            (&file).take(APP_MAX * 2).read_to_end(&mut bytes)?;
            held.text.insert_str(0, &String::from_utf8_lossy(&bytes));
            held.files.push((path, file));
        }
        Ok(Some(held))
    }
}

impl Held {
    /// Removes what was read.
    ///
    /// # Errors
    /// Those of removing; then it is read again.
    pub fn forget(self) -> io::Result<()> {
        for (path, locked) in &self.files {
            // Without a newer file nothing kept a writer from making one, which has replaced the older one since.
            if is_at(path, &locked.metadata()?) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_once_and_each_tenant_has_its_own_bound() {
        let root = tempfile::tempdir().unwrap();
        let (app, noisy, quiet) = names();
        let append = |of: Option<&TenantName>, text: &str| {
            append_in(root.path(), &app, of, text.as_bytes()).unwrap();
        };
        append(Some(&quiet), "one");
        append(None, "all");
        for number in 0..5000 {
            append(Some(&noisy), &format!("{number} {}", "x".repeat(90)));
        }
        append(Some(&quiet), "two");
        let waiting = waiting_in(root.path()).unwrap();
        let of: Vec<_> = waiting.iter().map(|it| it.tenant.as_ref()).collect();
        assert_eq!(of, [None, Some(&noisy), Some(&quiet)]);
        let held: Vec<Held> = waiting
            .iter()
            .map(|it| it.take().unwrap().unwrap())
            .collect();
        let lines = |held: &Held| {
            let lines = held.text.lines().filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&held[2]), ["one", "two"]);
        let kept = lines(&held[1]);
        assert!(
            held[1].text.len() as u64 <= 2 * TENANT_MAX,
            "{}",
            kept.len()
        );
        let first: usize = kept[0].split(' ').next().unwrap().parse().unwrap();
        assert_eq!(kept.len(), 5000 - first, "the newest, without a hole");
        // A reader that was killed before it removed it.
        drop(held);
        let held = waiting[2].take().unwrap().unwrap();
        assert!(waiting[2].take().unwrap().is_none(), "it is locked");
        // A writer waits for the lock, and then finds the file removed.
        let (path, app) = (root.path().to_owned(), app.clone());
        let tenant = quiet.clone();
        let writer =
            std::thread::spawn(move || append_in(&path, &app, Some(&tenant), b"three").unwrap());
        assert_eq!(lines(&held), ["one", "two"]);
        held.forget().unwrap();
        writer.join().unwrap();
        assert_eq!(lines(&waiting[2].take().unwrap().unwrap()), ["three"]);
    }

    #[test]
    fn what_replaces_an_older_file_while_it_is_read_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let (app, tenant, _) = names();
        let append = |text: &str| {
            append_in(root.path(), &app, Some(&tenant), text.as_bytes()).unwrap();
        };
        append("first");
        // A writer, or the meter, was killed when it had renamed, or removed, the newer one.
        let path = root.path().join("wiki/acme");
        fs::rename(&path, older(&path)).unwrap();
        let waiting = waiting_in(root.path()).unwrap();
        let held = waiting[0].take().unwrap().unwrap();
        append("second");
        append(&"x".repeat(usize::try_from(TENANT_MAX).unwrap()));
        held.forget().unwrap();
        let text = waiting[0].take().unwrap().unwrap().text;
        assert!(
            text.contains("second") && !text.contains("first"),
            "{}",
            text.len()
        );
    }

    fn names() -> (AppName, TenantName, TenantName) {
        (
            "wiki".parse().unwrap(),
            "acme".parse().unwrap(),
            "bolt".parse().unwrap(),
        )
    }
}
