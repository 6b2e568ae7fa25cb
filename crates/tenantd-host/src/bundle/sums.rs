//! The checksums of a bundle.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BundleError, End};

/// How many members one list of checksums is of.
pub(super) const EACH: usize = 1000;

/// A list of checksums, in the order of the members.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct List {
    pub(super) sums: Vec<String>,
}

/// The checksums of what was written or read.
#[derive(Default)]
pub(super) struct Sums {
    one: Sha256,
    /// Since the last list, with what they are of.
    last: Vec<(String, String)>,
    whole: Sha256,
    members: u64,
    pub(super) bytes: u64,
}

impl Sums {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.one.update(bytes);
    }

    /// The member is complete.
    pub(super) fn next(&mut self, name: String) {
        let sum = hex(&std::mem::take(&mut self.one).finalize());
        self.whole.update(sum.as_bytes());
        self.last.push((sum, name));
        self.members += 1;
    }

    pub(super) fn is_due(&self) -> bool {
        self.last.len() >= EACH
    }

    /// The list of those since the last one.
    pub(super) fn take(&mut self) -> List {
        let last = std::mem::take(&mut self.last);
        let sums = last.into_iter().map(|(sum, _)| sum);
        List {
            sums: sums.collect(),
        }
    }

    /// Compares those since the last list with a list that was read.
    ///
    /// # Errors
    /// The first one that differs.
    pub(super) fn check(&mut self, list: &List) -> Result<(), BundleError> {
        let last = std::mem::take(&mut self.last);
        let mut listed = list.sums.iter();
        for (sum, name) in last {
            if listed.next() != Some(&sum) {
                return Err(BundleError::Damaged(name));
            }
        }
        match listed.next() {
            None => Ok(()),
            Some(_) => Err(BundleError::Damaged("a list of checksums".to_owned())),
        }
    }

    pub(super) fn end(&self) -> End {
        End {
            members: self.members,
            bytes: self.bytes,
            sum: hex(&self.whole.clone().finalize()),
        }
    }

    /// Whether each member is in a list.
    pub(super) fn is_listed(&self) -> bool {
        self.last.is_empty()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        // A string takes everything.
        let _written = write!(text, "{byte:02x}");
    }
    text
}
