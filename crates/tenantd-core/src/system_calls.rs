//! Which system calls a tenant's processes may make: the presets, and the program for seccomp(2) that
//! the kernel runs before each call.
//!
//! The kernel emulates such a program for every number when it is loaded, to find the numbers that are
//! always allowed. So the program is a binary tree over the numbers instead of a list of comparisons:
//! that makes it cheaper to load, and cheaper for calls whose arguments are looked at.

mod calls;
mod instruction;
mod tree;

pub use calls::Architecture;
pub use instruction::Instruction;
pub use tree::program;

/// Which system calls are refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preset {
    /// What no service needs, and what reaches the kernel, the host or other namespaces.
    #[default]
    Service,
    /// Also what changes the priority, the limits or the processors of another process.
    Strict,
    /// None.
    None,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 3] = [Self::Service, Self::Strict, Self::None];

    /// Its name in a manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Strict => "strict",
            Self::None => "none",
        }
    }

    /// The preset with this name.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}
