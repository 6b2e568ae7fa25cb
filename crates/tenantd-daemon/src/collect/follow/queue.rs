//! The files to read: each at most once, and those of tenants that write faster than `log_rate` later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::file::Key;
use tenantd_core::name::TenantName;

type One = (TenantName, Key);

/// The files to read.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The one that was just read is last.
    ready: VecDeque<One>,
    /// All of them, those that wait too.
    all: BTreeSet<One>,
    /// The tenants whose files wait: until when, and which.
    waiting: BTreeMap<TenantName, (Instant, Vec<Key>)>,
}

impl Queue {
    /// Adds a file, unless it is there.
    pub(super) fn push(&mut self, name: &TenantName, key: Key) {
        let one = (name.clone(), key);
        if self.all.insert(one.clone()) {
            self.ready.push_back(one);
        }
    }

    /// Has the files of a tenant wait.
    pub(super) fn hold(&mut self, name: &TenantName, until: Instant) {
        let held = self.waiting.entry(name.clone());
        held.or_insert_with(|| (until, Vec::new())).0 = until;
    }

    /// Whether a file can be read at once.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next tenant has waited long enough.
    pub(super) fn until(&self) -> Option<Instant> {
        self.waiting.values().map(|(until, _)| *until).min()
    }

    /// Takes the next file to read.
    pub(super) fn pop(&mut self, now: Instant) -> Option<One> {
        let due = self.waiting.extract_if(.., |_, (until, _)| *until <= now);
        for (name, (_, keys)) in due {
            let each = keys.into_iter().map(|key| (name.clone(), key));
            self.ready.extend(each);
        }
        while let Some(one) = self.ready.pop_front() {
            match self.waiting.get_mut(&one.0) {
                Some((_, keys)) => keys.push(one.1),
                None => {
                    self.all.remove(&one);
                    return Some(one);
                }
            }
        }
        None
    }

    /// Removes the files of a tenant.
    pub(super) fn remove(&mut self, name: &TenantName) {
        self.waiting.remove(name);
        self.ready.retain(|(of, _)| of != name);
        self.all.retain(|(of, _)| of != name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_of_a_tenant_that_waits_are_read_later_and_those_of_others_at_once() {
        let [acme, bolt]: [TenantName; 2] = ["acme", "bolt"].map(|name| name.parse().unwrap());
        let key = |number: u64| -> Key { (1, number) };
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        queue.push(&acme, key(1));
        queue.push(&acme, key(1));
        queue.push(&acme, key(2));
        queue.push(&bolt, key(3));
        queue.hold(&acme, later);
        assert_eq!(queue.pop(now), Some((bolt.clone(), key(3))));
        assert_eq!(queue.pop(now), None);
        assert!(!queue.is_ready() && queue.until() == Some(later));
        // One that waits is not there twice.
        queue.push(&acme, key(2));
        assert_eq!(queue.pop(later), Some((acme.clone(), key(1))));
        assert_eq!(queue.pop(later), Some((acme.clone(), key(2))));
        assert_eq!(queue.pop(later), None);
        queue.push(&acme, key(1));
        queue.hold(&acme, later);
        queue.remove(&acme);
        assert_eq!((queue.pop(later), queue.until()), (None, None));
    }
}
