//! The manifest: parses TOML into valid values, or reports every problem with its position.
//!
//! This module does no I/O. [`plan`](crate::plan) checks what depends on the host.

use std::path::PathBuf;

mod alias;
pub mod document;
pub mod edit;
pub mod engine;
pub mod free;
pub mod limit;
pub mod problem;
pub mod process;
pub mod raw;
mod read;
pub mod reference;
pub mod storage;
pub mod suggest;
mod syntax;
pub mod template;
pub mod text;
pub mod value;

pub use document::{markdown, schema};

/// The text of a manifest, and its origin.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The name that is shown with problems: the path as the operator gave it.
    pub name: String,
    /// The absolute path of its folder: the value of `{manifest_dir}`.
    pub folder: PathBuf,
    /// Its text.
    pub text: String,
}

/// Reads a manifest. Values that are wrong are `None`, and each has been added to `problems`.
pub fn read(source: &Source, problems: &mut problem::Problems) -> raw::Manifest {
    read::manifest(&source.text, problems)
}

/// Reads the limits of one tenant of a text, and nothing else of it. `None` if it has none.
pub(crate) fn limits_of(
    text: &str,
    tenant: &str,
    problems: &mut problem::Problems,
) -> Option<raw::Limits> {
    read::limits::of(text, tenant, problems)
}
