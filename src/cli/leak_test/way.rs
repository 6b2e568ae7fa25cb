//! What a way is, what closes it, and what follows from a result.

use std::fmt;
use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::aim::Aim;
use tenantd_core::capability::{Capabilities, Capability};
use tenantd_core::plan::model::{Firewall, HostAccess, Mode, Plan, TenantPlan};
use tenantd_core::system_calls::Preset;
use tenantd_host::launch::domain;

/// How much of a text is printed.
const TEXT: usize = 400;

/// Against what a way is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Against {
    /// The other tenant.
    Neighbour,
    /// The supervisor. A process of root, which is in no domain, stands for it.
    Supervisor,
    /// The host.
    Host,
}

/// What a process gains by a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Gain {
    /// It learns something.
    Read,
    /// It changes something.
    Write,
    /// It signals a process.
    Signal,
    /// It controls a process.
    Trace,
    /// It is taken for another.
    Impersonate,
    /// Others get less than they need.
    Starve,
    /// It survives the end of its tenant, or has more rights.
    Outlive,
}

/// One thing that a process of a tenant can try.
pub(super) struct Way {
    /// What it does, as a verb. It is unique among the ways against the same.
    pub(super) name: &'static str,
    pub(super) gain: Gain,
    pub(super) against: Against,
    /// Each of these alone closes it. If there are none, it is open by design.
    pub(super) guards: Vec<Guard>,
    pub(super) attempt: fn(&Aim) -> Attempted,
    /// Whether the attempt is a command that root starts in a folder which the tenant names.
    pub(super) enters: bool,
    /// Whether it is tried against the host at the gateway's address, which in mode macvlan a machine outside has.
    pub(super) needs_gateway: bool,
}

/// The result of an attempt, if it was not successful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shut {
    /// The kernel refused it, with this error.
    Refused(String),
    /// It could not be tried.
    Untried(String),
}

impl Shut {
    /// As it may be printed: a tenant may have written it.
    pub(super) fn plain(self) -> Self {
        match self {
            Self::Refused(text) => Self::Refused(plain(&text)),
            Self::Untried(text) => Self::Untried(plain(&text)),
        }
    }
}

/// A text that a tenant may have written, as it may be printed.
pub(super) fn plain(text: &str) -> String {
    crate::cli::plain::plain(text, TEXT)
}

/// `Ok` if the way is open.
pub(super) type Attempted = Result<(), Shut>;

impl From<io::Error> for Shut {
    fn from(error: io::Error) -> Self {
        let known = error.raw_os_error().map(Errno::from_raw_os_error);
        Self::Refused(known.map_or_else(|| error.to_string(), word))
    }
}

impl From<Errno> for Shut {
    fn from(errno: Errno) -> Self {
        Self::Refused(word(errno))
    }
}

/// The name of an error, as `EPERM`.
fn word(errno: Errno) -> String {
    let known = nix::Error::from_raw(errno.raw_os_error());
    format!("{known:?}")
}

/// What can close a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    Network,
    Mounts,
    OwnFolders,
    ReadOnlyHost,
    /// A Landlock domain, which denies tracing.
    Domain,
    /// One that denies signals too.
    Signals,
    /// One that restricts writing too.
    Writing,
    HiddenProcesses,
    Calls,
    StrictCalls,
    User,
    /// A user of its own, if its processes lack this capability, which overrides users.
    UserLacking(&'static str),
    Lacks(&'static str),
    NoNewPrivileges,
    Cgroups,
    Session,
    Keyring,
    KernelSettings,
    Isolated,
    /// The firewall, as far as the manifest does not let the tenant connect to the neighbour.
    Firewall,
    NoMagicLinks,
    Orders,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "own network namespace",
            Self::Mounts => "own mount namespace",
            Self::OwnFolders => "own /run, /tmp and /dev",
            Self::ReadOnlyHost => "read-only host",
            Self::Domain | Self::Signals | Self::Writing => "Landlock domain",
            Self::HiddenProcesses => "own /proc (hidepid)",
            Self::Calls => "system-call filter",
            Self::StrictCalls => "strict system-call filter",
            Self::User | Self::UserLacking(_) => "own user",
            Self::Lacks(name) => return write!(f, "no capability {name}"),
            Self::NoNewPrivileges => "no_new_privs",
            Self::Cgroups => "read-only cgroup file systems",
            Self::Session => "session without a terminal",
            Self::Keyring => "own session keyring",
            Self::KernelSettings => "read-only kernel settings",
            Self::Isolated => "isolated ports of the bridge",
            Self::Firewall => "firewall",
            Self::NoMagicLinks => "paths without magic links",
            Self::Orders => "no orders from inside a tenant",
        })
    }
}

