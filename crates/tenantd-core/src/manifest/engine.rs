//! What starts and stops a tenant.

use super::problem::Problems;
use super::value::{At, Decode, one_of};

/// What starts and stops a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The supervisor, as the manifest and operators want.
    #[default]
    Tenantd,
    /// Pacemaker, by its agent `ocf:tenantd:tenant`, which asks the supervisor.
    Pacemaker,
    /// Another program. The supervisor never starts the tenant.
    Other,
}

/// The words of the manifest.
pub(super) const ENGINES: &[&str] = &["tenantd", "pacemaker", "other"];

impl Engine {
    /// Its word, as in a manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tenantd => "tenantd",
            Self::Pacemaker => "pacemaker",
            Self::Other => "other",
        }
    }

    /// The engine of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Tenantd, Self::Pacemaker, Self::Other];
        all.into_iter().find(|engine| engine.word() == word)
    }

    /// Its word, unless it is the supervisor.
    #[must_use]
    pub fn foreign(self) -> Option<&'static str> {
        match self {
            Self::Tenantd => None,
            Self::Pacemaker | Self::Other => Some(self.word()),
        }
    }
}

impl Decode for Engine {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let word = one_of(at, problems)?;
        match Self::of_word(word) {
            Some(engine) => Some(engine),
            None => unreachable!("{word} is a choice of {}", at.key.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_that_of_an_engine() {
        for word in ENGINES {
            assert_eq!(Engine::of_word(word).map(Engine::word), Some(*word));
        }
        assert_eq!(Engine::of_word("nomad"), None);
        assert_eq!(Engine::default().foreign(), None);
    }
}
