//! When the record of a tenant is written because its program said something of itself. A program may send a
//! status text with each request that it serves, and a write is work of the loop.

use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::LaunchId;

use crate::executor::report::{MainReport, ReportKind};
use crate::executor::{Executor, Pending};
use crate::input::Input;
use crate::ready::notice::Notice;

/// How often a status text alone is written.
const PERIOD: Duration = Duration::from_secs(1);

/// The last record of a launch that was written for a status text.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    last: Option<Instant>,
    is_due: bool,
}

/// What is to be done about a new status text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is written now.
    Now,
    /// [`Recorded::is_due_now`] is to be called at this time.
    At(Instant),
    /// That is planned already.
    Planned,
}

impl Recorded {
    /// The program has another status text.
    pub(crate) fn on_text(&mut self, now: Instant) -> Next {
        let next = self.last.map(|last| last + PERIOD);
        match next.filter(|next| *next > now) {
            None => {
                self.last = Some(now);
                Next::Now
            }
            Some(_) if self.is_due => Next::Planned,
            Some(next) => {
                self.is_due = true;
                Next::At(next)
            }
        }
    }

    /// The planned time has come. Whether a record is to be written.
    pub(crate) fn is_due_now(&mut self, now: Instant) -> bool {
        if self.is_due {
            self.last = Some(now);
        }
        std::mem::take(&mut self.is_due)
    }
}

impl Executor {
    /// A program says something of itself. A status text alone is recorded once a second.
    pub(super) fn said(&mut self, tenant: &TenantName, launch: LaunchId, notice: &Notice) {
        let Some(running) = self.inventory.running(tenant, launch) else {
            return;
        };
        let (reloading, period) = (running.statement.reloading, running.statement.period);
        if !running.statement.add(notice) {
            return;
        }
        let is_text_only =
            (running.statement.reloading, running.statement.period) == (reloading, period);
        match is_text_only.then(|| running.recorded.on_text(Instant::now())) {
            None | Some(Next::Now) => self.record(tenant),
            Some(Next::Planned) => {}
            Some(Next::At(time)) => {
                let (reporter, tenant) = (self.host.reporter.clone(), tenant.clone());
                spawn_local(async move {
                    sleep_until(time).await;
                    let due = MainReport::SaidBefore(launch);
                    reporter.report(&tenant, ReportKind::Main(due));
                });
            }
        }
        self.changed(tenant);
    }

    /// The tenants with a status text that is to be written later: before this process ends, it is written
    /// now.
    pub(crate) fn take_said(&mut self) -> Vec<TenantName> {
        let now = Instant::now();
        let all = self.inventory.all_running();
        all.filter_map(|(tenant, running)| running.recorded.is_due_now(now).then(|| tenant.clone()))
            .collect()
    }

    pub(super) fn record(&mut self, tenant: &TenantName) {
        let record = Input::Record(tenant.clone());
        self.pending.push_back(Pending::Input(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_once_a_second_and_the_last_one_always() {
        let mut recorded = Recorded::default();
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        assert_eq!(recorded.on_text(begin), Next::Now);
        assert_eq!(recorded.on_text(after(10)), Next::At(after(1_000)));
        for millis in 11..999 {
            assert_eq!(recorded.on_text(after(millis)), Next::Planned);
        }
        assert!(recorded.is_due_now(after(1_000)));
        assert!(!recorded.is_due_now(after(1_001)), "once");
        assert_eq!(recorded.on_text(after(1_002)), Next::At(after(2_000)));
        assert!(recorded.is_due_now(after(2_000)));
        // A program that says little is not delayed.
        assert_eq!(recorded.on_text(after(5_000)), Next::Now);
    }
}
