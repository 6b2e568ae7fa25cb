//! The files with the users of tenants.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, syncfs};
use serde::{Deserialize, Serialize};

use super::taken::{SubIds, subordinate};
use super::{ROOT, RecordError, contains, is_of_host, unreadable};
use crate::datastore;

use tenantd_core::plan::facts::{NoOwnUser, OwnUser, UidRange};

/// The contents of a file.
#[derive(Serialize, Deserialize)]
struct Record {
    user: String,
    uid: u32,
}

/// All numbers that are or were a tenant's, or are to be left alone.
pub(super) struct Records {
    /// The recorded users, with their `APP/TENANT`.
    pub(super) users: BTreeMap<String, OwnUser>,
    /// The last owners of all datastores that are remembered.
    owners: Vec<(String, u32)>,
    /// Numbers for user namespaces.
    subordinate: Vec<SubIds>,
}

impl Records {
    /// Reads everything.
    pub(super) fn read() -> Result<Self, NoOwnUser> {
        Ok(Self {
            users: users()?,
            owners: datastore::owners(),
            subordinate: subordinate()?,
        })
    }

    /// Whether a number is a tenant's, was one's, or is to be left alone.
    pub(super) fn has(&self, uid: u32) -> bool {
        self.users.values().any(|user| user.uid == uid)
            || self.owners.iter().any(|(_, owner)| *owner == uid)
            || self.subordinate.iter().any(|ids| ids.contains(uid))
    }

    /// The number that the tenant's datastore had, if its record is lost and nobody else has it.
    pub(super) fn former(&self, label: &str, range: UidRange) -> Result<Option<u32>, NoOwnUser> {
        let mut owners = self.owners.iter();
        let own = owners.find(|(tenant, uid)| tenant == label && contains(range, *uid));
        let Some((_, uid)) = own else {
            return Ok(None);
        };
        let others = self.owners.iter().filter(|(tenant, _)| tenant != label);
        let is_others = self.users.values().any(|user| user.uid == *uid)
            || others.into_iter().any(|(_, owner)| owner == uid);
        Ok((!is_others && !is_of_host(*uid)?).then_some(*uid))
    }

    /// Whether another tenant has the number or the name of a user.
    pub(super) fn is_other(&self, label: &str, user: &OwnUser) -> bool {
        let mut users = self.users.iter().filter(|(tenant, _)| *tenant != label);
        users.any(|(_, other)| other.uid == user.uid || other.name == user.name)
    }
}

fn users() -> Result<BTreeMap<String, OwnUser>, NoOwnUser> {
    let mut users = BTreeMap::new();
    for app in names(Path::new(ROOT))? {
        for tenant in names(&Path::new(ROOT).join(&app))? {
            let path = Path::new(ROOT).join(&app).join(&tenant);
            if let Some(user) = read_at(&path)? {
                users.insert(format!("{app}/{tenant}"), user);
            }
        }
    }
    Ok(users)
}

/// The names in a folder, without those that begin with a dot: no application's and no tenant's does.
fn names(folder: &Path) -> Result<Vec<String>, NoOwnUser> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(|error| unreadable(folder, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let name = entry.file_name().into_string().ok();
        names.extend(name.filter(|name| !name.starts_with('.')));
    }
    Ok(names)
}

/// Reads a record. One without contents is what a power failure left of one that nothing used.
pub(super) fn read_at(path: &Path) -> Result<Option<OwnUser>, NoOwnUser> {
    let text = match fs::read(path) {
        Ok(text) if text.is_empty() => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|error| unreadable(path, &error))?,
    };
    let read = serde_json::from_slice(&text);
    let Record { user, uid } = read.map_err(|error| NoOwnUser::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    Ok(Some(OwnUser { name: user, uid }))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path: PathBuf = path.to_owned();
    move |source| RecordError::Write { path, source }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder)
}

/// Keeps others from recording users until the file is dropped.
pub(super) fn lock() -> Result<File, RecordError> {
    let root = Path::new(ROOT);
    make(root).map_err(failed(root))?;
    let path = root.join(".lock");
    let open = || -> io::Result<File> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    open().map_err(failed(&path))
}

/// Writes a record. It is on disk before another process can find it, and so is its name when this returns; new
/// folders above it are after [`sync`].
pub(super) fn write(label: &str, user: &OwnUser) -> Result<(), RecordError> {
    let path = Path::new(ROOT).join(label);
    let folder = path.parent().unwrap_or(Path::new(ROOT));
    let new = folder.join(".new");
    let write = || -> io::Result<()> {
        make(folder)?;
        let mut options = File::options();
        let options = options.create(true).truncate(true).write(true).mode(0o644);
        let record = Record {
            user: user.name.clone(),
            uid: user.uid,
        };
        let mut text = serde_json::to_vec(&record)?;
        text.push(b'\n');
        let mut file = options.open(&new)?;
        file.write_all(&text)?;
        // Another process uses what it finds, without waiting for us.
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(failed(&path))
}

/// Writes all records and the folders above them to disk. They are in the filesystem of the lock.
pub(super) fn sync(lock: &File) -> Result<(), RecordError> {
    syncfs(lock).map_err(|errno| failed(Path::new(ROOT))(errno.into()))
}
