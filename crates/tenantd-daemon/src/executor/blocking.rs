//! Work that blocks, on tokio's threads for it, and the failures of such work.

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::timeline;

/// Live changes at a time. A tenant that keeps forking keeps one busy for seconds: launches need
/// the other blocking threads.
static APPLIES: Semaphore = Semaphore::const_new(2);

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
            Err(error) => std::panic::resume_unwind(error.into_panic()),
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

pub(crate) fn broken(stage: Stage, tenant: &TenantName, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(errno) => Failure::errno(stage, format!("of {tenant}"), errno),
        None => Failure::detail(stage, format!("of {tenant}"), error.to_string()),
    }
}
