//! The outer Landlock domain of a launch with a [`keeper`](crate::keeper).

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::io::Errno;

use super::memory::{copy_stack, for_child};
use super::{Order, domain, raw};
use crate::keeper::Starting;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};

/// The domain, and the keeper in it.
pub(super) struct Outer {
    ruleset: OwnedFd,
    keeper: Starting,
}

/// What a launch with a keeper needs. `None` if the manifest asks for none, or none can serve: without cgroups nobody
/// would end it, and a domain that does not confine signals would restrict mounting.
///
/// # Errors
/// A [`Failure`] of stage landlock.
pub(super) fn prepare(order: &Order<'_>) -> Result<Option<Outer>, Failure> {
    let (Some(folder), Some(leaf)) = (order.keeper, order.leaf) else {
        return Ok(None);
    };
    let wall = &order.launch.wall;
    if order.phase != Phase::Main || !wall.exec_reaches || !wall.landlock {
        return Ok(None);
    }
    let Some(ruleset) = domain::of_keeper()? else {
        return Ok(None);
    };
    let keeper = Starting::prepare(folder, leaf).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(Stage::Landlock, folder.display().to_string(), errno)
    })?;
    Ok(Some(Outer { ruleset, keeper }))
}

impl Outer {
    /// Starts the keeper, and then calls `clone`, both in the domain. If `clone` fails, the keeper is ended.
    ///
    /// # Errors
    /// Those of `clone`; or a [`Failure`] of stage landlock.
    pub(super) fn within<T: Send>(
        &self,
        clone: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let failed =
            |errno: Errno| Failure::errno(Stage::Landlock, "the keeper", errno.raw_os_error());
        // A domain is that of a thread, and cannot be left.
        let made = thread::scope(|scope| {
            let thread = thread::Builder::new().name("keeper".to_owned());
            // The child is made by what this thread is given.
            let thread = for_child(|| {
                thread.spawn_scoped(scope, || {
                    copy_stack().map_err(failed)?;
                    raw::landlock_restrict_self(self.ruleset.as_fd()).map_err(failed)?;
                    let keeper = self.keeper.spawn();
                    let mut keeper = keeper.map_err(|error| {
                        failed(Errno::from_raw_os_error(
                            error.raw_os_error().unwrap_or(libc::EIO),
                        ))
                    })?;
                    let made = clone();
                    if made.is_err() {
                        // It may have ended already. It is reaped as a child that nobody waits for.
                        let _ended = keeper.kill();
                    }
                    made
                })
            });
            thread.map(thread::ScopedJoinHandle::join)
        });
        match made {
            Ok(Ok(made)) => made,
            Ok(Err(_)) => Err(failed(Errno::CANCELED)),
            Err(error) => Err(failed(Errno::from_raw_os_error(
                error.raw_os_error().unwrap_or(libc::EAGAIN),
            ))),
        }
    }
}
