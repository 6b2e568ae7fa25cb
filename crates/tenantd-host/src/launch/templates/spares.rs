//! Mounts that are made before a launch needs them.
//!
//! Each tenant has folders in memory, and a set of pseudoterminals, that no other has, and more than a dozen copies
//! of the cover. To make them takes more than a fifth of what the mounts of a launch cost. So a launch takes those that are there, and makes others like
//! them for the next launch once its program runs. There are never more than one launch
//! takes, however many tenants there are, and no tenant has seen one.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::launch::mounts::Mount;
use crate::launch::tmpfs::Tmpfs;
use crate::launch::view::own;
use crate::targets::MountNamespace;

/// A mount that each launch has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::launch) enum Kind {
    /// A folder in memory.
    Memory(Tmpfs),
    /// A set of pseudoterminals.
    Terminals,
    /// A copy of the cover.
    Cover,
}

impl Kind {
    /// Makes one. `cover` copies the cover.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(in crate::launch) fn make(
        self,
        cover: impl Fn() -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        match self {
            Kind::Memory(tmpfs) => tmpfs.mount(),
            Kind::Terminals => own::terminals(),
            Kind::Cover => cover(),
        }
    }
}

/// What a launch has used.
#[derive(Debug, Default)]
pub struct Used {
    /// What it has taken, which is to be made for the next one.
    pub(in crate::launch) kinds: Vec<Kind>,
    /// Its mounts, which the child has attached.
    pub(in crate::launch) mounts: Vec<Mount>,
    /// The mount namespace of the child of a rehearsal.
    pub(in crate::launch) namespace: Option<MountNamespace>,
}

/// The mounts that the next launch takes.
#[derive(Debug, Default)]
pub(super) struct Spares {
    made: Mutex<Vec<(Kind, OwnedFd)>>,
}

impl Spares {
    /// Takes one of this kind, or makes it.
    ///
    /// # Errors
    /// Those of making it.
    pub(super) fn take(
        &self,
        kind: Kind,
        cover: impl Fn() -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        let found = {
            let mut made = self.made();
            let place = made.iter().position(|(it, _)| *it == kind);
            place.map(|place| made.swap_remove(place).1)
        };
        found.map_or_else(|| kind.make(cover), Ok)
    }

    /// Makes what is missing of `kinds`, and removes all else.
    pub(super) fn replenish(&self, kinds: &[Kind], cover: impl Fn() -> Result<OwnedFd, Errno>) {
        let mut left = std::mem::take(&mut *self.made());
        let mut next = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let place = left.iter().position(|(it, _)| it == kind);
            let tree = place.map(|place| left.swap_remove(place).1);
            // If one cannot be made, the next launch tries again and says why.
            let Some(tree) = tree.or_else(|| kind.make(&cover).ok()) else {
                break;
            };
            next.push((*kind, tree));
        }
        // Those of another thread, and of another shape, are closed after the lock is free.
        let _replaced = std::mem::replace(&mut *self.made(), next);
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<(Kind, OwnedFd)>> {
        // No code panics while the lock is held.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod as_root {
    use std::os::fd::AsFd;

    use rustix::fs::fstat;

    use super::*;
    use crate::launch::tmpfs::Owner;

    fn device(tree: &OwnedFd) -> u64 {
        fstat(tree.as_fd()).unwrap().st_dev
    }

    fn cover() -> Result<OwnedFd, Errno> {
        Tmpfs::cover().mount()
    }

    #[test]
    fn no_two_launches_take_the_same() {
        let (small, large) = (4096, 1 << 20);
        let kind = |size| Kind::Memory(Tmpfs::writable(Owner::ROOT, size));
        let spares = Spares::default();
        spares.replenish(&[kind(small), kind(small), Kind::Terminals], cover);
        let first = spares.take(kind(small), cover).unwrap();
        let second = spares.take(kind(small), cover).unwrap();
        let third = spares.take(kind(small), cover).unwrap();
        assert_ne!(device(&first), device(&second));
        assert_ne!(device(&second), device(&third));
        assert_ne!(device(&first), device(&third));
        spares.replenish(&[kind(large)], cover);
        assert_eq!(spares.made().len(), 1, "what no launch takes is kept");
    }
}
