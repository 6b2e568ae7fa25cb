//! Gives everything in a datastore to its tenant's user.
//!
//! A tenant, which is hostile, has made what is in it. So nothing is done by path: each entry is opened below
//! the folder that contains it, without following a link or leaving the filesystem, and exactly what is
//! open gets the owner. A file that has a name outside of the datastore too is left: to give it away would give
//! away what that name stands for. The kernel takes the set-user-ID bit and capabilities from each
//! file that gets another owner, see chown(2).
//!
//! What the manifest gives to another user with `user` or `group` of a folder is that user's afterwards, and what is
//! root's so stays as it is. In a datastore with several folders, those above them stay root's.
//!
//! The caller has claimed the datastore, so no process of the tenant runs. A folder gets its owner after
//! what is in it, so the folder of the datastore comes last: if this is interrupted, its owner still says
//! so, and doing it again continues.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::fs::{chownat, fstat, openat2};
use rustix::io::Errno;
use serde::Serialize;

use super::folders::below;
use super::layout::{self, open_folder, parent};
use super::{failure, open};
use crate::claim::Claim;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::{DatastorePlan, TenantPlan};
use tenantd_core::stage::{Failure, Stage};

/// How many entries that were left are named.
const NAMED: usize = 20;

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Given {
    /// How many entries got the owner.
    pub changed: u64,
    /// How many had it already.
    pub unchanged: u64,
    /// How many were left.
    pub left: u64,
    /// Those of them that come first, each with the reason.
    pub reasons: Vec<Left>,
}

/// An entry that was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Gives the datastore of a tenant to its user. With `dry_run`, only counts. The claim is held meanwhile, so the
/// tenant cannot be started.
///
/// # Errors
/// A [`Failure`] of stage lock if a launch uses the datastore, and of stage datastore with the folder that
/// cannot be read or changed.
pub fn give(app: &AppName, tenant: &TenantPlan, dry_run: bool) -> Result<Given, Failure> {
    let plan = &tenant.datastore;
    let source = plan.source.as_path();
    if plan.uid == 0 {
        let why = "the tenant runs as root, which may have given files to other users: use chown(1) for those that \
                   are to be root's";
        return Err(Failure::detail(
            Stage::Datastore,
            source.display().to_string(),
            why,
        ));
    }
    let root = open(source).map_err(|errno| failure(source, errno))?;
    let label = format!("{app}/{}", tenant.name);
    let own = layout::open_own(root.as_fd()).map_err(|errno| failure(source, errno))?;
    let claim = Claim::hold(root.as_fd(), source, &label)?;
    let mut walk = Walk {
        plan,
        is_tree: plan.is_tree() && own.is_some(),
        dry_run,
        links: HashMap::new(),
        given: Given::default(),
    };
    let walked = walk
        .all(&root, Pass::Count)
        .and_then(|()| walk.all(&root, Pass::Give));
    let walked = walked.map_err(|(below, errno)| failure(&source.join(below), errno));
    claim.give_up()?;
    walked?;
    for left in &mut walk.given.reasons {
        left.path = source.join(&left.path);
    }
    Ok(walk.given)
}

/// What a walk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Counts the names of each file that has several.
    Count,
    /// Gives away.
    Give,
}

/// A folder on the way from the root to where the walk is.
struct Level {
    stat: Stat,
    names: Vec<CString>,
}

struct Walk<'a> {
    plan: &'a DatastorePlan,
    /// Whether each path that the program expects has a folder of its own.
    is_tree: bool,
    dry_run: bool,
    /// How many names in the datastore a file has, by device and inode.
    links: HashMap<(u64, u64), libc::nlink_t>,
    given: Given,
}

/// An error, and where below the datastore.
type Broken = (PathBuf, Errno);

