//! The manifest: TOML as written → valid values, or every problem with its place.
//!
//! Pure: what must be compared with the host is left to [`plan`](crate::plan).

use std::path::PathBuf;

mod alias;
pub mod document;
pub mod edit;
pub mod limit;
pub mod problem;
pub mod raw;
mod read;
pub mod reference;
pub mod template;
pub mod text;
pub mod value;

pub use document::{markdown, schema};

/// A manifest's text, and where it comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// What it is called when a problem in it is shown: its path as the operator gave it.
    pub name: String,
    /// The folder it lies in, absolute: what `{manifest_dir}` stands for.
    pub folder: PathBuf,
    /// Its text.
    pub text: String,
}

/// Reads a manifest. What is wrong with it is added to the problems, and missing in the answer.
pub fn read(source: &Source, problems: &mut problem::Problems) -> raw::Manifest {
    read::manifest(&source.text, problems)
}