impl Guard {
    /// What an operator writes in the manifest to have it; `None` if each tenant has it.
    fn remedy(self) -> Option<String> {
        Some(match self {
            Self::Domain | Self::Signals | Self::Writing => "wall.landlock".to_owned(),
            Self::HiddenProcesses => "wall.hidepid".to_owned(),
            Self::Calls => "wall.system_calls".to_owned(),
            Self::StrictCalls => "system_calls = \"strict\"".to_owned(),
            Self::User | Self::UserLacking(_) => "a user per tenant".to_owned(),
            Self::NoNewPrivileges => "set_id_programs = false".to_owned(),
            Self::OwnFolders | Self::ReadOnlyHost => "host = \"read-only\"".to_owned(),
            Self::Isolated => "network.mode = \"bridge\"".to_owned(),
            Self::Firewall => "network.firewall".to_owned(),
            Self::Lacks(name) => format!("no capability {name}"),
            Self::Network
            | Self::Mounts
            | Self::Cgroups
            | Self::Session
            | Self::Keyring
            | Self::KernelSettings
            | Self::NoMagicLinks
            | Self::Orders => return None,
        })
    }
}

/// What the manifest says about the wall of the tenant, as far as guards depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The version of its Landlock domain; 0 if it has none.
    landlock: u32,
    hidepid: bool,
    calls: Preset,
    set_id_programs: bool,
    uid: u32,
    neighbour: Option<u32>,
    /// The capabilities that its processes have.
    has: Capabilities,
    host: HostAccess,
    mode: Mode,
    firewall: Firewall,
    /// Whether the manifest lets the tenant connect to the neighbour.
    is_peer: bool,
}

impl Facts {
    pub(super) fn new(plan: &Plan, tenant: &TenantPlan, neighbour: Option<&TenantPlan>) -> Self {
        let launch = &tenant.launch;
        let privileges = launch.wall.privileges;
        let uid = launch.identity.uid;
        Self {
            landlock: if launch.wall.landlock {
                domain::version()
            } else {
                0
            },
            hidepid: launch.wall.hidepid,
            calls: match privileges.log_system_calls {
                true => Preset::None,
                false => privileges.system_calls,
            },
            set_id_programs: privileges.set_id_programs,
            uid,
            neighbour: neighbour.map(|it| it.launch.identity.uid),
            has: match uid {
                0 => privileges.bounding(0),
                uid => privileges.ambient(uid),
            },
            host: launch.view.host,
            mode: plan.network.mode,
            firewall: plan.network.firewall,
            is_peer: neighbour.is_some_and(|it| {
                let peers = &tenant.link.traffic.peers;
                peers.all || peers.named.contains_key(&it.name)
            }),
        }
    }

