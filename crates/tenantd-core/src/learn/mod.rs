//! From what one run of a program did to a manifest that gives each of that to a tenant.
//!
//! [`Seen`] is what was observed, [`Findings`] what follows from it, [`manifest`] the text, and
//! [`Learned`] the list of folders that is kept beside a manifest. Nothing here runs a program or reads
//! a file.

mod findings;
mod kept;
mod places;
mod scratch;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::findings::{Findings, Folder, OnHost, Ready};
pub use self::kept::{Learned, UnreadableList};
pub use self::places::{Place, place};
pub use self::scratch::{ScratchManifestError, of_manifest, of_program};
pub use self::text::{Program, entry, manifest};

/// What was observed during one run of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it wrote, by path.
    pub writes: Vec<Write>,
    /// The folders that it asked for and that did not exist: they were made for it, for this user.
    pub made: BTreeMap<PathBuf, String>,
    /// The paths at which a write failed because the host is read-only.
    pub refused: BTreeSet<PathBuf>,
    /// The ports on which it listened.
    pub ports: BTreeSet<Port>,
    /// The paths of the unix sockets that it made.
    pub sockets: BTreeSet<String>,
    /// The paths of unix sockets of the host that it connected to.
    pub host_sockets: BTreeSet<String>,
    /// The users that its processes ran as.
    pub users: BTreeSet<String>,
    /// The set-user-ID and set-group-ID programs that it executed.
    pub set_id: BTreeSet<PathBuf>,
    /// System calls that need a capability, each with the capability.
    pub privileged: BTreeSet<Privileged>,
    /// Whether it wrote to syslog.
    pub syslog: bool,
    /// Whether it sent `READY=1`.
    pub notified: bool,
    /// Whether its first process ended while others lived.
    pub daemonized: bool,
    /// Whether the tenant became ready.
    pub ready: bool,
    /// Why it ended before it was asked to.
    pub ended: Option<String>,
    /// The last lines of its output.
    pub output: Vec<String>,
    /// The command that used it.
    pub client: Option<Client>,
}

/// A path that was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Write {
    /// The path.
    pub path: PathBuf,
    /// What happened to it.
    pub what: What,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Whether its folder existed on the host.
    pub beside_host: bool,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was made.
    New,
    /// It has another content.
    Changed,
    /// It was opened for writing and has the same content.
    Opened,
    /// It has another owner or mode.
    Owner,
    /// It was removed.
    Deleted,
}

/// A port on which a program listened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// Whether it is one of TCP.
    pub is_tcp: bool,
    /// The address.
    pub address: IpAddr,
}

/// A system call that needs a capability.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Privileged {
    /// The name of the capability, such as `CAP_CHOWN`.
    pub capability: String,
    /// What was called.
    pub call: String,
}

/// A command that used the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// The last lines of its output.
    pub output: Vec<String>,
}

impl Client {
    /// Whether it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == Some(0)
    }
}
