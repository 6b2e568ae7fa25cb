//! The Landlock rules of a tenant: it may write only beneath what is its own, see landlock(7).
//!
//! They are needed although all mounts of the host are read-only: a mount that the host makes later
//! arrives with the host's flags. Reading and executing is not restricted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::launch::Lid;
use crate::launch::domain::{self, Domain};
use crate::launch::mounts::Mounts;
use tenantd_core::plan::model::LaunchPlan;
use tenantd_core::stage::Failure;

/// Makes the ruleset of a launch and says which domain it makes; `None` if it has none. With `read_only`, its processes may write
/// only beneath what is their own, and with a user of their own to POSIX message queues.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn rules(
    launch: &LaunchPlan,
    read_only: bool,
    outputs: [BorrowedFd<'_>; 2],
    mounts: &Mounts,
) -> Result<(Option<OwnedFd>, Domain), Failure> {
    // Without one of its own, that of the host is writable.
    let proc = domain::open("/proc")?;
    let wall = &launch.wall;
    let may_use_queues = launch.identity.own && wall.landlock && read_only;
    let queues = domain::message_queues(may_use_queues)?;
    // A program may open /dev/stdout again.
    let beneath = mounts
        .writable()
        .chain(outputs)
        .chain(std::iter::once(proc.as_fd()))
        .chain(queues.as_ref().map(AsFd::as_fd));
    let ruleset = domain::of_launch(wall, read_only.then_some(beneath))?;
    let domain = match ruleset {
        Some(_) => Domain::Landlock(domain::version()),
        None => Domain::None,
    };
    Ok((ruleset, domain))
}

/// What prevents writing to the host's files.
pub(super) fn of(read_only: bool, domain: Domain) -> Lid {
    match (read_only, domain) {
        (false, _) => Lid::HostWritable,
        (true, Domain::Landlock(version)) => Lid::Landlock(version),
        (true, Domain::None) => Lid::MountWatch,
    }
}
