//! A process that has left the leaf of its tenant, as one that runs as root can.

use super::{Leaf, failure};
use tenantd_core::stage::Failure;

impl Leaf {
    /// Moves a process that has left the leaf back into it.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn put_back(&self, pid: i32) -> Result<(), Failure> {
        // An earlier version made no part for the program.
        let place = match self.program() {
            program if program.is_dir() => program,
            _ => self.path().to_path_buf(),
        };
        let path = place.join("cgroup.procs");
        std::fs::write(&path, pid.to_string()).map_err(|error| failure(&path, &error))
    }
}
