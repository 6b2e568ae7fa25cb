//! The columns of `top`, and the order of its tenants. Pure.

use std::cmp::{Ordering, Reverse};

use clap::ValueEnum;

use super::usage::Usage;
use crate::cli::status::view::urgency;
use tenantd_api::wire::{StateWord, TenantStatus};

/// What tenants are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// By name.
    Name,
    /// Those that need an operator first.
    State,
    /// By processor time, the most first, as are the others.
    Cpu,
    /// By memory.
    Memory,
    /// By what they receive.
    In,
    /// By what they send.
    Out,
    /// By restarts.
    Restarts,
    /// By how long they are up.
    Uptime,
}

impl Column {
    /// All columns, in the order in which a key goes through them.
    pub(super) const ALL: [Self; 8] = [
        Self::Name,
        Self::State,
        Self::Cpu,
        Self::Memory,
        Self::In,
        Self::Out,
        Self::Restarts,
        Self::Uptime,
    ];

    /// The next column, or the previous one.
    pub(super) fn beside(self, forward: bool) -> Self {
        let all = Self::ALL;
        let place = all.iter().position(|it| *it == self).unwrap_or_default();
        let step = if forward { 1 } else { all.len() - 1 };
        all[(place + step) % all.len()]
    }

    /// Its word, as for `--sort`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::In => "in",
            Self::Out => "out",
            Self::Restarts => "restarts",
            Self::Uptime => "uptime",
        }
    }

    /// Which of two tenants comes first.
    pub(super) fn compare(
        self,
        (one, used): (&TenantStatus, &Usage),
        (other, others): (&TenantStatus, &Usage),
    ) -> Ordering {
        match self {
            Self::Name => one.name.cmp(&other.name),
            Self::State => {
                let key = |it: &TenantStatus| (it.is_as_wanted(), urgency(it.state));
                key(one).cmp(&key(other))
            }
            // What is not known comes last.
            Self::Cpu => {
                let cpu = |it: &Usage| it.cpu.unwrap_or(-1.0);
                cpu(others).total_cmp(&cpu(used))
            }
            Self::Memory => Reverse(used.memory).cmp(&Reverse(others.memory)),
            Self::In => Reverse(used.received).cmp(&Reverse(others.received)),
            Self::Out => Reverse(used.sent).cmp(&Reverse(others.sent)),
            Self::Restarts => other.restarts.cmp(&one.restarts),
            Self::Uptime => {
                let key = |it: &TenantStatus| (it.state != StateWord::Up, it.since);
                key(one).cmp(&key(other))
            }
        }
    }
}
