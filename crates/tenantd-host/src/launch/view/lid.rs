//! The Landlock rules of a tenant: it may write only beneath what is its own, see landlock(7).
//!
//! They are needed although all mounts of the host are read-only: a mount that the host makes later
//! arrives with the host's flags. Reading and executing is not restricted.

use std::os::fd::{AsFd, BorrowedFd};

use crate::launch::Lid;
use crate::launch::domain::{self, Beneath, Domain, Rules};
use crate::launch::mounts::Mount;
use tenantd_core::plan::model::LaunchPlan;
use tenantd_core::stage::Failure;

/// Makes the rules of a launch and says which domain they make; `None` if it has none. With `read_only`, its
/// processes may write only beneath what [`permit`] permits.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn rules(
    launch: &LaunchPlan,
    read_only: bool,
) -> Result<(Option<Rules>, Domain), Failure> {
    let wall = &launch.wall;
    let mut rules = domain::of_launch(wall, read_only)?;
    if let Some(rules) = &mut rules {
        rules.queues = launch.identity.own && wall.landlock && read_only;
    }
    let domain = match rules {
        Some(_) => Domain::Landlock(domain::version()),
        None => Domain::None,
    };
    Ok((rules, domain))
}

/// Permits writing beneath the mounts of the tenant and to `outputs`, its standard output and error, and with a user of
/// its own to POSIX message queues.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(in crate::launch) fn permit(
    rules: &Rules,
    mounts: &[Mount],
    outputs: [BorrowedFd<'_>; 2],
) -> Result<(), Failure> {
    // Without one of its own, that of the host is writable.
    let proc = domain::open("/proc")?;
    let queues = domain::message_queues(rules.queues)?;
    let mounts = mounts.iter().filter(|mount| mount.is_writable());
    let mounts = mounts.map(|mount| Beneath {
        fd: mount.tree.as_fd(),
        is_folder: mount.is_folder,
    });
    let outputs = outputs.map(|fd| Beneath {
        fd,
        is_folder: false,
    });
    let folders = [Some(proc.as_fd()), queues.as_ref().map(AsFd::as_fd)];
    let folders = folders.into_iter().flatten().map(|fd| Beneath {
        fd,
        is_folder: true,
    });
    // A program may open /dev/stdout again.
    rules.permit_writing(mounts.chain(outputs).chain(folders))
}

/// What prevents writing to the host's files.
pub(super) fn of(read_only: bool, domain: Domain) -> Lid {
    match (read_only, domain) {
        (false, _) => Lid::HostWritable,
        (true, Domain::Landlock(version)) => Lid::Landlock(version),
        (true, Domain::None) => Lid::MountWatch,
    }
}
