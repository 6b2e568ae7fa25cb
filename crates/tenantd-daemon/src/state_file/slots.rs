//! The state file, `/run/tenantd/APP/ledger`: a head, and a slot of fixed size for each tenant. One
//! pwrite(2) within one page writes a slot as a whole.
//!
//! A signal, even SIGKILL, does not interrupt such a write, and a checksum proves it: a slot
//! contains either the old record or the new one. Each slot is a line of text, so that people can
//! read the file. `/run` is in memory, so that no write waits for a disk. If the file does survive
//! a reboot, the boot ID in its head differs, and its records are ignored.
//!
//! [`disk`](crate::state_file::disk) defines the contents of the lines. Each record has the oldest
//! version that can hold it, and the head names the highest version of all records. So an older
//! program can take over if it knows the versions of all records. The head is raised before the
//! first record of a version is written, and lowered after the last one is erased.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::state_file::disk::{self, Head, NEWEST, OLDEST, Unreadable};
use crate::state_file::record::Record;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive;
use tenantd_host::runtime;

/// The size of a slot in bytes. Two fit into a page; a record needs about 700 bytes.
const SLOT: usize = 2048;

/// The length of a checksum with the space after it.
const CHECK: usize = 13;

/// The lengths in characters to which the texts of a record are cut, one after the other, until it
/// fits.
const SHORTER: [usize; 3] = [usize::MAX, 160, 30];

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateFileError {
    /// The file has a version newer than [`NEWEST`].
    #[error(
        "{} was written by a newer tenantd (version {found}, this one reads up to {NEWEST}); \
         nothing was changed: start the newer tenantd again, or stop the application with it \
         before starting this one", path.display()
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file cannot be opened, read or written.
    #[error("cannot use the state file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The position of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// The open file.
#[derive(Debug)]
pub(crate) struct SlotFile {
    file: File,
    /// The first line, as written last.
    head: Head,
    free: Vec<Slot>,
    /// Slots that cannot be read, until they are erased.
    damaged: Vec<Slot>,
    versions: Versions,
}

/// The version of the record in each slot.
#[derive(Debug, Default)]
struct Versions {
    /// None if the slot has no record.
    of: Vec<Option<u32>>,
    /// The number of records of each version.
    counts: BTreeMap<u32, usize>,
}

/// What an earlier supervisor wrote.
#[derive(Debug, Default)]
pub(crate) struct Previous {
    /// All readable records.
    pub(crate) records: Vec<(Slot, Record)>,
    /// Why the other records cannot be read.
    pub(crate) damaged: Vec<Unreadable>,
    /// Whether the head cannot be read.
    pub(crate) head_damaged: bool,
}

impl Previous {
    /// Whether an earlier supervisor left any record, readable or not.
    pub(crate) fn has_any(&self) -> bool {
        !self.damaged.is_empty() || self.head_damaged || !self.records.is_empty()
    }

    /// Logs what of the file could not be read.
    pub(crate) fn log_damage(&self, app: &AppName) {
        let (damaged, read) = (self.damaged.len(), self.records.len());
        let path = runtime::folder(app).join(runtime::STATE_FILE);
        let path = path.display();
        if self.head_damaged {
            tracing::warn!(
                "the head of the state file {path} is damaged and was rewritten; {read} records \
                 are readable"
            );
        } else if let Some(first) = self.damaged.first() {
            tracing::warn!(
                "{damaged} records of the state file {path} are damaged and were erased; the \
                 first: {}",
                first.with_cause()
            );
        }
    }

    /// The inode of the network namespace in the record of a tenant.
    pub(crate) fn netns_of(&self, tenant: &TenantName) -> Option<u64> {
        let mut records = self.records.iter().map(|(_, record)| record);
        let record = records.find(|record| record.tenant == *tenant)?;
        (record.netns != 0).then_some(record.netns)
    }
}

impl SlotFile {
    /// Opens or creates the file of an application, and reads its records.
    ///
    /// # Errors
    /// See [`StateFileError`]. After an error the file is unchanged.
    pub(crate) fn open(app: &AppName) -> Result<(Self, Previous), StateFileError> {
        let path = runtime::folder(app).join(runtime::STATE_FILE);
        let boot = boot_id().map_err(failed(Path::new(BOOT_ID)))?;
        Self::open_at(&path, boot)
    }

    /// Checks whether [`SlotFile::open`] would succeed. Changes nothing.
    ///
    /// # Errors
    /// See [`StateFileError`].
    pub(crate) fn look(app: &AppName) -> Result<(), StateFileError> {
        let path = runtime::folder(app).join(runtime::STATE_FILE);
        match std::fs::read(&path) {
            Ok(bytes) => known(&path, &bytes).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    pub(crate) fn open_at(path: &Path, boot: String) -> Result<(Self, Previous), StateFileError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(failed(path))?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut &file, &mut bytes).map_err(failed(path))?;
        let head = known(path, &bytes)?;
        let boot_before = head.map(|head| head.boot);
        let mut state_file = Self::new(file, boot);
        let previous = match boot_before {
            Some(before) if before == state_file.head.boot => state_file.read(&bytes),
            // The processes and namespaces of another boot do not exist any more.
            Some(_) => Previous::default(),
            None if bytes.is_empty() => Previous::default(),
            // Each record has its own checksum, so a damaged head makes no record unusable.
            None => {
                let of_this_boot = is_of_this_boot(&state_file.file).map_err(failed(path))?;
                let previous = of_this_boot.then(|| state_file.read(&bytes));
                Previous {
                    head_damaged: true,
                    ..previous.unwrap_or_default()
                }
            }
        };
        state_file.begin().map_err(failed(path))?;
        Ok((state_file, previous))
    }

    fn new(file: File, boot: String) -> Self {
        let version = OLDEST;
        Self {
            file,
            head: Head { version, boot },
            free: Vec::new(),
            damaged: Vec::new(),
            versions: Versions::default(),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let length = (self.versions.of.len() + 1) * SLOT;
        self.file.set_len(length as u64)?;
        self.write_head(self.versions.newest())?;
        for slot in std::mem::take(&mut self.damaged) {
            self.erase(slot)?;
        }
        Ok(())
    }

    fn write_head(&mut self, version: u32) -> io::Result<()> {
        self.head.version = version;
        let head = line(&serde_json::to_string(&self.head)?)?;
        self.file.write_all_at(&head, 0)
    }

    fn read(&mut self, bytes: &[u8]) -> Previous {
        let mut previous = Previous::default();
        for slot in bytes.chunks(SLOT).skip(1) {
            let at = self.versions.grow();
            let decoded = text(slot).and_then(|text| text.map(disk::decode).transpose());
            match decoded {
                Ok(Some((version, record))) => {
                    self.versions.set(at, Some(version));
                    previous.records.push((at, record));
                }
                Ok(None) => self.free.push(at),
                Err(why) => {
                    previous.damaged.push(why);
                    self.damaged.push(at);
                }
            }
        }
        previous
    }

    /// Writes a record in place of the tenant's previous one, as a whole or not at all.
    pub(crate) fn write(&mut self, slot: &mut Option<Slot>, mut record: Record) -> io::Result<()> {
        let mut fits = Err(io::ErrorKind::FileTooLarge.into());
        for characters in SHORTER {
            record.checkpoint.shorten(characters);
            record.statement.shorten(characters);
            fits = encoded(&record);
            if fits.is_ok() {
                break;
            }
        }
        if let (Err(_), Some(holds)) = (&fits, &mut record.made.holds) {
            // A path may be longer than a slot. It is left out: then no tenant waits for the
            // datastore.
            holds.source = None;
            fits = encoded(&record);
        }
        let (version, line) = fits?;
        self.put(slot, version, &line)
    }

    fn put(&mut self, slot: &mut Option<Slot>, version: u32, line: &[u8; SLOT]) -> io::Result<()> {
        let free = &mut self.free;
        let versions = &mut self.versions;
        let at = *slot.get_or_insert_with(|| free.pop().unwrap_or_else(|| versions.grow()));
        if version > self.head.version {
            self.write_head(version)?;
        }
        self.file.write_all_at(line, at.offset())?;
        self.holds(at, Some(version))
    }

    /// Erases the record in a slot.
    pub(crate) fn erase(&mut self, slot: Slot) -> io::Result<()> {
        self.file.write_all_at(&line("")?, slot.offset())?;
        self.free.push(slot);
        self.holds(slot, None)
    }

    /// Notes what a slot contains now, and lowers the head if its version is not used any more.
    fn holds(&mut self, slot: Slot, version: Option<u32>) -> io::Result<()> {
        self.versions.set(slot, version);
        let newest = self.versions.newest();
        if newest < self.head.version {
            self.write_head(newest)?;
        }
        Ok(())
    }
}

impl Versions {
    /// Adds a slot without a record.
    fn grow(&mut self) -> Slot {
        self.of.push(None);
        Slot(self.of.len() - 1)
    }

    fn set(&mut self, slot: Slot, version: Option<u32>) {
        let Some(of) = self.of.get_mut(slot.0) else {
            return;
        };
        if let Some(version) = version {
            *self.counts.entry(version).or_default() += 1;
        }
        if let Some(before) = std::mem::replace(of, version)
            && let Some(count) = self.counts.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&before);
            }
        }
    }

    /// The highest version of all records; [`OLDEST`] if there are none.
    fn newest(&self) -> u32 {
        let newest = self.counts.last_key_value();
        newest.map_or(OLDEST, |(version, _)| *version)
    }
}

