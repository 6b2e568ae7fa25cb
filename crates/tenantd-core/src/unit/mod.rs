//! From the unit of a service, as systemd reads it, to a manifest that does the same for each tenant.
//!
//! What a manifest cannot say becomes a comment, and what only a person can know a comment that is
//! marked. Nothing here reads a file: [`Surroundings`] answers what the unit refers to.

mod before;
mod command;
mod convert;
mod environment;
mod folders;
mod name;
pub(crate) mod page;
mod reload;
mod remarks;
mod specifier;
mod syntax;
mod tables;
mod time;
mod tmpfiles;
mod wall;
mod words;

use std::path::{Path, PathBuf};

pub use self::name::UnitName;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A folder on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFact {
    /// The name or number of its owner.
    pub owner: String,
    /// Whether it has something in it.
    pub full: bool,
}

/// What a unit refers to on the host.
pub trait Surroundings {
    /// The text of a file, or `None` if it does not exist.
    ///
    /// # Errors
    /// Why it cannot be read, for a person.
    fn read(&self, path: &Path) -> Result<Option<String>, String>;
    /// The files of tmpfiles.d(5).
    fn tmpfiles(&self) -> Vec<Source>;
    /// The home of a user.
    fn home(&self, user: &str) -> Option<String>;
    /// What is known of a folder, or `None` if it does not exist.
    fn folder(&self, path: &Path) -> Option<FolderFact>;
    /// Whether this regular file exists.
    fn has_file(&self, path: &Path) -> bool;
    /// The name of the host.
    fn host_name(&self) -> String;
}

/// Why no manifest can be made from a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Another kind of unit.
    #[error("{0} is no service: only a service has a program to run")]
    NoService(String),
    /// No unit can have this name.
    #[error("{0:?} is not the name of a unit: type a name such as nginx.service, or a path")]
    NoName(String),
    /// A template without an instance.
    #[error(
        "it is a template: name one of its instances, such as {prefix}@INSTANCE",
        prefix = .0.prefix()
    )]
    Template(UnitName),
    /// An empty file, or a link to /dev/null.
    #[error("{0} is masked: systemd would not start it either")]
    Masked(PathBuf),
    /// A script for init(8).
    #[error("{0} is a script, not a unit: it does not say which program it starts, and how")]
    Script(PathBuf),
    /// A file without `[Service]`.
    #[error("{0} has no section [Service]: it is not the unit of a service")]
    NoSection(PathBuf),
    /// `Type=oneshot`.
    #[error(
        "the unit is of the type oneshot: its program does something and ends. A tenant is a program \
         that keeps running"
    )]
    Oneshot,
    /// `ExecStart=` is missing.
    #[error("the unit has no ExecStart=: it starts no program")]
    NoCommand,
    /// The prefix `|`.
    #[error("ExecStart={0}: the user's login shell runs the command, which tenantd cannot do")]
    Shell(String),
    /// A program without a path.
    #[error("ExecStart={0}: the program is in none of the folders where systemd looks for it")]
    NoProgram(String),
}

/// Makes a manifest from a unit: its file first, its drop-ins after it.
///
/// # Errors
/// See [`ImportError`].
pub fn manifest(
    name: &UnitName,
    sources: &[Source],
    host: &dyn Surroundings,
) -> Result<String, ImportError> {
    if name.is_template() {
        return Err(ImportError::Template(name.clone()));
    }
    convert::convert(name, sources, host)
}
