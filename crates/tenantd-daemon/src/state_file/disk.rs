//! The contents of the state file, version by version: plain types that are used only for the file,
//! and the conversions between them and a [`Record`].
//!
//! The types of the supervisor are not serialisable. The conversions name every field and variant,
//! so that a new state or field does not compile until it has a place here. The number in the name
//! of a type is the first version that has it. A type of a released version never changes;
//! `docs/decisions/0017-state-file-versions.md` says what may be added to it, and when a new
//! version is needed.

mod ending;
mod exit;
mod forced;
mod form;
mod last;
mod live;
mod main_process;
mod read;
mod repair;
mod says;
mod stage;
#[cfg(test)]
pub(crate) mod tests;
mod view;
mod write;

use serde::{Deserialize, Serialize};

use crate::state_file::record::Record;
use tenantd_core::name::NameError;

use form::{Record2, Record3, Written};

/// The oldest version that is read, and the one that is written if it can hold the record. Commit
/// 2157092 uses it.
pub(crate) const OLDEST: u32 = 2;

/// The newest version.
pub(crate) const NEWEST: u32 = 3;

/// Why a text cannot be read as a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The text was damaged after it was written.
    #[error("wrong checksum")]
    Checksum,
    /// It has a version that this program does not know.
    #[error("unknown version {0}")]
    Version(u32),
    /// The text is not JSON, a field is missing, or a field has an unknown value.
    #[error("not a record of version {version}")]
    Form {
        /// The version that the text names.
        version: u32,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The name of the tenant is invalid.
    #[error("invalid tenant name {name:?}")]
    Name {
        /// The name.
        name: String,
        /// Why it is invalid.
        source: NameError,
    },
    /// A failure names a stage that no version has.
    #[error("unknown stage {0:?}")]
    Stage(String),
    /// The process number is not positive.
    #[error("invalid process number {0}")]
    Process(i32),
    /// The list of addresses is empty; every tenant has at least one.
    #[error("empty list of addresses")]
    Addresses,
}

impl Unreadable {
    /// The reason and its cause, in one line.
    pub(crate) fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// Writes a record as text, in the oldest version that can hold it. Returns that version too.
pub(crate) fn encode(record: &Record) -> serde_json::Result<(u32, String)> {
    Ok(match write::record(record) {
        Written::Two(record) => (2, serde_json::to_string(&record)?),
        Written::Three(record) => (3, serde_json::to_string(&record)?),
    })
}

/// Reads a record from a text. Returns its version too.
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

/// The version that a text names.
pub(crate) fn version(text: &str) -> serde_json::Result<u32> {
    let tag: Tag = serde_json::from_str(text)?;
    Ok(tag.version)
}

/// The first line of the file, in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The highest version of all records. A program that does not know it changes nothing.
    #[serde(rename = "version")]
    pub(crate) version: u32,
    /// The ID of the boot in which the file was written, see random(4).
    #[serde(rename = "boot")]
    pub(crate) boot: String,
}

/// The version of a record. A record of version 2 does not name its version.
#[derive(Debug, Deserialize)]
struct Tag {
    #[serde(rename = "version", default = "oldest")]
    version: u32,
}

fn oldest() -> u32 {
    OLDEST
}
