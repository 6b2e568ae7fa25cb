//! What follows the end of a program.

use std::time::Duration;

use serde::Serialize;

use crate::plan::success::SuccessExit;

/// What happens when a program exits without a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// When it is restarted.
    pub when: RestartWhen,
    /// The delay after the first strike. It doubles with each further strike.
    pub delay: Duration,
    /// The maximum delay.
    pub delay_max: Duration,
    /// A launch that ran for this long clears the strikes.
    pub healthy_after: Duration,
    /// A tenant becomes failed after this many strikes within `window`. 0 means never.
    pub strikes: u32,
    /// The window for `strikes`.
    pub window: Duration,
    /// The exits that count as success in addition to status 0.
    pub success: Vec<SuccessExit>,
}

/// When a program that exited without a request is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// Always.
    Always,
    /// Unless it exited with success. Then the tenant is released and becomes exited.
    OnFailure,
    /// Never. The tenant becomes exited after success, and failed otherwise.
    Never,
}
