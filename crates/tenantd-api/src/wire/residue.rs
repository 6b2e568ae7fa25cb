//! What is left on the host of an application, in words: what `tenantd gc` prints.

use std::fmt;

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ResidueList {
    /// One by one.
    pub residue: Vec<Residue>,
}

/// Something that belongs to no tenant of the plan, or looks as if.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Residue {
    /// What it is.
    pub kind: ResidueKind,
    /// Its name or path.
    pub object: String,
    /// What became of it.
    pub fate: ResidueFate,
    /// Why it was kept or left alone, or the processes that were ended.
    pub why: Option<String>,
}

/// What residue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum ResidueKind {
    /// A tenant of which something lives.
    Tenant,
    /// A link.
    Link,
    /// A cgroup leaf.
    Cgroup,
    /// A name for ip-netns(8).
    Name,
    /// A tenant's folder in `/run`.
    Folder,
    /// A file in `/run`.
    File,
}

/// What became of residue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum ResidueFate {
    /// It is there, and nobody asked to remove it.
    Found,
    /// It lived, and was ended.
    Ended,
    /// It is gone.
    Removed,
    /// It is ours, and is still there.
    Kept,
    /// It is not ours, and was left alone.
    Stranger,
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResidueKind::Tenant => "tenant",
            ResidueKind::Link => "link",
            ResidueKind::Cgroup => "cgroup",
            ResidueKind::Name => "name",
            ResidueKind::Folder => "folder",
            ResidueKind::File => "file",
        };
        let fate = match self.fate {
            ResidueFate::Found => "would remove",
            ResidueFate::Ended => "ended",
            ResidueFate::Removed => "removed",
            ResidueFate::Kept => "kept",
            ResidueFate::Stranger => "left alone",
        };
        write!(f, "{fate}: {kind} {}", self.object)?;
        match &self.why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}
