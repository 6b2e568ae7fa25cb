//! The rollback: until a program that was executed over another is ready, it can execute that one
//! again, with all that was handed down, whatever made it fail: an error, or a panic.
//!
//! What it cannot answer is its own sudden death. Then the service manager starts it again, and what
//! it finds is what any supervisor finds after a death.

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

/// What the program before needs in order to go on.
struct Rollback {
    inherited: Vec<(String, OwnedFd)>,
    header: Header,
    /// The limit on descriptors that it was started with.
    descriptors: Rlimit,
}

/// Opens the rollback, if this program was executed over another that has not itself been gone back
/// to: its inherited descriptors are kept until [`close`].
///
/// # Errors
/// Those of fcntl(2).
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

/// Closes it: from now on this program is the one that serves.
pub(crate) fn close() {
    drop(OPEN.lock().unwrap_or_else(PoisonError::into_inner).take());
    crash::point("rollback: closed", "");
}

/// Fails, where a test wants to see that the rollback is taken.
#[cfg(debug_assertions)]
pub(crate) fn test() {
    let open = OPEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some();
    assert!(
        !open || std::env::var_os("TENANTD_PANIC_AT_UPGRADE").is_none(),
        "a test wants it"
    );
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn test() {}

/// Goes back to the program before, and tells it why. Returns only where there is no rollback.
pub fn run(why: &str) {
    // Whoever holds the lock is on the way already.
    let Some(rollback) = OPEN.try_lock().ok().and_then(|mut open| open.take()) else {
        return;
    };
    crash::point("rollback: entered", "");
    if let Err(error) = rollback.execute(why) {
        eprintln!(
            "tenantd: cannot go back to {}: {error}",
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
            return Err(io::Error::other("its file was not handed down"));
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
