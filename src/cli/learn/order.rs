//! What the command and the process of a scratch run say to each other: one JSON object per line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use tenantd_core::learn::Seen;
use tenantd_core::name::{AppName, TenantName};

/// The tree in which a scratch run runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tree {
    /// Everything is a union: all writes succeed.
    Union,
    /// The host's, in which a supervisor runs a tenant as always.
    Host,
}

/// A scratch run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) tree: Tree,
    pub(super) app: AppName,
    pub(super) tenant: TenantName,
    /// The text of the manifest.
    pub(super) manifest: String,
    /// Where the manifest is in the tree: templates are beside it.
    pub(super) place: PathBuf,
    /// Folders that must exist in the tree.
    pub(super) folders: Vec<PathBuf>,
    /// Whether the manifest has `notify = true` only to find out.
    pub(super) may_notify: bool,
    /// The cgroup tree, and the name of the scratch run's cgroup in it.
    pub(super) cgroups: PathBuf,
    pub(super) cgroup: String,
    /// The maximum of what can be written, in bytes.
    pub(super) size: u64,
    /// How the program is used.
    pub(super) usage: Use,
    /// The time limit to become ready.
    pub(super) ready_within: Duration,
    /// The time limit to stop.
    pub(super) stop_within: Duration,
}

/// How the program is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Use {
    /// A shell command that uses it.
    pub(super) client: Option<String>,
    /// For how long it is used besides.
    pub(super) span: Option<Duration>,
    /// Whether a person says when it is over.
    pub(super) asks: bool,
}

/// A line from the process of a scratch run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Said {
    /// Something to tell.
    Note(String),
    /// The program runs and is to be used now.
    Ready,
    /// All that was observed; the last line.
    Seen(Box<Seen>),
    /// The scratch run failed; the last line.
    Failed(String),
}

/// The line that ends the use.
pub(super) const ENOUGH: &str = "enough";

/// Writes one line to the command.
pub(super) fn say(said: &Said) -> anyhow::Result<()> {
    let line = serde_json::to_string(said)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
