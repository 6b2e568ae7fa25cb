//! The environment of a program that sends notices, see sd_notify(3).

use std::collections::BTreeMap;

use super::model::{Policy, Readiness};

/// The variable with the path of the notify socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The variable with the period of the watchdog, in microseconds. A program that stays in the foreground
/// finds its own number in `WATCHDOG_PID` then, see sd_watchdog_enabled(3).
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

impl Policy {
    /// Whether the program has a notify socket.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.ready == Readiness::Notify || self.watchdog.is_some()
    }
}

/// The same environment for a process that is not the program.
#[must_use]
pub fn without(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours = |name: &str| [NOTIFY_SOCKET, WATCHDOG_USEC].contains(&name);
    let kept = environment.iter().filter(|(name, _)| !ours(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
