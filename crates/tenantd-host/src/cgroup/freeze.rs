//! Freezes the processes of a leaf, and takes their memory. The kernel's files are the only record of it, so
//! a frozen tenant stays frozen without a supervisor.

use std::fs::{self, File};
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Leaf, Limiter};
use tenantd_core::stage::{Failure, Stage};

/// How long processes may take to freeze. One that waits for a disk does not freeze before.
const LIMIT: Duration = Duration::from_secs(5);

impl Leaf {
    /// Freezes every process in the leaf, also those that start meanwhile, and waits until the kernel has
    /// frozen them. If that takes too long they continue. Blocks.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn freeze(&self) -> Result<(), Failure> {
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
    /// Takes the memory of a leaf: writes it to swap, and drops what is also on a disk. Returns by how many
    /// bytes it shrank. Blocks until the kernel finds no more.
    ///
    /// # Errors
    /// A [`Failure`] of stage limits if the leaf has no memory controller, or the kernel is older than 5.19.
    pub fn reclaim(&self, leaf: &Leaf) -> Result<u64, Failure> {
        let file = leaf.path().join("memory.reclaim");
        let before = used(leaf)?;
        // It fails with EAGAIN if it has not found as much, which is usual.
        match fs::write(&file, before.to_string()) {
            Err(error) if error.raw_os_error() != Some(libc::EAGAIN) => {
                return Err(failure(&file, &error));
            }
            Ok(()) | Err(_) => {}
        }
        Ok(before.saturating_sub(used(leaf)?))
    }

    /// Has the leaf count its memory, and checks that the kernel can take it.
    ///
    /// # Errors
    /// Those of [`Limiter::reclaim`].
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

fn used(leaf: &Leaf) -> Result<u64, Failure> {
    let file = leaf.path().join("memory.current");
    let text = fs::read_to_string(&file).map_err(|error| failure(&file, &error))?;
    Ok(text.trim_end().parse().unwrap_or_default())
}

fn failure(path: &Path, error: &Error) -> Failure {
    super::failure(path, error)
}
