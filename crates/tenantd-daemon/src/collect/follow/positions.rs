//! How far a tenant's log files were read, in a file beside its pipes: the next collector continues there.
//! It is lost with a reboot, as `/run` is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::collect::follow::file::{Key, Position};

/// The content of the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Positions {
    /// The folders that were followed: a file that is new in one of them is read from its beginning.
    #[serde(default)]
    pub(super) folders: Vec<PathBuf>,
    #[serde(default)]
    pub(super) files: Vec<Known>,
}

/// One file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) offset: u64,
    pub(super) check: u64,
}

impl Positions {
    /// Reads the file. A file that is missing or damaged has no positions.
    pub(super) fn load(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Replaces the file.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, path)
    }

    pub(super) fn of(&self, (dev, ino): Key) -> Option<Position> {
        let found = self
            .files
            .iter()
            .find(|known| (known.dev, known.ino) == (dev, ino))?;
        Some(Position {
            offset: found.offset,
            check: found.check,
        })
    }
}
