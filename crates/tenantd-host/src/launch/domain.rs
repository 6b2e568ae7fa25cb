//! The Landlock domain of a launch, see landlock(7).
//!
//! A domain confines the processes that are in it: they can neither trace nor signal a process outside,
//! whatever its user, nor open what `/proc/PID` has of it. It does not protect them from processes
//! that are in no domain. The domain of a launch whose host is read-only also restricts writing, so that
//! the two take one ruleset.
//!
//! What a kernel can confine depends on its version of the interface:
//!
//! | version | Linux | a domain |
//! |---|---|---|
//! | 0, 1 | before 5.19 | none: it would prevent every rename from one folder to another |
//! | 2 to 5 | 5.19 | confines tracing, but not signals |
//! | 6 and later | 6.12 | confines signals and abstract sockets too |

mod joined;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::OnceLock;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::raw;
use crate::ipc;
use tenantd_core::plan::model::WallPlan;
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Landlock;

/// The first version that can permit renames between folders.
pub const RENAMES: u32 = 2;

/// The first version that can restrict truncating.
const TRUNCATES: u32 = 3;

/// The first version that confines signals.
pub const SIGNALS: u32 = 6;

/// The domain that a program was started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// One of its own, with this version of the interface.
    Landlock(u32),
    /// None.
    None,
}

const LANDLOCK: &str = "landlock ";
const NONE: &str = "none";

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Landlock(version) => write!(f, "{LANDLOCK}{version}"),
            Domain::None => f.write_str(NONE),
        }
    }
}

/// A word that stands for no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no domain: {0}")]
pub struct UnknownDomain(String);

impl FromStr for Domain {
    type Err = UnknownDomain;

    fn from_str(text: &str) -> Result<Self, UnknownDomain> {
        if text == NONE {
            return Ok(Domain::None);
        }
        let version = text.strip_prefix(LANDLOCK).and_then(|it| it.parse().ok());
        version
            .map(Domain::Landlock)
            .ok_or_else(|| UnknownDomain(text.to_owned()))
    }
}

/// The version of the kernel's Landlock. 0 if it has none, or none that is active.
#[must_use]
pub fn version() -> u32 {
    static KERNELS: OnceLock<u32> = OnceLock::new();
    let kernels = *KERNELS.get_or_init(|| raw::landlock_version().unwrap_or(0));
    match std::env::var("TENANTD_LANDLOCK") {
        // A test wants launches as on an older kernel.
        Ok(most) if cfg!(debug_assertions) => kernels.min(most.parse().unwrap_or(0)),
        Ok(_) | Err(_) => kernels,
    }
}

/// The Landlock domain of a command that is run in a tenant. It is another one than the program's, so that
/// neither the tenant's processes nor those of other tenants are in its reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandDomain {
    /// None.
    None,
    /// One in which it can neither trace nor signal processes outside.
    Whole,
    /// One in which it can signal processes outside: a command of the manifest is there to do it.
    MaySignal,
    /// One with the rules of a launch: neither signals nor abstract sockets, and with `writing` only writing
    /// beneath the mounts that are writable in the tenant.
    Launch {
        /// Whether the launch restricts writing.
        writing: bool,
        /// Whether it permits POSIX message queues nevertheless.
        queues: bool,
    },
}

/// A ruleset, which restricts writing if `writing`. `None` if the kernel has none that harms no program.
/// `scopes` are left out where the kernel has none.
fn ruleset(scopes: BitFlags<Scope>, writing: bool) -> Result<Option<RulesetCreated>, Failure> {
    let version = version();
    if version < RENAMES {
        return Ok(None);
    }
    let scopes = match version {
        SIGNALS.. => scopes,
        _ => BitFlags::EMPTY,
    };
    let files: BitFlags<AccessFs> = match writing {
        true => writes(version),
        // The least that a domain can restrict, and it is permitted everywhere.
        false if scopes.is_empty() => AccessFs::Refer.into(),
        false => BitFlags::EMPTY,
    };
    let mut new = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if !files.is_empty() {
        new = new.handle_access(files).map_err(|error| failed(&error))?;
    }
    if !scopes.is_empty() {
        new = new.scope(scopes).map_err(|error| failed(&error))?;
    }
    let made = new.create().map_err(|error| failed(&error))?;
    if writing || files.is_empty() {
        return Ok(Some(made));
    }
    permit(made, open("/")?.as_fd(), AccessFs::Refer.into()).map(Some)
}

