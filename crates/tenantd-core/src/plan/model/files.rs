//! Single files of a program.

use std::path::PathBuf;
use std::sync::Arc;

/// A file that a tenant has for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlan {
    /// The path at which the program reads it.
    pub path: PathBuf,
    /// Its contents.
    pub contents: Arc<str>,
    /// The template file with the contents, if there is one.
    pub template: Option<PathBuf>,
    /// The owner. `None`: that of the host's file, or root.
    pub uid: Option<u32>,
    /// The group. `None`: that of the host's file, or the tenant's.
    pub gid: Option<u32>,
    /// The mode. `None`: that of the host's file, or 0640.
    pub mode: Option<u32>,
    /// Whether the contents may be secret, and neither owner, group nor mode is set: only root and
    /// the tenant's group can read it then.
    pub secret: bool,
}

/// Log files of a program, in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    /// The folder, as the tenant sees it.
    pub folder: PathBuf,
    /// Their names, with `*` and `?`.
    pub name: String,
}

impl LogFiles {
    /// The path with its wildcards.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}
