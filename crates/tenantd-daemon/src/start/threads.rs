//! The threads for blocking work, which are started at the beginning.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;

use super::BLOCKING_MAX;

/// How long a thread may take to start.
const THREAD_LIMIT: Duration = Duration::from_secs(1);

/// Starts all threads for blocking work now, and the runtime keeps them: later there may be none to be
/// had, for example because a tenant has used up all process numbers, and tokio panics without one.
///
/// # Errors
/// If not one thread can be started. With fewer than all, the supervisor works more slowly.
pub(super) fn start(runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    first_thread(runtime)?;
    let busy = Arc::new(Mutex::new(()));
    let hold = busy.lock();
    let (begins, begun) = std::sync::mpsc::channel();
    for _ in 0..BLOCKING_MAX {
        let (busy, begins) = (Arc::clone(&busy), begins.clone());
        // It stays busy until each of the others is.
        runtime.spawn_blocking(move || {
            let _gone = begins.send(());
            drop(busy.lock());
        });
    }
    for _ in 0..BLOCKING_MAX {
        if begun.recv_timeout(THREAD_LIMIT).is_err() {
            tracing::warn!("cannot start all threads: fewer tenants are started at the same time");
            break;
        }
    }
    drop(hold);
    Ok(())
}

/// Starts the first thread for blocking work, without which tokio panics. It says that on standard error,
/// which nobody needs beside the error.
fn first_thread(runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let started = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| ())));
    std::panic::set_hook(hook);
    match started {
        Ok(_task) => Ok(()),
        Err(panic) => match panic.downcast::<String>() {
            Ok(why) => bail!("cannot start a thread for blocking work: {why}"),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    }
}
