//! Whether a running program is the file that is on disk.

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// The file that a running program was started from, compared with the file that is now on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Program {
    /// The file is unchanged.
    Current,
    /// The file was replaced, changed or removed since the launch.
    Older,
}

impl Program {
    /// Its word, as in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Older => "older",
        }
    }
}
