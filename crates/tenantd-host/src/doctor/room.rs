//! Whether the host has room for the tenants of a manifest.

use rustix::process::{Resource, getrlimit};

use super::{Finding, Grade};

/// Open descriptors of a supervisor or a log collector without tenants: the supervisor keeps the host's sysctls open.
const OWN: u64 = 96;

/// Additional descriptors per tenant of the process that needs most, the log collector: two pipes and the
/// socket at `/dev/log`. The supervisor has a pidfd and perhaps a notify socket.
const PER_TENANT: u64 = 3;

/// Why a supervisor cannot run this many tenants; `None` if it can. Otherwise tenant by tenant would
/// fail, at any step and in thousands of lines.
#[must_use]
pub fn too_many(tenants: usize) -> Option<String> {
    let finding = descriptors(tenants as u64, limit());
    (finding.grade == Grade::Bad).then(|| format!("{}: {}", finding.subject, finding.found))
}

/// The hard limit of descriptors of this process, to which a supervisor raises its own.
pub(super) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

pub(super) fn descriptors(tenants: u64, limit: Option<u64>) -> Finding {
    let subject = "descriptors";
    let needed = OWN + PER_TENANT * tenants;
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
        assert_eq!(descriptors(10, Some(125)).grade, Grade::Bad);
        assert_eq!(descriptors(10, Some(126)).grade, Grade::Good);
        assert_eq!(descriptors(10, None).grade, Grade::Good);
    }
}
