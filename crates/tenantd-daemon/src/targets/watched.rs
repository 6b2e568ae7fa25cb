//! The watched folders by path and by number. A folder may have several paths, through bind mounts,
//! and has one number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use tenantd_host::targets::HostWatch;

use crate::targets::group::How;

#[derive(Debug, Default)]
pub(super) struct Watched {
    by_path: BTreeMap<PathBuf, i32>,
    by_number: HashMap<i32, BTreeSet<PathBuf>>,
    /// How many groups need each path.
    needed: HashMap<PathBuf, usize>,
    /// Paths that no group needed when they were entered here.
    unneeded: BTreeSet<PathBuf>,
}

impl Watched {
    /// Notes that a path is watched by this number.
    pub(super) fn insert(&mut self, watch: &HostWatch, path: &Path, number: i32) {
        match self.by_path.insert(path.to_owned(), number) {
            // The path was another folder before, which has been renamed.
            Some(old) if old != number => self.remove(watch, path, old),
            Some(_) | None => {}
        }
        let paths = self.by_number.entry(number).or_default();
        paths.insert(path.to_owned());
        if !self.needed.contains_key(path) {
            self.unneeded.insert(path.to_owned());
        }
    }

    /// One more group needs each of these paths.
    pub(super) fn need(&mut self, paths: &[PathBuf]) {
        for path in paths {
            *self.needed.entry(path.clone()).or_default() += 1;
        }
    }

    /// A group needs these paths no longer.
    pub(super) fn release(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            let Some(groups) = self.needed.get_mut(&path) else {
                continue;
            };
            *groups -= 1;
            if *groups == 0 {
                self.needed.remove(&path);
                self.unneeded.insert(path);
            }
        }
    }

    fn remove(&mut self, watch: &HostWatch, path: &Path, number: i32) {
        let Some(paths) = self.by_number.get_mut(&number) else {
            return;
        };
        paths.remove(path);
        if paths.is_empty() {
            self.by_number.remove(&number);
            if let Err(error) = watch.remove(number) {
                tracing::warn!(%error, "cannot end the watch on {}", path.display());
            }
        }
    }

    /// Forgets a number that the kernel does not watch any longer.
    pub(super) fn forget(&mut self, number: i32) {
        for path in self.by_number.remove(&number).into_iter().flatten() {
            // It may be watched by another number already.
            if self.by_path.get(&path) == Some(&number) {
                self.by_path.remove(&path);
            }
        }
    }

    /// Ends the watches that no group needs. Looks only at paths that were needed before or are new.
    pub(super) fn prune(&mut self, watch: &HostWatch) {
        for path in std::mem::take(&mut self.unneeded) {
            if !self.needed.contains_key(&path)
                && let Some(number) = self.by_path.remove(&path)
            {
                self.remove(watch, &path, number);
            }
        }
    }

    /// The paths that a change of this number is about: those of the folder, or of an entry of it.
    pub(super) fn paths(&self, number: i32, entry: Option<&Path>, how: How) -> Vec<(PathBuf, How)> {
        let folders = self.by_number.get(&number).into_iter().flatten();
        let of = |folder: &PathBuf| match entry {
            Some(name) => folder.join(name),
            None => folder.clone(),
        };
        folders.map(|folder| (of(folder), how)).collect()
    }
}
