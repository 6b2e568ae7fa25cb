//! Which hosts reach the data of a tenant.

use super::problem::Problems;
use super::value::{At, Decode, one_of};

/// Which hosts reach the data of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// The host that runs it, and no other: a move copies the data.
    #[default]
    Local,
    /// All hosts, at the same path: a move copies nothing.
    Shared,
    /// A device that a program copies to another host, which is promoted there before a start.
    Replicated,
}

/// The words of the manifest.
pub(super) const KINDS: &[&str] = &["local", "shared", "replicated"];

impl Storage {
    /// Its word, as in a manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Replicated => "replicated",
        }
    }
}

impl Decode for Storage {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let word = one_of(at, problems)?;
        let all = [Self::Local, Self::Shared, Self::Replicated];
        match all.into_iter().find(|storage| storage.word() == word) {
            Some(storage) => Some(storage),
            None => unreachable!("{word} is a choice of {}", at.key.name),
        }
    }
}
