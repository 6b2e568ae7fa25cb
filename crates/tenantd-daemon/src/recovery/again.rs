//! Adoptions that fail for want of something are tried again for a while: a launch that is not adopted
//! keeps its tenant out until it is ended by hand.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::sleep;

use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::Failure;
use tenantd_host::{timeline, want};

use crate::recovery::Recovery;
use crate::recovery::survivors::{Survivor, cannot_adopt};
use crate::state_file::record::Record;

/// How often all tenants together may be tried again: for five seconds.
pub(super) const TRIES: u32 = 20;

/// How long to wait before the next try.
const AGAIN: Duration = Duration::from_millis(250);

impl Recovery {
    /// [`Recovery::survivor`], tried again as often as `tries` still says.
    pub(super) async fn survivor_in_time(
        &self,
        plan: &TenantPlan,
        record: Record,
        tries: &mut u32,
    ) -> Option<Survivor> {
        loop {
            let finding = timeline::span("recovery: find one", plan.name.as_str());
            let found = self.find(plan, Some(&record));
            drop(finding);
            match found {
                Err(error) if *tries > 0 && passes(&error) => cannot_adopt(plan, &error),
                found => return self.as_found(plan, Some(record), found),
            }
            *tries -= 1;
            sleep(AGAIN).await;
        }
    }
}

/// Whether the host only lacks something for now.
fn passes(error: &io::Error) -> bool {
    let failure = error.get_ref();
    match failure.and_then(|it| it.downcast_ref::<Failure>()) {
        Some(failure) => want::passes(Errno::from_raw_os_error(failure.errno)),
        None => want::error_passes(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::stage::Stage;

    #[test]
    fn the_errno_of_a_stage_counts() {
        let failure = |errno| io::Error::other(Failure::errno(Stage::Log, "", errno));
        assert!(passes(&failure(libc::ENOSPC)));
        assert!(!passes(&failure(libc::ENOENT)));
        assert!(passes(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(!passes(&io::Error::other("its processes are elsewhere")));
    }
}
