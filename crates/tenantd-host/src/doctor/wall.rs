//! What is not apart: users whose processes are in no domain, root, and set-id programs.

mod users;

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Grade};
use crate::launch::domain;
use tenantd_core::plan::model::{Plan, TenantPlan};

pub use users::of_host;

/// How many of those that have a user are named.
const NAMED: usize = 3;

/// Processes that are in no Landlock domain, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unconfined {
    /// Their user.
    pub uid: u32,
    /// What they are, such as `the unit backup.service`.
    pub who: String,
}

/// Checks what separates the processes of tenants. A domain confines the process that is in it, so what
/// else has a user of theirs and is in none reaches them.
#[must_use]
pub fn wall(plan: &Plan, unconfined: &BTreeSet<Unconfined>) -> Finding {
    judge(plan, unconfined, domain::version())
}

fn judge(plan: &Plan, unconfined: &BTreeSet<Unconfined>, version: u32) -> Finding {
    let mut tenants: BTreeMap<u32, Vec<&TenantPlan>> = BTreeMap::new();
    for tenant in &plan.tenants {
        let uid = tenant.launch.identity.uid;
        tenants.entry(uid).or_default().push(tenant);
    }
    let mut found = Vec::new();
    for (uid, these) in &tenants {
        if *uid == 0 {
            found.push(format!(
                "{} {} as root, and can change owner and mode of files in file systems that the host mounts later, \
                 and without a Landlock domain signal every process: set `user`",
                named(these),
                if these.len() == 1 { "runs" } else { "run" }
            ));
        } else {
            found.extend(by_others(*uid, these, unconfined));
        }
        found.extend(among(these, version));
    }
    let helped = plan.tenants.iter().filter(|tenant| {
        let is_root = tenant.launch.identity.uid == 0;
        tenant.launch.wall.privileges.set_id_programs && !is_root
    });
    let helped: Vec<&TenantPlan> = helped.collect();
    if !helped.is_empty() {
        found.push(format!(
            "{} may execute set-id programs, and a flaw in one of the host makes a tenant root inside: leave \
             out `wall.set_id_programs` if the program needs none",
            named(&helped)
        ));
    }
    let subject = "wall";
    match found.is_empty() {
        true => Finding::new(
            Grade::Good,
            subject,
            "neither another tenant nor what else has a tenant's user reaches its processes",
        ),
        false => Finding::new(Grade::Weak, subject, found.join("; ")),
    }
}

/// What tenants of one user reach of each other.
fn among(these: &[&TenantPlan], version: u32) -> Option<String> {
    let [first, _, ..] = these else {
        return None;
    };
    let (names, user) = (named(these), &first.launch.identity.user);
    let is_without = these.iter().any(|tenant| !tenant.launch.wall.landlock);
    if is_without || version < domain::RENAMES {
        return Some(format!(
            "{names} have the user {user} and no Landlock domain, so they reach each other's processes and \
             data: give each a `user` of its own"
        ));
    }
    (version < domain::SIGNALS).then(|| {
        format!(
            "{names} have the user {user}, and Landlock {version} does not confine signals: use Linux 6.12 or \
             later, or give each a `user` of its own"
        )
    })
}

/// What else reaches the tenants of one user.
fn by_others(uid: u32, these: &[&TenantPlan], unconfined: &BTreeSet<Unconfined>) -> Option<String> {
    let [first, ..] = these else {
        return None;
    };
    let others: Vec<&str> = unconfined
        .iter()
        .filter(|other| other.uid == uid)
        .map(|other| other.who.as_str())
        .collect();
    let shown = others.iter().copied().take(NAMED).collect::<Vec<_>>();
    let more = match others.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!others.is_empty()).then(|| {
        format!(
            "processes without a Landlock domain have the user {} too, and reach the processes and data of {}: \
             {}{more}; use a `user` that nothing else has",
            first.launch.identity.user,
            named(these),
            shown.join(", ")
        )
    })
}

/// The names of the first of them, and how many more there are.
fn named(these: &[&TenantPlan]) -> String {
    match these {
        [] => "no tenant".to_owned(),
        [one] => format!("tenant {}", one.name),
        [one, other] => format!("tenants {} and {}", one.name, other.name),
        [one, other, more @ ..] => {
            format!(
                "tenants {}, {} and {} more",
                one.name,
                other.name,
                more.len()
            )
        }
    }
}
