//! The rollback: if a new program fails with an error or a panic before it is ready, it executes
//! the previous program again, with the same inherited descriptors.
//!
//! A new program that is killed before it is ready cannot roll back. The service manager then
//! starts it again, and it recovers as after any other death of a supervisor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::process::Rlimit;

use tenantd_host::crash;
use tenantd_host::inherited::{Handoff, Header, Inherited};
use tenantd_host::limits;

use crate::handover::upgrade::{PROGRAM, VERSION};

static OPEN: Mutex<Option<Rollback>> = Mutex::new(None);

/// What the previous program needs to continue.
struct Rollback {
    inherited: Vec<(String, OwnedFd)>,
    header: Header,
    /// The limit on descriptors that this process was started with.
    descriptors: Rlimit,
}

/// Makes a rollback possible until [`close`], by keeping copies of the inherited descriptors. Does
/// nothing if this program was not executed by an upgrade, or was itself executed by a rollback.
///
/// # Errors
/// What fcntl(2) reports.
pub fn open(inherited: &Inherited, descriptors: Rlimit) -> io::Result<()> {
    let Some(header) = inherited
        .header
        .clone()
        .filter(|header| header.refused.is_none())
    else {
        return Ok(());
    };
    let kept = Rollback {
        inherited: inherited.copy()?,
        header,
        descriptors,
    };
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    crash::point("rollback: opened", "");
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        run(&format!("{VERSION} failed: {panic}"));
    }));
    Ok(())
}

/// Ends the possibility of a rollback: this program serves now.
pub(crate) fn close() {
    drop(OPEN.lock().unwrap_or_else(PoisonError::into_inner).take());
    crash::point("rollback: closed", "");
}

/// Panics if a test asked for it by `TENANTD_PANIC_AT_UPGRADE`.
#[cfg(debug_assertions)]
pub(crate) fn test() {
    let open = OPEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some();
    assert!(
        !open || std::env::var_os("TENANTD_PANIC_AT_UPGRADE").is_none(),
        "TENANTD_PANIC_AT_UPGRADE is set"
    );
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn test() {}

/// Executes the previous program, and passes it the reason. Returns if no rollback is possible.
pub fn run(why: &str) {
    // If another thread holds the lock, it is already rolling back.
    let Some(rollback) = OPEN.try_lock().ok().and_then(|mut open| open.take()) else {
        return;
    };
    crash::point("rollback: entered", "");
    if let Err(error) = rollback.execute(why) {
        eprintln!(
            "tenantd: cannot roll back to {}: {error}",
            rollback.header.version
        );
    }
}

impl Rollback {
    fn execute(&self, why: &str) -> io::Result<()> {
        let header = Header {
            refused: Some(why.to_owned()),
            ..self.header.clone()
        };
        let fds = self.inherited.iter();
        let program = self.inherited.iter().find(|(name, _)| name == PROGRAM);
        let Some((_, program)) = program else {
            return Err(io::Error::other("no inherited descriptor for its file"));
        };
        let path = PathBuf::from(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(program)
        ));
        let handoff = Handoff::open(header, fds.map(|(name, fd)| (name.clone(), fd.as_fd())))?;
        limits::lower(self.descriptors)?;
        crash::point("rollback: before the execution", "");
        Err(handoff.execute(&path, &self.header.arguments))
    }
}
