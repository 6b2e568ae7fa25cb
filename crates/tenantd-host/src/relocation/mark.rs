//! What a folder says of a move that is under way, and what can be wrong with it.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{XattrFlags, lgetxattr, removexattr, setxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::sync;
use crate::owner::Host;
use tenantd_core::stage::Failure;

/// The attribute of the folder that a copy grows in, and of a datastore that is moved.
pub(super) const ATTRIBUTE: &str = "trusted.tenantd.move";

/// A mark is much shorter.
pub(super) const SIZE_MAX: usize = 4096;

/// What is known of a move that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The other host.
    pub other: Host,
    /// `APP/TENANT`.
    pub label: String,
    /// The generation of the owner record that the target takes, once the copy is complete.
    pub sealed: Option<u64>,
    /// When the source had proved, before the copy was complete, that it uses the datastore no longer.
    #[serde(default)]
    pub left: Option<Timestamp>,
    /// When the first round began, in seconds since 1970.
    pub since: u64,
    /// Whether the tenant was wanted up then.
    pub was_up: bool,
    /// At the source, the number of the last snapshot that the target has completely.
    #[serde(default)]
    pub sent: Option<u64>,
}

/// Why a step of a move was not done.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A file of the host.
    #[error("{}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// What is there does not allow it.
    #[error("{}: {why}", .path.display())]
    Refused {
        /// Which folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A stage refuses it.
    #[error("{0}")]
    Stage(Failure),
}

impl From<Failure> for MoveError {
    fn from(failure: Failure) -> Self {
        Self::Stage(failure)
    }
}

pub(super) fn file(path: &Path) -> impl FnOnce(Errno) -> MoveError {
    move |errno| MoveError::File {
        path: path.to_owned(),
        source: errno.into(),
    }
}

pub(super) fn refused(path: &Path, why: impl Into<String>) -> MoveError {
    MoveError::Refused {
        path: path.to_owned(),
        why: why.into(),
    }
}

/// The mark of a folder; `None` if it has none or does not exist.
///
/// # Errors
/// Those of getxattr(2), and a mark that is damaged.
pub fn mark_of(folder: &Path) -> Result<Option<Mark>, MoveError> {
    let mut bytes = [0; SIZE_MAX];
    let length = match lgetxattr(folder, ATTRIBUTE, &mut bytes[..]) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(file(folder)(errno)),
    };
    let mark = serde_json::from_slice(&bytes[..length]);
    mark.map(Some).map_err(|error| {
        let why = format!(
            "its attribute {ATTRIBUTE} is damaged ({error}): `setfattr -x {ATTRIBUTE} {}`",
            folder.display()
        );
        refused(folder, why)
    })
}

/// Marks a folder, on disk.
///
/// # Errors
/// Those of setxattr(2): a filesystem without such attributes keeps no owner record either, so nothing is moved there.
pub fn mark(folder: &Path, mark: &Mark) -> Result<(), MoveError> {
    let text = serde_json::to_vec(mark).map_err(|error| refused(folder, error.to_string()))?;
    match setxattr(folder, ATTRIBUTE, &text, XattrFlags::empty()) {
        Ok(()) => sync(folder),
        Err(Errno::OPNOTSUPP) => Err(refused(
            folder,
            "its filesystem keeps no trusted attributes, so no owner record says which host may start the tenant: move \
             it by `tenantd export` and `tenantd import`",
        )),
        Err(errno) => Err(file(folder)(errno)),
    }
}

/// Removes the mark of a folder.
///
/// # Errors
/// Those of removexattr(2).
pub fn unmark(folder: &Path) -> Result<(), MoveError> {
    match removexattr(folder, ATTRIBUTE) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(()),
        Err(errno) => Err(file(folder)(errno)),
    }
}
