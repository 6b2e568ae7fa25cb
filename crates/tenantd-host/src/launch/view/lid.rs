//! The Landlock rules of a tenant: it may write only beneath what is its own, see landlock(7).
//!
//! They are needed although all mounts of the host are read-only: a mount that the host makes later
//! arrives with the host's flags. Reading and executing is not restricted.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError,
};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use crate::launch::mounts::Mounts;
use crate::launch::raw;
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Landlock;

/// Whether the kernel has Landlock, with all that [`rules`] needs.
pub(in crate::launch) fn is_available() -> bool {
    !is_forbidden() && required().is_ok()
}

/// The version of the kernel's Landlock; 0 if it cannot be read.
pub(super) fn version() -> u32 {
    raw::landlock_version().unwrap_or(0)
}

/// Whether a test wants launches as on a kernel without Landlock.
fn is_forbidden() -> bool {
    cfg!(debug_assertions) && std::env::var_os("TENANTD_WITHOUT_LANDLOCK").is_some()
}

/// Rules for what must be restricted, if the kernel can.
fn required() -> Result<Ruleset, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V2))
}

/// Makes the rules. `None` if the kernel has no Landlock, or one that cannot permit renames between
/// folders (before Linux 5.19).
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn rules(
    outputs: [BorrowedFd<'_>; 2],
    mounts: &Mounts,
) -> Result<Option<OwnedFd>, Failure> {
    let ruleset = match required() {
        Ok(ruleset) if !is_forbidden() => ruleset,
        Ok(_) | Err(_) => return Ok(None),
    };
    let ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::Truncate)
        .and_then(Ruleset::create)
        .map_err(|error| failed(&error))?;
    let proc = File::open("/proc").map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(STAGE, "/proc", errno)
    })?;
    let mut beneath: Vec<BorrowedFd<'_>> = mounts.writable().collect();
    // A program may open /dev/stdout again.
    beneath.extend(outputs);
    beneath.push(proc.as_fd());
    let ruleset = beneath.into_iter().try_fold(ruleset, permit)?;
    Ok(ruleset.into())
}

fn permit(ruleset: RulesetCreated, to: BorrowedFd<'_>) -> Result<RulesetCreated, Failure> {
    let found = fstat(to)
        .map_err(|errno: Errno| Failure::errno(STAGE, String::new(), errno.raw_os_error()))?;
    let access: BitFlags<AccessFs> = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => AccessFs::from_write(ABI::V3),
        _ => AccessFs::WriteFile | AccessFs::Truncate,
    };
    let rule = PathBeneath::new(to, access);
    ruleset.add_rule(rule).map_err(|error| failed(&error))
}

fn failed(error: &RulesetError) -> Failure {
    Failure::detail(STAGE, String::new(), error.to_string())
}
