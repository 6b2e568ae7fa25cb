//! Work that blocks, on tokio's threads for it, and the failures of such work.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::timeline;

/// Live changes at a time. A tenant that keeps forking keeps one busy for seconds: launches need
/// the other blocking threads.
static APPLIES: Semaphore = Semaphore::const_new(2);

/// Looks at a time. One that a filesystem hangs keeps its place.
static LOOKS: Semaphore = Semaphore::const_new(2);

/// The stack of a look in bytes.
const LOOK_STACK: usize = 512 << 10;

/// Runs blocking work on a thread for blocking work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    blocking_now(work).await
}

/// The same, which begins before anybody waits for it.
pub(crate) fn blocking_now<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> impl Future<Output = Result<T, Failure>> + 'static {
    let wait = timeline::wait("blocking work", "");
    let begun = spawn_blocking(move || {
        let _span = timeline::span("blocking", "");
        work()
    });
    async move {
        let _wait = wait;
        match begun.await {
            Ok(result) => result,
            // It is never cancelled, so it panicked: a defect, which must not be hidden.
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

/// Runs the blocking work of a live change, when one of the [`APPLIES`] is free.
pub(crate) async fn blocking_change<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let _permit = APPLIES.acquire().await;
    blocking(work).await
}

/// Looks at the disk for an answer to a client, when one of the [`LOOKS`] is free. It has a thread of its own, so that it
/// waits for no launch: there may be a thousand of them, and a filesystem may hang.
pub(crate) async fn look<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    let permit = LOOKS.acquire().await;
    let (found, finds) = oneshot::channel();
    let look = move || {
        let result = catch_unwind(AssertUnwindSafe(look));
        drop(permit);
        // Nobody waits for it any more.
        let _late = found.send(result);
    };
    // Given to the thread once there is one: a tenant may have used up all process numbers.
    let (give, given) = sync_channel(1);
    let thread = thread::Builder::new().name("look".to_owned());
    let thread = thread.stack_size(LOOK_STACK).spawn(move || run(&given));
    match thread {
        Ok(_) => drop(give.send(look)),
        Err(_) => drop(spawn_blocking(look)),
    }
    match finds.await {
        Ok(Ok(found)) => found,
        Ok(Err(panic)) => resume_unwind(panic),
        // The runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

fn run(given: &Receiver<impl FnOnce()>) {
    if let Ok(work) = given.recv() {
        work();
    }
}

pub(crate) fn broken(stage: Stage, tenant: &TenantName, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(errno) => Failure::errno(stage, format!("of {tenant}"), errno),
        None => Failure::detail(stage, format!("of {tenant}"), error.to_string()),
    }
}

/// The outcome of two things of which one does not depend on the other. If both have failed, it is the first failure,
/// which names the second one, too.
pub(super) fn both(first: Result<(), Failure>, second: Result<(), Failure>) -> Result<(), Failure> {
    match (first, second) {
        (Err(first), Err(second)) => {
            let detail = match first.detail.as_str() {
                "" => second.to_string(),
                detail => format!("{detail}; {second}"),
            };
            Err(first.with(detail))
        }
        (first, second) => first.and(second),
    }
}
