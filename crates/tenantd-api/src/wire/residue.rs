//! The residue of an application on the host, as `tenantd gc` prints it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

/// All residue that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ResidueList {
    /// One entry per object.
    pub residue: Vec<Residue>,
}

/// An object on the host that bears the application's mark or name, and belongs to no tenant of its
/// manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Residue {
    /// The kind of object.
    pub kind: ResidueKind,
    /// The name or path of the object.
    pub object: String,
    /// What was done with the object.
    pub fate: ResidueFate,
    /// Why the object was kept or left alone, or which processes were ended.
    pub why: Option<String>,
}

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum ResidueKind {
    /// A tenant with running processes.
    Tenant,
    /// A network interface.
    Link,
    /// A table of nftables.
    Table,
    /// A cgroup leaf.
    Cgroup,
    /// The name of a network namespace, see ip-netns(8).
    Name,
    /// The runtime folder of a tenant, below `/run/tenantd`.
    Folder,
    /// A file below `/run/tenantd`.
    File,
}

/// What was done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum ResidueFate {
    /// Found by a dry run, which removes nothing.
    Found,
    /// Its processes were ended.
    Ended,
    /// The object was removed.
    Removed,
    /// The object bears the application's mark, but could not or must not be removed.
    Kept,
    /// The object does not bear the application's mark and was left alone.
    Stranger,
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResidueKind::Tenant => "tenant",
            ResidueKind::Link => "link",
            ResidueKind::Table => "table",
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
