//! The files with the users of tenants.

use std::collections::{BTreeMap, BTreeSet};
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
    users: BTreeMap<String, OwnUser>,
    /// How many users have a number, and a name.
    numbers: BTreeMap<u32, usize>,
    names: BTreeMap<String, usize>,
    /// The numbers of `owners`.
    owned: BTreeSet<u32>,
    /// The last owners of all datastores that are remembered.
    owners: Vec<(String, u32)>,
    /// Numbers for user namespaces.
    subordinate: Vec<SubIds>,
}

impl Records {
    /// Reads everything.
    pub(super) fn read() -> Result<Self, NoOwnUser> {
        let owners = datastore::owners();
        let mut records = Self {
            users: BTreeMap::new(),
            numbers: BTreeMap::new(),
            names: BTreeMap::new(),
            owned: owners.iter().map(|(_, uid)| *uid).collect(),
            owners,
            subordinate: subordinate()?,
        };
        for (label, user) in users()? {
            records.add(label, user);
        }
        Ok(records)
    }

    /// Adds the user of a tenant that has none.
    pub(super) fn add(&mut self, label: String, user: OwnUser) {
        *self.numbers.entry(user.uid).or_default() += 1;
        *self.names.entry(user.name.clone()).or_default() += 1;
        self.users.insert(label, user);
    }

    /// The user of a tenant.
    pub(super) fn of(&self, label: &str) -> Option<&OwnUser> {
        self.users.get(label)
    }

    /// All of them.
    pub(super) fn into_users(self) -> BTreeMap<String, OwnUser> {
        self.users
    }

    /// Whether a tenant's user has this name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Whether a number is a tenant's, was one's, or is to be left alone.
    pub(super) fn has(&self, uid: u32) -> bool {
        self.numbers.contains_key(&uid)
            || self.owned.contains(&uid)
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
        let is_others =
            self.numbers.contains_key(uid) || others.into_iter().any(|(_, owner)| owner == uid);
        Ok((!is_others && !is_of_host(*uid)?).then_some(*uid))
    }

    /// Whether another tenant has the number or the name of a user.
    pub(super) fn is_other(&self, label: &str, user: &OwnUser) -> bool {
        let own = self.users.get(label);
        let more_than = |own: bool, all: Option<&usize>| *all.unwrap_or(&0) > usize::from(own);
        let (has_uid, has_name) = (
            own.is_some_and(|own| own.uid == user.uid),
            own.is_some_and(|own| own.name == user.name),
        );
        more_than(has_uid, self.numbers.get(&user.uid))
            || more_than(has_name, self.names.get(&user.name))
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
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
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
