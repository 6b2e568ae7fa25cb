//! The manifest's file: read and planned, or every problem with it.

use std::io;
use std::path::{Path, PathBuf};

use tenantd_core::manifest::Source;
use tenantd_core::manifest::problem::Problems;
use tenantd_core::plan;
use tenantd_core::plan::model::Plan;
use tenantd_host::facts::Live;

/// Where a manifest lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// As the operator gave it.
    name: String,
    /// Absolute.
    path: PathBuf,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The file cannot be read.
    #[error("{name}: the manifest cannot be read: {source}")]
    Unreadable {
        /// Which file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It has problems.
    #[error("{0}")]
    Problems(Box<Problems>),
}

impl Unfit {
    /// All of it, as a person reads it.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        match self {
            Unfit::Unreadable { .. } => self.to_string(),
            Unfit::Problems(problems) => problems.render(colours),
        }
    }
}

impl ManifestFile {
    /// The manifest at a path, which may be relative to where we are now.
    ///
    /// # Errors
    /// What getcwd(3) reports.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            name: path.display().to_string(),
            path: std::path::absolute(path)?,
        })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it and derives the plan. Reads the host's users too, which may block.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn plan(&self) -> Result<Plan, Unfit> {
        let text = std::fs::read_to_string(&self.path);
        let unreadable = |source| Unfit::Unreadable {
            name: self.name.clone(),
            source,
        };
        self.plan_of(text.map_err(unreadable)?)
    }

    /// The plan that would be derived if this were its text.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn plan_of(&self, text: String) -> Result<Plan, Unfit> {
        let source = Source {
            name: self.name.clone(),
            folder: self.path.parent().unwrap_or(&self.path).to_path_buf(),
            text,
        };
        plan::read(&source, &Live).map_err(|problems| Unfit::Problems(Box::new(problems)))
    }
}
