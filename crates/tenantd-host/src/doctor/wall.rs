//! What is not apart: users whose processes are in no domain, and root.

use std::collections::BTreeMap;

use super::{Finding, Grade};
use crate::launch::domain;
use tenantd_core::plan::model::{Plan, TenantPlan};

/// Checks what separates the processes of tenants of one application. A domain confines the process that is in it, so
/// other applications and the host's own processes of the same user are not looked at: they are in none
/// unless something else put them there.
#[must_use]
pub fn wall(plan: &Plan) -> Finding {
    judge(plan, domain::version())
}

fn judge(plan: &Plan, version: u32) -> Finding {
    let mut tenants: BTreeMap<u32, Vec<&TenantPlan>> = BTreeMap::new();
    for tenant in &plan.tenants {
        let uid = tenant.launch.identity.uid;
        tenants.entry(uid).or_default().push(tenant);
    }
    let all = || plan.tenants.iter();
    let without = all().filter(|tenant| !tenant.launch.wall.landlock).count();
    let mut found = Vec::new();
    for (uid, these) in &tenants {
        let [first, others @ ..] = these.as_slice() else {
            continue;
        };
        let user = &first.launch.identity.user;
        if *uid == 0 {
            found.push(format!(
                "{} {} as root, and can change owner and mode of files in file systems that the host mounts later, \
                 and without a Landlock domain signal every process: set `user`",
                named(first, others),
                if others.is_empty() { "runs" } else { "run" }
            ));
        }
        if others.is_empty() {
            continue;
        }
        if without > 0 || version < domain::RENAMES {
            found.push(format!(
                "{} have the user {user} and no Landlock domain, so they reach each other's processes and \
                 data: give each a `user` of its own",
                named(first, others)
            ));
        } else if version < domain::SIGNALS {
            found.push(format!(
                "{} have the user {user}, and Landlock {version} does not confine signals: use Linux 6.12 or \
                 later, or give each a `user` of its own",
                named(first, others)
            ));
        }
    }
    let subject = "wall";
    match found.is_empty() {
        true => Finding::new(
            Grade::Good,
            subject,
            "no tenant reaches the processes of another tenant of this application",
        ),
        false => Finding::new(Grade::Weak, subject, found.join("; ")),
    }
}

/// The names of the first of them, and how many more there are.
fn named(first: &TenantPlan, others: &[&TenantPlan]) -> String {
    match others {
        [] => format!("tenant {}", first.name),
        [one] => format!("tenants {} and {}", first.name, one.name),
        [one, more @ ..] => format!(
            "tenants {}, {} and {} more",
            first.name,
            one.name,
            more.len()
        ),
    }
}
