//! The way back: until a program that was executed over another is ready, it can execute that one
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
use tenantd_host::heritage::{Bequest, Heritage, Word};
use tenantd_host::limits;

use super::upgrade::{PROGRAM, VERSION};

static OPEN: Mutex<Option<WayBack>> = Mutex::new(None);

/// What the program before needs in order to go on.
struct WayBack {
    heritage: Vec<(String, OwnedFd)>,
    word: Word,
    /// The limit on descriptors that it was started with.
    descriptors: Rlimit,
}

/// Opens the way back, if this program was executed over another that has not itself been gone back
/// to: its heritage is kept until [`close`].
///
/// # Errors
/// Those of fcntl(2).
pub fn open(heritage: &Heritage, descriptors: Rlimit) -> io::Result<()> {
    let Some(word) = heritage.word.clone().filter(|word| word.refused.is_none()) else {
        return Ok(());
    };
    let kept = WayBack {
        heritage: heritage.copy()?,
        word,
        descriptors,
    };
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    crash::point("way back: opened", "");
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        go(&format!("{VERSION} failed: {panic}"));
    }));
    Ok(())
}

/// Closes it: from now on this program is the one that serves.
pub(super) fn close() {
    drop(OPEN.lock().unwrap_or_else(PoisonError::into_inner).take());
    crash::point("way back: closed", "");
}

/// Fails, where a test wants to see that the way back is taken.
#[cfg(debug_assertions)]
pub(super) fn test() {
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
pub(super) fn test() {}

/// Goes back to the program before, and tells it why. Returns only where there is no way back.
pub fn go(why: &str) {
    // Whoever holds the lock is on the way already.
    let Some(way) = OPEN.try_lock().ok().and_then(|mut open| open.take()) else {
        return;
    };
    crash::point("way back: entered", "");
    if let Err(error) = way.take(why) {
        eprintln!("tenantd: cannot go back to {}: {error}", way.word.version);
    }
}

impl WayBack {
    fn take(&self, why: &str) -> io::Result<()> {
        let word = Word {
            refused: Some(why.to_owned()),
            ..self.word.clone()
        };
        let fds = self.heritage.iter();
        let program = self.heritage.iter().find(|(name, _)| name == PROGRAM);
        let Some((_, program)) = program else {
            return Err(io::Error::other("its file was not handed down"));
        };
        let path = PathBuf::from(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(program)
        ));
        let bequest = Bequest::open(word, fds.map(|(name, fd)| (name.clone(), fd.as_fd())))?;
        limits::lower(self.descriptors)?;
        crash::point("way back: before the execution", "");
        Err(bequest.execute(&path, &self.word.arguments))
    }
}
