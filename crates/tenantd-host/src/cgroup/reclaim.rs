//! Takes the memory of a leaf, bit by bit and with a limit of time: how much there is, and how fast it can be
//! written to swap, depends on the tenant.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::by_hand::used;
use super::{Leaf, failure};
use tenantd_core::stage::Failure;

/// How much is taken with one order: the kernel cannot be stopped within it.
const AT_ONCE: u64 = 16 << 20;

/// How long is taken from one leaf.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// By how many bytes the memory shrank.
    pub bytes: u64,
    /// Whether the time was over before the kernel found no more.
    pub is_cut: bool,
}

/// Has the kernel take up to this many bytes. Returns when it finds no more, and after [`LIMIT`] at the latest,
/// but for an order that the kernel has begun; also once `goes_on` is false.
pub(super) fn reclaim(
    leaf: &Leaf,
    most: u64,
    goes_on: &dyn Fn() -> bool,
) -> Result<Taken, Failure> {
    within(LIMIT, leaf, most, goes_on)
}

fn within(
    limit: Duration,
    leaf: &Leaf,
    most: u64,
    goes_on: &dyn Fn() -> bool,
) -> Result<Taken, Failure> {
    let file = leaf.path().join("memory.reclaim");
    let before = used(leaf)?.unwrap_or_default();
    let begun = Instant::now();
    let taken = |now: u64| before.saturating_sub(now);
    let mut left = most;
    let mut is_cut = false;
    while left > 0 && goes_on() {
        if begun.elapsed() >= limit {
            is_cut = true;
            break;
        }
        let some = left.min(AT_ONCE);
        match fs::write(&file, some.to_string()) {
            Ok(()) => left -= some,
            // It has not found as much, which is usual at the end.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
            // Linux before 5.19, or the leaf has no controller of memory.
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(failure(&file, &error)),
        }
    }
    Ok(Taken {
        bytes: taken(used(leaf)?.unwrap_or_default()),
        is_cut,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(files: &[(&str, &str)]) -> (tempfile::TempDir, Leaf) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let leaf = Leaf::new(folder.path().to_owned(), "acme".parse().unwrap());
        (folder, leaf)
    }

    #[test]
    fn memory_is_taken_bit_by_bit_within_a_limit_of_time() {
        let (folder, leaf) = leaf(&[("memory.current", "99999999\n"), ("memory.reclaim", "")]);
        let taken = within(Duration::from_secs(60), &leaf, 40 << 20, &|| true).unwrap();
        assert_eq!((taken.bytes, taken.is_cut), (0, false));
        // The last order is for the rest.
        let last = fs::read_to_string(folder.path().join("memory.reclaim")).unwrap();
        assert_eq!(last, (8 << 20).to_string());
        // Without time nothing more is ordered, and that is said.
        assert!(within(Duration::ZERO, &leaf, 1, &|| true).unwrap().is_cut);
        assert!(!within(Duration::ZERO, &leaf, 0, &|| true).unwrap().is_cut);
    }

    #[test]
    fn a_kernel_that_cannot_take_memory_takes_none() {
        let (_folder, leaf) = leaf(&[]);
        // A plain folder would get the file: a cgroup has only those of the kernel.
        let gone = Leaf::new(leaf.path().join("gone"), "acme".parse().unwrap());
        let taken = reclaim(&gone, 1, &|| true).unwrap();
        assert_eq!((taken.bytes, taken.is_cut), (0, false));
    }
}
