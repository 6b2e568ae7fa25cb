//! The visitors of a tenant: the commands that `exec` runs in it, each with its children. They are in a
//! part of the leaf of their own, so that the end of the program is seen while they are there.

use std::io;
use std::path::{Path, PathBuf};

use super::folders::{folders, is_populated, pids_in, remove_folder};
use super::leaf::VISITORS;
use super::{Leaf, failure, is_in_use, make};
use crate::process::start_ticks;
use tenantd_core::name::TenantName;
use tenantd_core::stage::Failure;

/// Makes the cgroup of one command below the part of the visitors, which must exist.
///
/// # Errors
/// Those of mkdir(2).
pub fn begin_visit(visitors: &Path, tenant: &TenantName) -> io::Result<Leaf> {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let path = visitors.join(format!("{pid}-{}", start_ticks(pid).unwrap_or_default()));
    std::fs::create_dir(&path)?;
    Ok(Leaf::new(path, tenant.clone()))
}

impl Leaf {
    pub(super) fn visitors_path(&self) -> PathBuf {
        self.path().join(VISITORS)
    }

    /// Makes the part of the leaf that visitors enter, unless it exists, and returns its path.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn make_visitors(&self) -> Result<PathBuf, Failure> {
        let path = self.visitors_path();
        make(&path).map_err(|(path, error)| failure(&path, &error))?;
        Ok(path)
    }

    /// Whether a visitor is in the tenant.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn has_visitors(&self) -> Result<bool, Failure> {
        is_populated(&self.visitors_path())
    }

    /// The processes of visitors.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn visitors(&self) -> Result<Vec<i32>, Failure> {
        pids_in(folders(&self.visitors_path(), &[])?)
    }

    /// Sends a signal to every process of visitors. Returns the number of processes.
    ///
    /// # Errors
    /// A [`Failure`] of stage end or cgroup.
    pub fn signal_visitors(&self, signal: i32) -> Result<usize, Failure> {
        self.signal_those(|| self.visitors(), signal, |_| true)
    }

    /// Kills every process of visitors, including processes that are being forked.
    ///
    /// # Errors
    /// A [`Failure`] of stage end.
    pub fn kill_visitors(&self) -> Result<(), Failure> {
        self.kill_in(&self.visitors_path(), Self::signal_visitors)
    }

    /// Removes the part of the visitors. From then on none can enter. Returns false if a visitor is
    /// in it.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn remove_visitors(&self) -> Result<bool, Failure> {
        for folder in folders(&self.visitors_path(), &[])?.iter().rev() {
            match remove_folder(folder) {
                Ok(()) => {}
                Err(error) if is_in_use(&error) => return Ok(false),
                Err(error) => return Err(failure(folder, &error)),
            }
        }
        Ok(true)
    }
}
