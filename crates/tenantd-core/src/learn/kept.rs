//! The list of folders that is kept beside a manifest, in `NAME.learned`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::model::{OWN, TenantPlan};

/// The version of the format. A list of another version is not read.
const VERSION: u32 = 1;

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableList {
    /// It is not TOML of this form.
    #[error("it is not a list of `tenantd learn`")]
    Damaged(#[source] toml::de::Error),
    /// It is one of another tenantd.
    #[error("its version is {0}, and this tenantd knows {VERSION}: type `tenantd learn` again")]
    Version(u32),
}

/// What a program wrote in runs of `tenantd learn`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The version of the format.
    version: u32,
    /// The program.
    pub program: PathBuf,
    /// The folders that it wrote to.
    pub folders: BTreeSet<PathBuf>,
}

impl Learned {
    /// A list of these folders.
    #[must_use]
    pub fn new(program: PathBuf, folders: BTreeSet<PathBuf>) -> Self {
        Self {
            version: VERSION,
            program,
            folders,
        }
    }

    /// Where the list of a manifest is.
    #[must_use]
    pub fn beside(manifest: &Path) -> PathBuf {
        manifest.with_extension("learned")
    }

    /// Reads a list.
    ///
    /// # Errors
    /// See [`UnreadableList`].
    pub fn read(text: &str) -> Result<Self, UnreadableList> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = toml::from_str(text).map_err(UnreadableList::Damaged)?;
        match head.version {
            VERSION => toml::from_str(text).map_err(UnreadableList::Damaged),
            other => Err(UnreadableList::Version(other)),
        }
    }

    /// The text of the list.
    #[must_use]
    pub fn text(&self) -> String {
        let folders = self.folders.iter();
        let folders = folders.map(|it| format!("  {},\n", quoted(it)));
        format!(
            "# The folders that a run of `tenantd learn` saw the program write to. `tenantd check`\n\
             # compares the manifest with it.\n\
             version = {VERSION}\n\
             program = {}\n\
             folders = [\n{}]\n",
            quoted(&self.program),
            folders.collect::<String>()
        )
    }

    /// The folders that a tenant does not have for itself.
    #[must_use]
    pub fn missing(&self, tenant: &TenantPlan) -> Vec<&Path> {
        let launch = &tenant.launch;
        let data = tenant.datastore.targets().map(Path::to_owned);
        let given = data.chain(launch.private.iter().cloned());
        let given = given.chain(launch.view.shared.iter().cloned());
        let given: Vec<PathBuf> = given.chain(OWN.map(PathBuf::from)).collect();
        // A folder whose inner folder is given may need only that one.
        let has = |path: &Path| {
            let mut given = given.iter();
            given.any(|given| path.starts_with(given) || given.starts_with(path))
        };
        let folders = self.folders.iter().map(PathBuf::as_path);
        folders.filter(|path| !has(path)).collect()
    }
}

fn quoted(path: &Path) -> String {
    toml::Value::from(path.display().to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let folders = ["/etc/cups", "/var/a \"b\""].map(PathBuf::from);
        let list = Learned::new("/usr/sbin/cupsd".into(), folders.into());
        assert_eq!(Learned::read(&list.text()).unwrap(), list);
        let newer = list.text().replace("version = 1", "version = 2");
        let error = Learned::read(&newer).unwrap_err().to_string();
        assert!(error.starts_with("its version is 2"), "{error}");
        assert!(Learned::read("x = 1").is_err());
    }

    #[test]
    fn a_list_is_beside_its_manifest() {
        let path = Learned::beside(Path::new("/etc/tenantd/cups.toml"));
        assert_eq!(path, Path::new("/etc/tenantd/cups.learned"));
    }
}