/// What writing is to a kernel's Landlock.
fn writes(version: u32) -> BitFlags<AccessFs> {
    match version {
        TRUNCATES.. => AccessFs::from_write(ABI::V3),
        _ => AccessFs::from_write(ABI::V2),
    }
}

/// What writing to a file is that is no folder.
fn writes_to_file() -> BitFlags<AccessFs> {
    AccessFs::WriteFile | AccessFs::Truncate
}

/// Something beneath which writing is permitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beneath<'fd> {
    pub(super) fd: BorrowedFd<'fd>,
    /// Whether it is a folder.
    pub(super) is_folder: bool,
}

/// The rules of a launch.
pub(super) struct Rules {
    /// By which the child enters the domain.
    pub(super) ruleset: OwnedFd,
    /// What is restricted of writing.
    restricted: BitFlags<AccessFs>,
    /// Whether writing to POSIX message queues is permitted.
    pub(super) queues: bool,
}

impl Rules {
    fn new(made: RulesetCreated, writing: bool) -> Option<Self> {
        let ruleset: Option<OwnedFd> = made.into();
        ruleset.map(|ruleset| Self {
            ruleset,
            restricted: match writing {
                true => writes(version()),
                false => BitFlags::EMPTY,
            },
            queues: false,
        })
    }

    /// Permits writing beneath what `beneath` yields. Until the child enters the domain, this holds for it too.
    ///
    /// It calls the kernel itself: the crate would look at each of some twenty descriptors again, which takes as long
    /// as the rule, and the child waits meanwhile.
    ///
    /// # Errors
    /// A [`Failure`] of stage landlock.
    pub(super) fn permit_writing<'fd>(
        &self,
        beneath: impl Iterator<Item = Beneath<'fd>>,
    ) -> Result<(), Failure> {
        if self.restricted.is_empty() {
            return Ok(());
        }
        let files = self.restricted & writes_to_file();
        for Beneath { fd, is_folder } in beneath {
            let permitted = match is_folder {
                true => self.restricted,
                false => files,
            };
            raw::landlock_permit(self.ruleset.as_fd(), fd, permitted.bits())
                .map_err(|errno| Failure::errno(STAGE, "", errno.raw_os_error()))?;
        }
        Ok(())
    }
}

/// The rules of a launch: `None` if it has no domain. With `writing`, its processes may write only beneath
/// what [`Rules::permit_writing`] permits.
///
/// # Errors
/// A [`Failure`] of stage landlock, also if the plan requires more than the kernel can.
pub(super) fn of_launch(wall: &WallPlan, writing: bool) -> Result<Option<Rules>, Failure> {
    if wall.requires.landlock && version() < SIGNALS {
        let why = format!(
            "the kernel's Landlock has version {}, and the manifest requires {SIGNALS}: use Linux 6.12 or \
             later with `landlock` among the security modules (lsm= on the kernel's command line), or \
             remove \"landlock\" from `require` in [app.wall]",
            version()
        );
        return Err(Failure::detail(STAGE, "", why));
    }
    if !wall.landlock {
        return Ok(None);
    }
    let scopes = Scope::Signal | Scope::AbstractUnixSocket;
    let made = ruleset(scopes, writing)?;
    Ok(made.and_then(|made| Rules::new(made, writing)))
}

/// The rules of the domain that a launch shares with its keeper, see [`keeper`](crate::keeper): they confine signals,
/// and restrict nothing else. `None` if the kernel cannot confine signals.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn of_keeper() -> Result<Option<OwnedFd>, Failure> {
    if version() < SIGNALS {
        return Ok(None);
    }
    Ok(ruleset(Scope::Signal.into(), false)?.and_then(Into::into))
}

