//! Whether the host has room for the tenants of a manifest.

use rustix::process::{Resource, getrlimit};

use super::{Finding, Grade};
use tenantd_core::plan::model::Plan;

/// Open descriptors of a supervisor or a log collector without tenants: the supervisor keeps the host's sysctls open.
pub const OWN: u64 = 96;

/// Descriptors that a supervisor needs while it starts, adopts or stops many tenants: at most two per tenant, and not
/// more than these.
const AT_WORK: u64 = 256;

/// The tenants of one supervisor, or those that one is asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crowd {
    /// The number of tenants.
    pub tenants: u64,
    /// The number of those with a notify socket.
    pub notifying: u64,
}

impl Crowd {
    /// So many tenants without notify sockets.
    #[must_use]
    pub fn silent(tenants: u64) -> Self {
        Self {
            tenants,
            notifying: 0,
        }
    }

    /// The tenants of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let notifying = plan.tenants.iter();
        let notifying = notifying.filter(|tenant| tenant.policy.notifies());
        Self {
            tenants: plan.tenants.len() as u64,
            notifying: notifying.count() as u64,
        }
    }

    /// The descriptors of the process that needs most, the supervisor: a pidfd per tenant, its notify socket, and those
    /// of its work. A log collector has only as many tenants as its limit allows.
    fn descriptors(self) -> u64 {
        OWN + self.tenants + self.notifying + AT_WORK.min(2 * self.tenants)
    }
}

/// Why a supervisor cannot run the tenants of a plan; `None` if it can. Otherwise tenant by tenant would
/// fail, at any step and in thousands of lines.
#[must_use]
pub fn too_many(plan: &Plan) -> Option<String> {
    let finding = descriptors(Crowd::of(plan), limit());
    (finding.grade == Grade::Bad).then(|| format!("{}: {}", finding.subject, finding.found))
}

/// The hard limit of descriptors of this process, to which a supervisor raises its own.
pub(super) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

pub(super) fn descriptors(crowd: Crowd, limit: Option<u64>) -> Finding {
    let subject = "descriptors";
    let (tenants, needed) = (crowd.tenants, crowd.descriptors());
    match limit {
        Some(limit) if limit < needed => {
            let found = format!(
                "{tenants} tenants need {needed}, the hard limit is {limit}: raise LimitNOFILE= in \
                 the unit, or `ulimit -Hn`"
            );
            Finding::new(Grade::Bad, subject, found)
        }
        Some(limit) => Finding::new(
            Grade::Good,
            subject,
            format!("{needed} needed, the hard limit is {limit}"),
        ),
        None => Finding::new(Grade::Good, subject, "unlimited"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_descriptors() {
        let grade = |crowd, limit| descriptors(crowd, limit).grade;
        let silent = Crowd::silent(10);
        assert_eq!(grade(silent, Some(125)), Grade::Bad);
        assert_eq!(grade(silent, Some(126)), Grade::Good);
        assert_eq!(grade(silent, None), Grade::Good);
        let notifying = Crowd {
            notifying: 4,
            ..silent
        };
        let many = Crowd::silent(10_000);
        assert_eq!(grade(many, Some(OWN + AT_WORK + 10_000)), Grade::Good);
        assert_eq!(grade(notifying, Some(129)), Grade::Bad);
        assert_eq!(grade(notifying, Some(130)), Grade::Good);
    }
}