impl Walk<'_> {
    /// Visits everything, folders after what they contain. Holds only one folder open at a time, however deep.
    fn all(&mut self, root: &OwnedFd, pass: Pass) -> Result<(), Broken> {
        let mut path = PathBuf::new();
        let at = |path: &PathBuf| {
            let path = path.clone();
            move |errno| (path, errno)
        };
        let mut folder = open_folder(root.as_fd(), ".").map_err(at(&path))?;
        let stat = fstat(&folder).map_err(at(&path))?;
        let names = names(&folder, true).map_err(at(&path))?;
        let mut levels = vec![Level { stat, names }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                let stat = level.stat;
                levels.pop();
                self.entry(&folder, &stat, &path, pass).map_err(at(&path))?;
                let Some(above) = levels.last() else {
                    break;
                };
                folder = parent(&folder, &above.stat).map_err(at(&path))?;
                path.pop();
                continue;
            };
            path.push(OsStr::from_bytes(name.to_bytes()));
            match self.visit(&folder, &name, &path, pass).map_err(at(&path))? {
                Some((inner, level)) => {
                    folder = inner;
                    levels.push(level);
                }
                None => {
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// Visits an entry. Returns a folder to walk through.
    fn visit(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        path: &Path,
        pass: Pass,
    ) -> Result<Option<(OwnedFd, Level)>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let entry = match openat2(folder, name, flags, Mode::empty(), resolve) {
            Ok(entry) => entry,
            // Something is mounted there.
            Err(Errno::XDEV) => {
                self.leave(path, "another filesystem is mounted there", pass);
                return Ok(None);
            }
            // A process of that user that is not the tenant's has removed it.
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&entry)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            self.entry(&entry, &stat, path, pass)?;
            return Ok(None);
        }
        let inner = open_folder(entry.as_fd(), ".")?;
        let names = names(&inner, false)?;
        Ok(Some((inner, Level { stat, names })))
    }

    fn entry(
        &mut self,
        entry: &OwnedFd,
        stat: &Stat,
        path: &Path,
        pass: Pass,
    ) -> Result<(), Errno> {
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let key = (stat.st_dev, stat.st_ino);
        if pass == Pass::Count {
            if !is_folder && stat.st_nlink > 1 {
                *self.links.entry(key).or_insert(0) += 1;
            }
            return Ok(());
        }
        let Some((uid, gid)) = self
            .owner(path)
            .filter(|it| *it != (stat.st_uid, stat.st_gid))
        else {
            self.given.unchanged += 1;
            return Ok(());
        };
        let names = self.links.get(&key).copied().unwrap_or(1);
        let links = stat.st_nlink;
        if !is_folder && names < links {
            let reason = format!("it has {links} names, {} of them elsewhere", links - names);
            self.leave(path, &reason, pass);
            return Ok(());
        }
        if !self.dry_run {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(entry, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        self.given.changed += 1;
        Ok(())
    }

    /// The owner that a path in the datastore gets; `None` if it keeps its own.
    fn owner(&self, path: &Path) -> Option<(u32, u32)> {
        let plan = self.plan;
        let is_above = |target: &Path| below(target) != path && below(target).starts_with(path);
        let is_in = |target: &Path| path.starts_with(below(target));
        if self.is_tree && plan.targets().any(is_above) && !plan.targets().any(is_in) {
            return None;
        }
        let folders = plan.folders.iter();
        let folder = folders
            .filter(|folder| path.starts_with(below(&folder.target)))
            .max_by_key(|folder| folder.target.components().count());
        let uid = folder.and_then(|it| it.uid).unwrap_or(plan.uid);
        let gid = folder.and_then(|it| it.gid).unwrap_or(plan.gid);
        (uid != 0).then_some((uid, gid))
    }

    fn leave(&mut self, path: &Path, reason: &str, pass: Pass) {
        if pass == Pass::Count {
            return;
        }
        self.given.left += 1;
        if self.given.reasons.len() < NAMED {
            self.given.reasons.push(Left {
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
}

/// The names in a folder. What tenantd itself keeps in the datastore is root's and stays so.
fn names(folder: &OwnedFd, is_root: bool) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        if is_root && name.to_bytes() == layout::OWN.as_bytes() && is_roots(folder.as_fd())? {
            continue;
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Whether the folder of tenantd in a datastore is root's. A tenant may have made one in a plain datastore.
fn is_roots(root: BorrowedFd<'_>) -> Result<bool, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::statat(root, layout::OWN, flags)?.st_uid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::plan::model::{FolderPlan, Seed};

    fn folder(target: &str, uid: Option<u32>, gid: Option<u32>) -> FolderPlan {
        FolderPlan {
            target: target.into(),
            seed: Seed::Empty,
            uid,
            gid,
            mode: None,
        }
    }

    #[test]
    fn what_the_manifest_gives_to_others_stays_theirs() {
        let plan = DatastorePlan {
            source: "/data/acme".into(),
            root: Path::new("/data").into(),
            target: None,
            folders: [
                folder("/srv/wiki", None, None),
                folder("/srv/wiki/mail", Some(8), None),
                folder("/srv/wiki/mail/shared", None, Some(9)),
                folder("/etc/wiki", Some(0), Some(5)),
            ]
            .into(),
            uid: 70000,
            gid: 70000,
            mode: 0o750,
            map: None,
            must_exist: false,
            mounted: false,
        };
        let mut walk = Walk {
            plan: &plan,
            is_tree: true,
            dry_run: true,
            links: HashMap::new(),
            given: Given::default(),
        };
        let tenants = Some((70000, 70000));
        for (path, owner) in [
            ("", None),
            ("srv", None),
            ("srv/wiki", tenants),
            ("srv/wiki/mailbox", tenants),
            ("srv/wiki/mail", Some((8, 70000))),
            ("srv/wiki/mail/deep/file", Some((8, 70000))),
            ("srv/wiki/mail/shared/file", Some((70000, 9))),
            ("etc/wiki/file", None),
            ("var/no/longer/listed", tenants),
        ] {
            assert_eq!(walk.owner(Path::new(path)), owner, "{path}");
        }
        walk.is_tree = false;
        assert_eq!(walk.owner(Path::new("srv")), tenants);
    }
}
