//! The manifest's file: reads it and derives the plan, or reports every problem in it.

mod noting;

use std::io;
use std::path::{Path, PathBuf};

use tenantd_api::client::app::remedy;
use tenantd_core::manifest::Source;
use tenantd_core::manifest::problem::Problems;
use tenantd_core::plan;
use tenantd_core::plan::model::Plan;
use tenantd_host::facts::Live;
use tenantd_host::given::{self, NotRecorded};
use tenantd_host::regular::{self, MANIFEST_MAX};
use tenantd_host::replace;
use tenantd_host::uids::{self, RecordError, Recorded};
use tenantd_host::want;

use noting::Noting;

/// How often the manifest is read again because another application has got a number meanwhile.
const TRIES: u32 = 10;

/// The file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// The path as the operator gave it, for messages.
    name: String,
    /// The absolute path.
    path: PathBuf,
}

/// Why no plan can be derived.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The file cannot be read.
    #[error("{name}: cannot read the manifest: {error}{}", remedy(.error))]
    Unreadable {
        /// The path as the operator gave it.
        name: String,
        /// The error of read(2) or open(2).
        error: io::Error,
    },
    /// The host has no descriptor or memory for now with which to look up what the manifest refers to.
    #[error("{name}: cannot look up users, programs or addresses of the host: {error}")]
    Unknown {
        /// The path as the operator gave it.
        name: String,
        /// The first error.
        error: io::Error,
    },
    /// The users or addresses of its tenants cannot be recorded.
    #[error("{name}: cannot record the users and addresses of tenants: {error}")]
    Unrecorded {
        /// The path as the operator gave it.
        name: String,
        /// The error.
        error: io::Error,
    },
    /// The manifest has problems.
    #[error("{0}")]
    Problems(Box<Problems>),
}

impl Unfit {
    /// The whole message, for a terminal or a log.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        match self {
            Unfit::Unreadable { .. } | Unfit::Unknown { .. } | Unfit::Unrecorded { .. } => {
                self.to_string()
            }
            Unfit::Problems(problems) => problems.render(colours),
        }
    }

    /// Whether the host only lacks something for now: then nothing is known of the manifest.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Unfit::Unreadable { error, .. }
            | Unfit::Unknown { error, .. }
            | Unfit::Unrecorded { error, .. } => want::error_passes(error),
            Unfit::Problems(_) => false,
        }
    }
}

impl ManifestFile {
    /// The manifest at a path, which may be relative to the working directory.
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

    /// Reads the file and derives the plan. Also reads the host's users, which may block.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn plan(&self) -> Result<Plan, Unfit> {
        self.read().map(|(plan, _)| plan)
    }

    /// The same, with the text from which the plan was derived.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn read(&self) -> Result<(Plan, Source), Unfit> {
        let unreadable = |error| Unfit::Unreadable {
            name: self.name.clone(),
            error,
        };
        self.derive(self.text().map_err(unreadable)?)
    }

    /// The same, for a supervisor that runs the tenants: records the users of those that have one of their own, and
    /// the addresses that were found for them, and writes that to disk.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn read_to_run(&self) -> Result<(Plan, Source), Unfit> {
        for _ in 0..TRIES {
            let (plan, source) = self.read()?;
            match uids::record(&plan) {
                Ok(Recorded::All) => {
                    given::record(&plan).map_err(|why| self.not_given(why))?;
                    return Ok((plan, source));
                }
                // Now it is read that they are taken.
                Ok(Recorded::Taken) => {}
                Err(why) => return Err(self.unrecorded(why)),
            }
        }
        let error = io::Error::other("other applications record users all the time: try again");
        Err(Unfit::Unrecorded {
            name: self.name.clone(),
            error,
        })
    }

    fn not_given(&self, NotRecorded { path, source }: NotRecorded) -> Unfit {
        Unfit::Unrecorded {
            name: format!("{}: {}", self.name, path.display()),
            error: source,
        }
    }

    fn unrecorded(&self, why: RecordError) -> Unfit {
        let error = match why {
            RecordError::Read(why) => io::Error::other(why),
            RecordError::Write { path, source } => {
                return Unfit::Unrecorded {
                    name: format!("{}: {}", self.name, path.display()),
                    error: source,
                };
            }
        };
        Unfit::Unrecorded {
            name: self.name.clone(),
            error,
        }
    }

    fn text(&self) -> io::Result<String> {
        let bytes = regular::read(&self.path, MANIFEST_MAX)?;
        if let Some(interrupted) = replace::interrupted(&self.path, &bytes)? {
            return Err(io::Error::other(interrupted));
        }
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            io::Error::other(format!("it is not UTF-8, from byte {valid} on"))
        })
    }

    /// Derives the plan from a text, as if the file contained it.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn plan_of(&self, text: String) -> Result<Plan, Unfit> {
        self.derive(text).map(|(plan, _)| plan)
    }

    fn derive(&self, text: String) -> Result<(Plan, Source), Unfit> {
        let source = Source {
            name: self.name.clone(),
            folder: self.path.parent().unwrap_or(&self.path).to_path_buf(),
            text,
        };
        let facts = Noting::new(&Live);
        let read = plan::read(&source, &facts);
        match (read, facts.wanting()) {
            (Ok(plan), None) => Ok((plan, source)),
            (Ok(_) | Err(_), Some(error)) => Err(Unfit::Unknown {
                name: self.name.clone(),
                error,
            }),
            (Err(problems), None) => Err(Unfit::Problems(Box::new(problems))),
        }
    }
}
