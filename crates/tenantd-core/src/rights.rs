//! What a group may do with tenants, by `[[control.operators]]` of the manifest.

use std::fmt;

use serde::Serialize;

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// See the state. Each other right includes it.
    Status,
    /// Start a tenant.
    Start,
    /// Stop a tenant.
    Stop,
    /// Restart a tenant.
    Restart,
    /// Make its program read its configuration again.
    ReloadApp,
    /// Send a signal to its program.
    Kill,
    /// Pause it, and let it continue.
    Pause,
    /// Set its limits by hand, until it stops.
    Set,
    /// Read its log.
    Logs,
    /// Run commands in it, as its user.
    Exec,
}

impl Right {
    /// All rights.
    pub const EACH: [Self; 10] = [
        Self::Status,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::ReloadApp,
        Self::Kill,
        Self::Pause,
        Self::Set,
        Self::Logs,
        Self::Exec,
    ];

    /// The words of all, in the same order.
    pub const WORDS: [&'static str; Self::EACH.len()] = {
        let mut words = [""; Self::EACH.len()];
        let mut at = 0;
        while at < words.len() {
            words[at] = Self::EACH[at].word();
            at += 1;
        }
        words
    };

    /// Its word in the manifest: the command that it allows.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::ReloadApp => "reload-app",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Set => "set",
            Self::Logs => "logs",
            Self::Exec => "exec",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
