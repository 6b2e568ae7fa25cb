//! What is left on the host of an application, in words: what `tenantd gc` prints.

use std::fmt;

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Leftovers {
    /// One by one.
    pub leftovers: Vec<Leftover>,
}

/// Something that belongs to no tenant of the plan, or looks as if.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Its name or path.
    pub object: String,
    /// What became of it.
    pub fate: LeftoverFate,
    /// Why it was kept or left alone, or the processes that were ended.
    pub why: Option<String>,
}

/// What a leftover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum LeftoverKind {
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

/// What became of a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum LeftoverFate {
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

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LeftoverKind::Tenant => "tenant",
            LeftoverKind::Link => "link",
            LeftoverKind::Cgroup => "cgroup",
            LeftoverKind::Name => "name",
            LeftoverKind::Folder => "folder",
            LeftoverKind::File => "file",
        };
        let fate = match self.fate {
            LeftoverFate::Found => "would remove",
            LeftoverFate::Ended => "ended",
            LeftoverFate::Removed => "removed",
            LeftoverFate::Kept => "kept",
            LeftoverFate::Stranger => "left alone",
        };
        write!(f, "{fate}: {kind} {}", self.object)?;
        match &self.why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}
