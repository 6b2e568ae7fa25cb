//! The exits of a program that count as success.

use super::model::StopSignal;

/// An exit that counts as success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuccessExit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(StopSignal),
}