impl Slot {
    fn offset(self) -> u64 {
        (self.0 as u64 + 1) * SLOT as u64
    }
}

/// The head of a state file; None if it is damaged or missing. Then the versions of the records are
/// checked instead, so that records of a newer version are noticed.
fn known(path: &Path, bytes: &[u8]) -> Result<Option<Head>, StateFileError> {
    let first = bytes.split(|&byte| byte == b'\n').next();
    let head = first.and_then(|line| serde_json::from_str(text(line).ok()??).ok());
    let versions = |slot| disk::version(text(slot).ok()??).ok();
    let found = match &head {
        Some(Head { version, boot: _ }) => Some(*version),
        None => bytes.chunks(SLOT).skip(1).filter_map(versions).max(),
    };
    match found {
        Some(found) if found > NEWEST => Err(StateFileError::Later {
            path: path.to_owned(),
            found,
        }),
        Some(_) | None => Ok(head),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StateFileError {
    let path = path.to_owned();
    move |source| StateFileError::Io { path, source }
}

/// Whether a file was written since the boot, according to the current clocks.
fn is_of_this_boot(file: &File) -> io::Result<bool> {
    let written = file.metadata()?.modified()?;
    let up = Duration::from_nanos(clock::now().0);
    let boot = SystemTime::now().checked_sub(up);
    Ok(boot.is_none_or(|boot| written >= boot))
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string(BOOT_ID)?.trim_end().to_owned())
}

/// The bytes of a slot: the checksum, the text, spaces, and a line end.
fn line(text: &str) -> io::Result<[u8; SLOT]> {
    let mut slot = [b' '; SLOT];
    slot[SLOT - 1] = b'\n';
    if !text.is_empty() {
        let mut room = &mut slot[..SLOT - 1];
        write!(room, "{:012x} {text}", derive::hash(text))?;
    }
    Ok(slot)
}

/// The bytes of the slot of a record, with its version.
fn encoded(record: &Record) -> io::Result<(u32, [u8; SLOT])> {
    let (version, text) = disk::encode(record)?;
    Ok((version, line(&text)?))
}

/// The text in a slot; None if the slot is empty.
fn text(slot: &[u8]) -> Result<Option<&str>, Unreadable> {
    let text = std::str::from_utf8(slot).map_err(|_| Unreadable::Checksum)?;
    let text = text.trim_matches(['\0', ' ', '\n']);
    if text.is_empty() {
        return Ok(None);
    }
    let (check, text) = text.split_at_checked(CHECK).ok_or(Unreadable::Checksum)?;
    if check.trim_end() != format!("{:012x}", derive::hash(text)) {
        return Err(Unreadable::Checksum);
    }
    Ok(Some(text))
}