/// Confines the calling thread. It can connect to the program's abstract sockets.
///
/// # Errors
/// A [`Failure`] of stage landlock. Without privileges it needs `no_new_privs`.
pub(crate) fn confine_command(domain: CommandDomain) -> Result<(), Failure> {
    let scopes: BitFlags<Scope> = match domain {
        CommandDomain::None => return Ok(()),
        CommandDomain::Whole => Scope::Signal.into(),
        CommandDomain::MaySignal => BitFlags::EMPTY,
        CommandDomain::Launch { .. } => Scope::Signal | Scope::AbstractUnixSocket,
    };
    let (writing, queues) = match domain {
        CommandDomain::Launch { writing, queues } => (writing, queues),
        CommandDomain::None | CommandDomain::Whole | CommandDomain::MaySignal => (false, false),
    };
    let Some(made) = ruleset(scopes, writing)? else {
        return Ok(());
    };
    let made = match writing {
        true => joined::permit_writing(made)?,
        false => made,
    };
    let made = match message_queues(writing && queues)? {
        Some(folder) => permit_writing(made, folder.as_fd())?,
        None => made,
    };
    let ruleset: Option<OwnedFd> = made.into();
    let Some(ruleset) = ruleset else {
        return Ok(());
    };
    raw::landlock_restrict_self(ruleset.as_fd())
        .map_err(|errno| Failure::errno(STAGE, "", errno.raw_os_error()))
}

/// The folder of all POSIX message queues, if a domain is to permit writing to them: it permits what is
/// beneath a folder, and they have none in the tenant. Their modes keep other users out.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn message_queues(is_permitted: bool) -> Result<Option<OwnedFd>, Failure> {
    let found = is_permitted.then(ipc::queue_folder).transpose();
    let found =
        found.map_err(|errno| Failure::errno(STAGE, "the message queues", errno.raw_os_error()))?;
    Ok(found.flatten())
}

fn permit_writing(
    ruleset: RulesetCreated,
    beneath: BorrowedFd<'_>,
) -> Result<RulesetCreated, Failure> {
    let found = fstat(beneath)
        .map_err(|errno: Errno| Failure::errno(STAGE, String::new(), errno.raw_os_error()))?;
    let access = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => AccessFs::from_write(ABI::V3),
        _ => writes_to_file(),
    };
    permit(ruleset, beneath, access)
}

fn permit(
    ruleset: RulesetCreated,
    beneath: BorrowedFd<'_>,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Failure> {
    // What the ruleset does not handle is left out.
    let ruleset = ruleset.set_compatibility(CompatLevel::BestEffort);
    let rule = PathBeneath::new(beneath, access);
    ruleset.add_rule(rule).map_err(|error| failed(&error))
}

/// Opens a folder to permit something beneath it.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn open(path: &str) -> Result<File, Failure> {
    File::open(path).map_err(|error: io::Error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(STAGE, path, errno)
    })
}

fn failed(error: &RulesetError) -> Failure {
    Failure::detail(STAGE, String::new(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::plan::wall::Requires;

    #[test]
    fn words_round_trip() {
        for (domain, text) in [(Domain::Landlock(7), "landlock 7"), (Domain::None, "none")] {
            assert_eq!(domain.to_string(), text);
            assert_eq!(text.parse(), Ok(domain));
        }
        assert!("landlock".parse::<Domain>().is_err());
    }

    #[test]
    fn a_kernel_without_signals_does_not_satisfy_a_manifest_that_requires_landlock() {
        let required = WallPlan {
            requires: Requires {
                landlock: true,
                uid: false,
            },
            ..WallPlan::default()
        };
        let made = of_launch(&required, false);
        match version() {
            SIGNALS.. => assert!(made.unwrap().is_some()),
            older => {
                let why = made.err().map(|why| why.to_string()).unwrap_or_default();
                assert!(why.contains(&format!("version {older}")), "{why}");
            }
        }
    }
}
