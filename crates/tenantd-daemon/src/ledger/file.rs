//! The ledger's file, `/run/tenantd/APP/ledger`: a head, and a slot of fixed size for each tenant,
//! which is written as a whole by one pwrite(2) of part of one page.
//!
//! Such a write is not torn by a signal, SIGKILL included, and a checksum proves it: a slot holds
//! the record before or the one after. Each is a line of text, so that the file can be read by
//! people. `/run` is in memory: nothing here waits for a disk, and nothing outlives a reboot. A file
//! that does is known by the boot that it names, and forgotten.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::super::clock;
use super::super::record::Record;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::derive;
use tenantd_host::runtime;

/// The form of the file.
pub(crate) const VERSION: u32 = 2;

/// Bytes of a slot, of which two fit a page. A record has about 700.
const SLOT: usize = 2048;

/// Digits of a checksum, with the space behind them.
const CHECK: usize = 13;

/// To so many characters the texts of a record are shortened, until it fits.
const SHORTER: [usize; 3] = [usize::MAX, 160, 30];

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// It is of a form that came later.
    #[error(
        "{} was written by a later tenantd (form {found}, this one knows {VERSION}) and nothing \
         was touched: start that tenantd again, or stop the application with it before this one \
         takes over", path.display()
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
    /// It cannot be opened, read or written.
    #[error("cannot use the ledger {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the first line says in every form.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    boot: String,
}

/// Where a tenant's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// The file, open for as long as its supervisor lives.
#[derive(Debug)]
pub(crate) struct LedgerFile {
    file: File,
    free: Vec<Slot>,
    /// Those that hold what cannot be read, until they are struck out.
    damaged: Vec<Slot>,
    slots: u32,
}

/// What an earlier supervisor wrote down.
#[derive(Debug, Default)]
pub(crate) struct Legacy {
    /// All records that can be read.
    pub(crate) records: Vec<(Slot, Record)>,
    /// How many cannot.
    damaged: usize,
    /// Whether even the head cannot.
    beheaded: bool,
}

impl Legacy {
    /// Whether an earlier supervisor left anything to go on with.
    pub(crate) fn knows_anything(&self) -> bool {
        self.damaged > 0 || self.beheaded || !self.records.is_empty()
    }

    /// Says what of the file could not be read.
    pub(crate) fn say_damage(&self, app: &AppName) {
        let (damaged, read) = (self.damaged, self.records.len());
        let path = runtime::folder(app).join(runtime::LEDGER);
        let path = path.display();
        if self.beheaded {
            tracing::warn!(
                "the ledger {path} has a damaged head: it is written anew, and {read} of its records \
                 can still be read"
            );
        } else if damaged > 0 {
            tracing::warn!("{damaged} records of the ledger {path} are damaged, and struck out");
        }
    }

    /// The network namespace that a tenant had.
    pub(crate) fn netns_of(&self, tenant: &TenantName) -> Option<u64> {
        let mut records = self.records.iter().map(|(_, record)| record);
        let record = records.find(|record| record.tenant == *tenant)?;
        (record.netns != 0).then_some(record.netns)
    }
}

impl LedgerFile {
    /// Opens the file of an application, or makes it, and reads what is there.
    ///
    /// # Errors
    /// See [`LedgerError`]; nothing was changed then.
    pub(crate) fn open(app: &AppName) -> Result<(Self, Legacy), LedgerError> {
        let path = runtime::folder(app).join(runtime::LEDGER);
        let boot = boot_id().map_err(failed(Path::new(BOOT_ID)))?;
        Self::open_at(&path, boot)
    }

