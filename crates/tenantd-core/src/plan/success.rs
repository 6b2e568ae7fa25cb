//! Signals, and the exits of a program that count as success.

/// A signal with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopSignal {
    /// Its number, such as 15.
    pub number: i32,
    /// Its name, such as `SIGTERM`.
    pub name: String,
}

/// An exit that counts as success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuccessExit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(StopSignal),
}
