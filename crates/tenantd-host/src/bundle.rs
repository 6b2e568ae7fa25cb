//! Bundles: a tenant as one stream, with its entry of the manifest and its datastore, for a backup or another
//! host.
//!
//! A bundle is a tar archive with PAX records. Its members, in this order:
//!
//! * `bundle.json`: the [`Head`].
//! * `data` and all below it: the datastore. Holes are those of GNU's format 1.0 for sparse files, and extended
//!   attributes are `SCHILY.xattr` records, so that other programs can read it too.
//! * `sums/N.json`, after each thousand members of `data`: their checksums.
//! * `end.json`: the numbers of members and bytes, and the checksum of all checksums.
//!
//! A checksum is that of a member's records, header and content. Whatever is read is from a stranger: a
//! [`reader`](read) checks form and bounds, and an [`import`](import::import) acts below one folder that no user can
//! enter, and by descriptors, never by a path that leaves it.

mod attributes;
mod export;
mod import;
mod pax;
mod read;
mod sums;
mod write;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use export::{Exported, export};
pub use import::{Import, Imported, done, import, verify};
pub use read::head;

/// The version of the form. A reader refuses later ones.
pub const FORMAT: u32 = 1;

/// The records of a member: extended attributes may have 64 KiB each.
const RECORDS_MAX: u64 = 4 << 20;

/// The parts of a file with holes.
const PARTS_MAX: u64 = 1 << 20;

/// A path below the datastore is shorter, as those of the kernel.
const PATH_MAX: usize = 4096;

const HEAD: &str = "bundle.json";
const DATA: &str = "data";
const SUMS: &str = "sums";
const END: &str = "end.json";

/// What a bundle is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// See [`FORMAT`].
    pub format: u32,
    /// A number of its own.
    pub id: String,
    /// The version of the program that made it.
    pub program: String,
    /// When.
    pub made: Timestamp,
    /// The name of the host.
    pub host: String,
    /// The application.
    pub app: String,
    /// The tenant.
    pub tenant: String,
    /// The keys of its entry in the manifest, with their values in TOML.
    pub entry: Vec<(String, String)>,
    /// The user of its files.
    pub uid: u32,
    /// The group of its files.
    pub gid: u32,
    /// Whether the tenant was running, and a command wrote the data.
    pub online: bool,
}

/// The end of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    members: u64,
    bytes: u64,
    sum: String,
}

/// What is counted of a bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The entries of the datastore.
    pub entries: u64,
    /// The bytes of the files, without holes.
    pub bytes: u64,
}

/// Why a bundle cannot be written, read or imported.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The stream of the bundle cannot be written or read.
    #[error("the bundle cannot be transferred")]
    Stream(#[source] io::Error),
    /// It ends too early.
    #[error("the bundle is incomplete: it ends after {} entries", .0.entries)]
    Short(Counts),
    /// It is something else.
    #[error("this is no bundle of tenantd: {0}")]
    NoBundle(String),
    /// Its form is not known.
    #[error("the bundle has format {found}, and this tenantd knows {FORMAT}: use a later tenantd")]
    Later {
        /// Its version.
        found: u32,
    },
    /// A checksum is wrong.
    #[error("the bundle is damaged: {0} is not what was exported")]
    Damaged(String),
    /// It contains what is never in a datastore, or would leave it.
    #[error("the bundle is refused: {path}: {why}")]
    Refused {
        /// The member.
        path: String,
        /// Why.
        why: String,
    },
    /// A file of the host.
    #[error("{}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// An entry of a datastore cannot be in a bundle.
    #[error("{}: {why}", .path.display())]
    Unfit {
        /// The entry.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The datastore is used, or another host has it.
    #[error(transparent)]
    Held(#[from] crate::bundle::Held),
}

/// A failed stage, which refuses a datastore.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Held(pub tenantd_core::stage::Failure);

impl From<tenantd_core::stage::Failure> for BundleError {
    fn from(failure: tenantd_core::stage::Failure) -> Self {
        Self::Held(Held(failure))
    }
}

fn file(path: impl Into<PathBuf>) -> impl FnOnce(rustix::io::Errno) -> BundleError {
    let path = path.into();
    move |errno| BundleError::File {
        path,
        source: errno.into(),
    }
}

/// An entry of a datastore in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Its path below the datastore; empty for the datastore itself.
    path: PathBuf,
    kind: Kind,
    meta: Meta,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Folder,
    /// A file of this size, and where its data is, if it has holes.
    File {
        size: u64,
        map: Option<Vec<Part>>,
    },
    /// Another name of an earlier file.
    Link(PathBuf),
    Symlink(Vec<u8>),
    Fifo,
    /// A character device 0:0, which stands for a deleted file of an overlay.
    Whiteout,
}

/// Data in a file with holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    at: u64,
    length: u64,
}

/// The attributes of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Meta {
    mode: u32,
    uid: u32,
    gid: u32,
    seconds: i64,
    nanoseconds: u32,
    /// Names and values of extended attributes.
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}