    /// Whether [`LedgerFile::open`] would do. Changes nothing.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub(crate) fn look(app: &AppName) -> Result<(), LedgerError> {
        let path = runtime::folder(app).join(runtime::LEDGER);
        match std::fs::read(&path) {
            Ok(bytes) => known(&path, &bytes).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    fn open_at(path: &Path, boot: String) -> Result<(Self, Legacy), LedgerError> {
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
        let mut ledger = Self {
            file,
            free: Vec::new(),
            damaged: Vec::new(),
            slots: 0,
        };
        let legacy = match head {
            Some(head) if head.boot == boot => ledger.read(&bytes),
            // Nothing that it names is there any more.
            Some(_) => Legacy::default(),
            None if bytes.is_empty() => Legacy::default(),
            // Each record has a checksum of its own, and is believed as far as the kernel confirms it.
            None => {
                let of_this_boot = is_of_this_boot(&ledger.file).map_err(failed(path))?;
                let legacy = of_this_boot.then(|| ledger.read(&bytes));
                Legacy {
                    beheaded: true,
                    ..legacy.unwrap_or_default()
                }
            }
        };
        ledger.begin(boot).map_err(failed(path))?;
        Ok((ledger, legacy))
    }

    fn begin(&mut self, boot: String) -> io::Result<()> {
        let length = u64::from(self.slots + 1) * SLOT as u64;
        self.file.set_len(length)?;
        let version = VERSION;
        let head = line(&serde_json::to_string(&Head { version, boot })?)?;
        self.file.write_all_at(&head, 0)?;
        for slot in std::mem::take(&mut self.damaged) {
            self.strike_out(slot)?;
        }
        Ok(())
    }

    fn read(&mut self, bytes: &[u8]) -> Legacy {
        let mut legacy = Legacy::default();
        for slot in bytes.chunks(SLOT).skip(1) {
            let at = Slot(self.slots);
            self.slots += 1;
            match parse(slot) {
                Ok(Some(record)) => legacy.records.push((at, record)),
                Ok(None) => self.free.push(at),
                Err(_) => {
                    legacy.damaged += 1;
                    self.damaged.push(at);
                }
            }
        }
        legacy
    }

    /// Writes a record in place of the one that the tenant had, whole or not at all.
    pub(crate) fn write(&mut self, slot: &mut Option<Slot>, mut record: Record) -> io::Result<()> {
        let mut fits = Err(io::ErrorKind::FileTooLarge.into());
        for characters in SHORTER {
            record.memory.shorten(characters);
            fits = line(&serde_json::to_string(&record)?);
            if fits.is_ok() {
                break;
            }
        }
        if let (Err(_), Some(holds)) = (&fits, &mut record.made.holds) {
            // A path may be longer than a slot: then nobody waits for that datastore.
            holds.source = None;
            fits = line(&serde_json::to_string(&record)?);
        }
        let at = *slot.get_or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.slots += 1;
                Slot(self.slots - 1)
            })
        });
        self.file.write_all_at(&fits?, at.offset())
    }

    /// Strikes out what is remembered of a tenant.
    pub(crate) fn strike_out(&mut self, slot: Slot) -> io::Result<()> {
        self.file.write_all_at(&line("")?, slot.offset())?;
        self.free.push(slot);
        Ok(())
    }
}

impl Slot {
    fn offset(self) -> u64 {
        (u64::from(self.0) + 1) * SLOT as u64
    }
}

/// The head of a ledger, if it has one and its form is known.
fn known(path: &Path, bytes: &[u8]) -> Result<Option<Head>, LedgerError> {
    let head: Option<Head> = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .and_then(|line| parse(line).ok().flatten());
    match head {
        Some(head) if head.version > VERSION => Err(LedgerError::Later {
            path: path.to_owned(),
            found: head.version,
        }),
        head => Ok(head),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { path, source }
}

/// Whether a file was written to since the boot, by the clocks as they stand.
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

/// A line that fills a slot: the checksum, the text, spaces.
fn line(text: &str) -> io::Result<[u8; SLOT]> {
    let mut slot = [b' '; SLOT];
    slot[SLOT - 1] = b'\n';
    if !text.is_empty() {
        let mut room = &mut slot[..SLOT - 1];
        write!(room, "{:012x} {text}", derive::hash(text))?;
    }
    Ok(slot)
}

/// What a slot says; nothing if it is empty.
fn parse<T: for<'a> Deserialize<'a>>(slot: &[u8]) -> io::Result<Option<T>> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(slot).map_err(|_| damaged())?;
    let text = text.trim_matches(['\0', ' ', '\n']);
    if text.is_empty() {
        return Ok(None);
    }
    let (check, text) = text.split_at_checked(CHECK).ok_or_else(damaged)?;
    if check.trim_end() != format!("{:012x}", derive::hash(text)) {
        return Err(damaged());
    }
    Ok(Some(serde_json::from_str(text)?))
}
