//! How a process ended: its type in the file, and the conversions.

use serde::{Deserialize, Serialize};
use tenantd_core::supervisor::event::Exit;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Exit2 {
    #[serde(rename = "status")]
    Status(i32),
    #[serde(rename = "signal")]
    Signal(i32),
    #[serde(rename = "unknown")]
    Unknown,
}

impl From<&Exit> for Exit2 {
    fn from(exit: &Exit) -> Self {
        match exit {
            Exit::Status(status) => Self::Status(*status),
            Exit::Signal(signal) => Self::Signal(*signal),
            Exit::Unknown => Self::Unknown,
        }
    }
}

impl From<Exit2> for Exit {
    fn from(exit: Exit2) -> Self {
        match exit {
            Exit2::Status(status) => Self::Status(status),
            Exit2::Signal(signal) => Self::Signal(signal),
            Exit2::Unknown => Self::Unknown,
        }
    }
}
