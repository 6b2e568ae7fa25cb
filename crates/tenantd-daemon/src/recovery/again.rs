//! Adoptions that fail for want of something are tried again for a while: a launch that is not adopted
//! keeps its tenant out until it is ended by hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use tenantd_core::plan::model::TenantPlan;
use tenantd_host::timeline;

use crate::executor::host::taking_up::passes;
use crate::recovery::survivors::{Survivor, cannot_adopt};
use crate::recovery::{Findings, Recovery};
use crate::state_file::record::Record;

/// How often all tenants together may be tried again: for five seconds.
pub(super) const TRIES: u32 = 20;

/// How long to wait before the next try.
const AGAIN: Duration = Duration::from_millis(250);

impl Recovery {
    /// [`Recovery::survivor`], tried again as often as `tries` still says.
    pub(super) async fn survivor_in_time(
        &self,
        plan: &Arc<TenantPlan>,
        record: Record,
        tries: &mut u32,
    ) -> Option<Survivor> {
        loop {
            let finding = timeline::span("recovery: find one", plan.name.as_str());
            let found = self.find(plan, Some(&record));
            drop(finding);
            match found {
                Err(error) if *tries > 0 && passes(&error) => cannot_adopt(plan, &error),
                Ok(Some(mut survivor)) if survivor.keeping.is_some() => {
                    let keeping = survivor.keeping.take();
                    let about = |keeping| (Arc::clone(plan), record, keeping);
                    self.keeping.borrow_mut().extend(keeping.map(about));
                    return Some(survivor);
                }
                found => return self.as_found(plan, Some(record), found),
            }
            *tries -= 1;
            sleep(AGAIN).await;
        }
    }

    /// Waits until the network namespaces of those that were found are kept. One whose namespace cannot be kept is found
    /// again.
    pub(super) async fn kept(&self, found: &mut Findings, tries: &mut u32) {
        loop {
            let next = self.keeping.borrow_mut().pop();
            let Some((plan, record, keeping)) = next else {
                return;
            };
            let Err(error) = keeping.finish() else {
                continue;
            };
            let survivor = if *tries > 0 && passes(&error) {
                cannot_adopt(&plan, &error);
                *tries -= 1;
                sleep(AGAIN).await;
                self.survivor_in_time(&plan, record, tries).await
            } else {
                self.as_found(&plan, Some(record), Err(error))
            };
            let mut all = found.iter_mut();
            if let Some((_, before)) = all.find(|(other, _)| other.name == plan.name) {
                *before = survivor;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use tenantd_core::stage::{Failure, Stage};

    #[test]
    fn the_errno_of_a_stage_counts() {
        let failure = |errno| io::Error::other(Failure::errno(Stage::Log, "", errno));
        assert!(passes(&failure(libc::ENOSPC)));
        assert!(!passes(&failure(libc::ENOENT)));
        assert!(passes(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(!passes(&io::Error::other("its processes are elsewhere")));
    }
}
