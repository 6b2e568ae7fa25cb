//! Tenants whose links are gone, and that the firewall still has. Those that wait at the same moment are removed from it
//! together.

use std::cell::RefCell;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::firewall::Gone;
use super::provision::Provisioner;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::{Failure, Stage};

/// The most tenants of one transaction: about 0.2 MB.
const TOGETHER_MAX: usize = 512;

/// How long others are waited for, if the links of some are about to be removed: so long again if some have vanished
/// meanwhile, and at most so much longer for each of them.
const GATHER: Duration = Duration::from_millis(5);
const GATHER_EACH: Duration = Duration::from_micros(100);

/// Those that wait.
#[derive(Default)]
pub(super) struct Dismissals(RefCell<Vec<Waiting>>);

type Waiting = (Gone, oneshot::Sender<Result<(), Failure>>);

impl Provisioner {
    /// Removes what the firewall has of a tenant, whose link is gone.
    pub(super) async fn dismiss(&self, link: &LinkPlan) -> Result<(), Failure> {
        if self.firewall.is_none() {
            return Ok(());
        }
        let gone = Gone {
            mark: link.mark.clone(),
            device: link.host.name.as_str().to_owned(),
        };
        let (reply, outcome) = oneshot::channel();
        let waiting = self.dismissals.add(gone, reply);
        if waiting == 1 {
            // The links of others, of which the kernel has told at the same time, are noticed first.
            tokio::task::yield_now().await;
            self.gather().await;
            self.dismiss_waiting();
        }
        let unanswered = |_| Err(Failure::detail(Stage::Release, &link.mark, "not answered"));
        outcome.await.unwrap_or_else(unanswered)
    }

    /// Waits for those whose links are about to be removed, as long as links vanish.
    async fn gather(&self) {
        let begun = Instant::now();
        let longest = GATHER + GATHER_EACH.saturating_mul(self.leaving.count());
        while self.leaving.count() > 0 && begun.elapsed() < longest {
            let last = self.leaving.last_vanished();
            sleep(GATHER).await;
            if self.leaving.last_vanished() == last {
                return;
            }
        }
    }

    fn dismiss_waiting(&self) {
        let Some(firewall) = &self.firewall else {
            return;
        };
        let waiting = self.dismissals.0.take();
        let (gone, replies): (Vec<Gone>, Vec<_>) = waiting.into_iter().unzip();
        let outcomes = gone
            .chunks(TOGETHER_MAX)
            .flat_map(|some| firewall.dismiss(some));
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            let _gone = reply.send(outcome);
        }
    }
}

impl Dismissals {
    /// Returns how many wait now.
    fn add(&self, gone: Gone, reply: oneshot::Sender<Result<(), Failure>>) -> usize {
        let mut waiting = self.0.borrow_mut();
        waiting.push((gone, reply));
        waiting.len()
    }
}
