//! Freezes the processes of a leaf, and takes their memory. The kernel's files are the only record of it, so
//! a frozen tenant stays frozen without a supervisor.

use std::fs::{self, File};
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::by_hand::used;
use super::reclaim::{Taken, reclaim};
use super::{Leaf, Limiter};
use tenantd_core::stage::{Failure, Stage};

/// How long processes may take to freeze. One that waits for a disk does not freeze before.
const LIMIT: Duration = Duration::from_secs(5);

impl Leaf {
    /// Freezes every process in the leaf, also those that start meanwhile, and waits until the kernel has
    /// frozen them. If that takes too long they continue, and also if `goes_on` is false by then: the launch is
    /// another one, or is to end. Blocks.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn freeze(&self, goes_on: &dyn Fn() -> bool) -> Result<(), Failure> {
        if !goes_on() {
            return Err(self.not_the_same());
        }
        self.freeze_all()?;
        // What ends or replaces the launch thaws it, and may have done so before it was frozen.
        match goes_on() {
            true => Ok(()),
            false => self.thaw().and_then(|()| Err(self.not_the_same())),
        }
    }

    fn not_the_same(&self) -> Failure {
        let why = "it was stopped or restarted meanwhile, and is not paused";
        Failure::detail(Stage::Cgroup, self.path().display().to_string(), why)
    }

    fn freeze_all(&self) -> Result<(), Failure> {
        let events = self.path().join("cgroup.events");
        let opened = File::open(&events).map_err(|error| failure(&events, &error))?;
        self.write_freeze("1")?;
        let begun = Instant::now();
        // The kernel reports a change of the file as urgent data.
        while !self.is_frozen() {
            let left = LIMIT.saturating_sub(begun.elapsed());
            if left.is_zero() {
                self.thaw()?;
                let why = format!(
                    "its processes were not frozen within {} s, and continue: one of them waits for a disk \
                     or another machine",
                    LIMIT.as_secs()
                );
                let object = self.path().display().to_string();
                return Err(Failure::detail(Stage::Cgroup, object, why));
            }
            let mut watched = [PollFd::new(&opened, PollFlags::PRI)];
            let left = Timespec::try_from(left.min(Duration::from_millis(100))).ok();
            match poll(&mut watched, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failure(&events, &errno.into())),
            }
        }
        Ok(())
    }

    /// Lets the processes continue. Succeeds if they are not frozen.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn thaw(&self) -> Result<(), Failure> {
        self.write_freeze("0")
    }

    fn write_freeze(&self, value: &str) -> Result<(), Failure> {
        let path = self.path().join("cgroup.freeze");
        match fs::write(&path, value) {
            // Linux before 5.2 cannot freeze it.
            Err(error) if error.kind() == ErrorKind::NotFound && value == "0" => Ok(()),
            written => written.map_err(|error| failure(&path, &error)),
        }
    }
}

impl Limiter {
    /// Takes the memory of a leaf: writes it to swap, and drops what is also on a disk. Blocks until the kernel
    /// finds no more, too much time has passed, or `goes_on` is false.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn reclaim(&self, leaf: &Leaf, goes_on: &dyn Fn() -> bool) -> Result<Taken, Failure> {
        reclaim(leaf, used(leaf)?.unwrap_or_default(), goes_on)
    }

    /// Has the leaf count its memory, and checks that the kernel can take it.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits if the leaf has no memory controller, or the kernel is older than 5.19.
    pub fn can_reclaim(&self, leaf: &Leaf) -> Result<(), Failure> {
        if let Some(tree) = &self.tree {
            tree.enable_one(leaf.path(), "memory")?;
        }
        let file = leaf.path().join("memory.reclaim");
        let found = fs::metadata(&file).map_err(|error| failure(&file, &error));
        found
            .map(drop)
            .map_err(|why| why.with("it needs Linux 5.19"))
    }
}

fn failure(path: &Path, error: &Error) -> Failure {
    super::failure(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_launch_that_is_replaced_meanwhile_is_not_left_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let leaf = Leaf::new(folder.path().to_owned(), "acme".parse().unwrap());
        let freezer = folder.path().join("cgroup.freeze");
        fs::write(folder.path().join("cgroup.events"), "frozen 1\n").unwrap();
        fs::write(&freezer, "untouched").unwrap();
        // Before its turn, a restart has begun: nothing is written.
        leaf.freeze(&|| false).unwrap_err();
        assert_eq!(fs::read_to_string(&freezer).unwrap(), "untouched");
        // It begins while the kernel freezes.
        let asked = Cell::new(0);
        let failure = leaf
            .freeze(&|| asked.replace(asked.get() + 1) == 0)
            .unwrap_err();
        assert!(failure.detail.contains("restarted meanwhile"), "{failure}");
        assert_eq!(fs::read_to_string(&freezer).unwrap(), "0");
        leaf.freeze(&|| true).unwrap();
        assert_eq!(fs::read_to_string(&freezer).unwrap(), "1");
    }
}