    /// Whether a guard is there.
    fn has(&self, guard: Guard, against: Against) -> bool {
        let has_own_user = match against {
            Against::Neighbour => self.uid != 0 && self.neighbour != Some(self.uid),
            Against::Supervisor | Against::Host => self.uid != 0,
        };
        let confines = self.landlock >= domain::RENAMES;
        match guard {
            Guard::Network
            | Guard::Mounts
            | Guard::Cgroups
            | Guard::Session
            | Guard::Keyring
            | Guard::KernelSettings
            | Guard::NoMagicLinks
            | Guard::Orders => true,
            Guard::OwnFolders | Guard::ReadOnlyHost => self.host == HostAccess::ReadOnly,
            Guard::Domain => confines,
            Guard::Signals => self.landlock >= domain::SIGNALS,
            Guard::Writing => confines && self.host == HostAccess::ReadOnly,
            // Root lacks CAP_SYS_PTRACE, which tracing a process with more capabilities needs.
            Guard::HiddenProcesses => {
                self.hidepid && (confines || has_own_user || against != Against::Neighbour)
            }
            Guard::Calls => self.calls != Preset::None,
            Guard::StrictCalls => self.calls == Preset::Strict,
            Guard::User => has_own_user,
            Guard::UserLacking(name) => has_own_user && self.lacks(name),
            Guard::Lacks(name) => self.lacks(name),
            Guard::NoNewPrivileges => !self.set_id_programs,
            Guard::Isolated => matches!(self.mode, Mode::Bridge | Mode::Port) && !self.is_peer,
            Guard::Firewall => self.firewall == Firewall::On && !self.is_peer,
        }
    }

    fn lacks(&self, name: &str) -> bool {
        !Capability::named(name).is_some_and(|it| self.has.has(it))
    }

    /// The first guard of a way that is there.
    fn closing(&self, way: &Way) -> Option<Guard> {
        let mut guards = way.guards.iter().copied();
        guards.find(|guard| self.has(*guard, way.against))
    }

    /// What follows from a result.
    pub(super) fn judge(&self, way: &Way, attempted: Attempted) -> Judged {
        let closing = self.closing(way);
        let remedies = way.guards.iter().filter_map(|guard| guard.remedy());
        let mut remedies: Vec<String> = remedies.collect();
        remedies.dedup();
        let (verdict, error) = match (attempted, closing) {
            (Ok(()), Some(_)) => (Verdict::Leak, None),
            (Ok(()), None) if way.guards.is_empty() => (Verdict::ByDesign, None),
            (Ok(()), None) => (Verdict::Open, None),
            (Err(Shut::Refused(errno)), _) => (Verdict::Closed, Some(errno)),
            (Err(Shut::Untried(why)), _) => (Verdict::Untried, Some(why)),
        };
        Judged {
            way: way.name,
            against: way.against,
            gain: way.gain,
            verdict,
            by: closing.map(|guard| guard.to_string()),
            remedies: match verdict {
                Verdict::Open => remedies,
                Verdict::Closed | Verdict::ByDesign | Verdict::Leak | Verdict::Untried => {
                    Vec::new()
                }
            },
            error,
        }
    }
}

/// What a way is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// It is closed.
    Closed,
    /// It is open, and the manifest has no guard against it.
    Open,
    /// It is open, and two namespaces cannot close it.
    ByDesign,
    /// It is open although the manifest has a guard against it.
    Leak,
    /// It could not be tried.
    Untried,
}

/// A way with its result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Judged {
    pub(super) way: &'static str,
    pub(super) against: Against,
    pub(super) gain: Gain,
    #[serde(rename = "result")]
    pub(super) verdict: Verdict,
    /// The guard that closes it, or should.
    pub(super) by: Option<String>,
    /// Keys of the manifest, each of which closes it.
    pub(super) remedies: Vec<String>,
    /// The error of the kernel, or why it could not be tried.
    pub(super) error: Option<String>,
}

impl Judged {
    /// Whether the manifest is kept.
    pub(super) fn is_as_expected(&self) -> bool {
        match self.verdict {
            Verdict::Closed | Verdict::Open | Verdict::ByDesign => true,
            Verdict::Leak | Verdict::Untried => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(plain("it's \"so\""), "it's \"so\"");
        assert_eq!(plain("a\u{1b}[2J\n\u{202e}b"), "a\\u{1b}[2J\\n\\u{202e}b");
        assert_eq!(plain(&"x".repeat(TEXT * 2)).len(), TEXT);
    }
}
