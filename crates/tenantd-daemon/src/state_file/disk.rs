//! What the state file says, version by version: plain types that exist for the disk alone, and
//! the way from a [`Record`] to them and back.
//!
//! Nothing else is ever written into the file. What the supervisor thinks with has no serialised
//! form: it is taken apart field by field, so that a new state or field does not compile until it
//! has a place here. The number of a type is that of the first version which has it. A type of a
//! version that was released never changes; `docs/decisions/0017-state-file-versions.md` says what
//! may be added to it, and when a new version is needed.

mod form;
mod read;
mod stage;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use serde::{Deserialize, Serialize};

use crate::state_file::record::Record;
use tenantd_core::name::NameError;

use form::{Record2, Record3, Written};

/// The oldest version that is read, and written wherever it can hold a record. It is that of
/// commit 2157092.
pub(crate) const OLDEST: u32 = 2;

/// The newest version.
pub(crate) const NEWEST: u32 = 3;

/// Why a text is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is not what was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// It has a version that this program does not know.
    #[error("its version is {0}")]
    Version(u32),
    /// It is not JSON, or lacks a field, or has an unknown word in one.
    #[error("it is no record of version {version}")]
    Form {
        /// The version that it says it has.
        version: u32,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It is of a tenant that cannot exist.
    #[error("its tenant cannot be named {name:?}")]
    Name {
        /// Which name.
        name: String,
        /// Why not.
        source: NameError,
    },
    /// It gives as a reason a stage that no version has.
    #[error("it names the unknown stage {0:?}")]
    Stage(String),
    /// It is of a process that cannot exist.
    #[error("no process has the number {0}")]
    Process(i32),
    /// It holds no address, and every tenant has one.
    #[error("it holds an empty list of addresses")]
    Addresses,
}

impl Unreadable {
    /// Why, in one line.
    pub(crate) fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// A record as text, in the oldest version that can hold it, and that version.
pub(crate) fn encode(record: &Record) -> serde_json::Result<(u32, String)> {
    Ok(match write::record(record) {
        Written::Two(record) => (2, serde_json::to_string(&record)?),
        Written::Three(record) => (3, serde_json::to_string(&record)?),
    })
}

/// The record that a text is, and its version.
pub(crate) fn decode(text: &str) -> Result<(u32, Record), Unreadable> {
    let form = |version| move |source| Unreadable::Form { version, source };
    let version = version(text).map_err(form(OLDEST))?;
    let record = match version {
        2 => serde_json::from_str::<Record2>(text)
            .map_err(form(version))?
            .try_into()?,
        3 => serde_json::from_str::<Record3>(text)
            .map_err(form(version))?
            .try_into()?,
        unknown => return Err(Unreadable::Version(unknown)),
    };
    Ok((version, record))
}

/// The version that a text says it has.
pub(crate) fn version(text: &str) -> serde_json::Result<u32> {
    let tag: Tag = serde_json::from_str(text)?;
    Ok(tag.version)
}

/// The first line of the file, in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The highest version of all records: whoever does not know it touches nothing.
    #[serde(rename = "version")]
    pub(crate) version: u32,
    /// The boot that the file belongs to, see random(4).
    #[serde(rename = "boot")]
    pub(crate) boot: String,
}

/// What is asked of a record of any version. Version 2 did not say that it is one.
#[derive(Debug, Deserialize)]
struct Tag {
    #[serde(rename = "version", default = "oldest")]
    version: u32,
}

fn oldest() -> u32 {
    OLDEST
}
