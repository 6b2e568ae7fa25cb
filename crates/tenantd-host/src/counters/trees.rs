//! Which counters the cgroups of a tree have, looked up once for all of them: without a controller, its files are
//! looked for in no cgroup.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{CgroupCounters, of_cgroup_with};

/// Which counters there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Has {
    pub(super) memory: bool,
    /// `memory.peak`, since Linux 5.19.
    pub(super) peak: bool,
    pub(super) io: bool,
    pub(super) pids: bool,
}

impl Has {
    /// Nothing is known to be missing.
    pub(super) const ALL: Self = Self {
        memory: true,
        peak: true,
        io: true,
        pids: true,
    };

    /// What the cgroups in this folder have.
    pub(super) fn below(folder: &Path) -> Self {
        // Without the file nothing is known.
        let Ok(enabled) = fs::read_to_string(folder.join("cgroup.subtree_control")) else {
            return Self::ALL;
        };
        let has = |name| enabled.split_ascii_whitespace().any(|it| it == name);
        Self {
            memory: has("memory"),
            // The folder has the files too, unless it is the root.
            peak: folder.join("memory.peak").exists() || !folder.join("memory.current").exists(),
            io: has("io"),
            pids: has("pids"),
        }
    }
}

/// The trees of one round of reading.
#[derive(Debug, Default)]
pub struct Trees(RefCell<BTreeMap<PathBuf, Has>>);

impl Trees {
    /// As [`of_cgroup`](super::of_cgroup()).
    ///
    /// # Errors
    /// As there.
    pub fn of_cgroup(&self, path: &Path) -> io::Result<Option<CgroupCounters>> {
        let Some(folder) = path.parent() else {
            return of_cgroup_with(path, Has::ALL);
        };
        let known = self.0.borrow().get(folder).copied();
        let has = known.unwrap_or_else(|| {
            let has = Has::below(folder);
            self.0.borrow_mut().insert(folder.to_owned(), has);
            has
        });
        of_cgroup_with(path, has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_looked_at_once() {
        let tree = tempfile::tempdir().unwrap();
        let control = tree.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu pids\n").unwrap();
        let leaf = |name: &str| {
            let leaf = tree.path().join(name);
            fs::create_dir(&leaf).unwrap();
            for file in ["memory.current", "pids.current"] {
                fs::write(leaf.join(file), "7\n").unwrap();
            }
            leaf
        };
        let (one, other) = (leaf("one"), leaf("other"));
        let trees = Trees::default();
        let read = |trees: &Trees, leaf| {
            let read = trees.of_cgroup(leaf).unwrap().unwrap();
            (read.memory, read.pids)
        };
        // What is there is not opened: no cgroup has it without the controller.
        assert_eq!(read(&trees, &one), (None, Some(7)));
        fs::write(&control, "memory\n").unwrap();
        assert_eq!(read(&trees, &other), (None, Some(7)));
        assert_eq!(read(&Trees::default(), &other), (Some(7), None));
        fs::remove_file(control).unwrap();
        assert_eq!(read(&Trees::default(), &one), (Some(7), Some(7)));
    }
}
