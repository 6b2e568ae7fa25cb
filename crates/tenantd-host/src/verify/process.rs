//! The process of a program: namespaces, user, privileges, cgroup and limits.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::Drift;
use crate::launch::Rights;
use tenantd_core::capability::Capability;
use tenantd_core::plan::model::{Bound, LaunchPlan, Limit, TenantPlan};
use tenantd_core::system_calls::Preset;

/// All eight kinds, see namespaces(7), and whether a tenant has one of its own.
const NAMESPACES: [(&str, bool); 8] = [
    ("cgroup", false),
    ("ipc", false),
    ("mnt", true),
    ("net", true),
    ("pid", false),
    ("time", false),
    ("user", false),
    ("uts", false),
];

/// `SECCOMP_MODE_FILTER`, see proc_pid_status(5).
const FILTER: u64 = 2;

pub(super) fn verify(tenant: &TenantPlan, pid: u32) -> io::Result<Vec<Drift>> {
    let launch = &tenant.launch;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let namespaces = namespaces(pid)?;
    let found = [
        user(launch, &status),
        privileges(launch, &status),
        system_calls(launch, &status),
        self::cgroup(tenant, &cgroup),
    ];
    let capabilities = capabilities(launch, &status)?;
    let found = found.into_iter().chain([capabilities]).flatten();
    Ok(namespaces
        .into_iter()
        .chain(found)
        .chain(self::limits(launch, &limits))
        .collect())
}

fn namespaces(pid: u32) -> io::Result<Vec<Drift>> {
    let mut drifts = Vec::new();
    for (kind, is_own) in NAMESPACES {
        let inode = |process: &str| fs::metadata(format!("/proc/{process}/ns/{kind}"));
        let (tenants, hosts) = (inode(&pid.to_string())?, inode("thread-self")?);
        let words = |own| if own { "its own" } else { "the host's" };
        let found = words(tenants.ino() != hosts.ino());
        let planned = words(is_own);
        if let Some(drift) = Drift::between("namespace", planned, found) {
            drifts.push(Drift {
                found: format!("{} {kind} namespace", drift.found),
                ..drift
            });
        }
    }
    Ok(drifts)
}

/// A value of proc_pid_status(5), in this base.
fn value(status: &str, key: &str, base: u32) -> Option<u64> {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    u64::from_str_radix(line.split_whitespace().next()?, base).ok()
}

/// A program that starts as root may become another user.
fn user(launch: &LaunchPlan, status: &str) -> Option<Drift> {
    let planned = launch.identity.uid;
    let found = value(status, "Uid", 10)?;
    (planned != 0).then(|| Drift::between("user", planned.to_string(), found.to_string()))?
}

fn privileges(launch: &LaunchPlan, status: &str) -> Option<Drift> {
    let words = |forbidden| match forbidden {
        true => "no new ones",
        false => "those of set-id programs",
    };
    let found = value(status, "NoNewPrivs", 10)? == 1;
    // A program may forbid itself more.
    let planned = !launch.wall.privileges.set_id_programs || found;
    Drift::between("privileges", words(planned), words(found))
}

fn system_calls(launch: &LaunchPlan, status: &str) -> Option<Drift> {
    let preset = launch.wall.privileges.system_calls;
    let found = value(status, "Seccomp", 10)?;
    (preset != Preset::None && found != FILTER).then(|| Drift {
        what: "system calls",
        planned: "a filter".to_owned(),
        found: "no filter".to_owned(),
    })
}

/// Capabilities that the program could have and should not. It may drop more.
fn capabilities(launch: &LaunchPlan, status: &str) -> io::Result<Option<Drift>> {
    let Some(bounding) = value(status, "CapBnd", 16) else {
        return Ok(None);
    };
    let rights = Rights::new(&launch.wall.privileges, launch.identity.uid);
    let rights = rights.map_err(|failure| io::Error::other(failure.to_string()))?;
    let held: Vec<Capability> = rights
        .dropped()
        .filter(|one| bounding & (1 << one.number()) != 0)
        .collect();
    let names: Vec<&str> = held.iter().map(|one| one.name()).collect();
    Ok((!held.is_empty()).then(|| Drift {
        what: "capabilities",
        planned: "dropped".to_owned(),
        found: format!("held: {}", names.join(", ")),
    }))
}

/// Without a cgroup tree, the tenant has no cgroup of its own. Under systemd the tree is below the unit's.
fn cgroup(tenant: &TenantPlan, cgroup: &str) -> Option<Drift> {
    crate::cgroup::probe()?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = format!("/{}/program/", tenant.name);
    let is_own = format!("{path}/").contains(&own);
    (!is_own).then(|| Drift {
        what: "cgroup",
        planned: format!("in {}", own.trim_matches('/')),
        found: path.to_owned(),
    })
}

fn limits(launch: &LaunchPlan, text: &str) -> Vec<Drift> {
    let planned = [
        (
            "Max open files",
            "limit of open files",
            launch.limits.open_files,
        ),
        (
            "Max core file size",
            "limit of core files",
            launch.limits.core,
        ),
        (
            "Max locked memory",
            "limit of locked memory",
            launch.limits.locked_memory,
        ),
    ];
    let planned = planned.into_iter();
    let drifts = planned.filter_map(|(name, what, planned)| {
        let Limit { soft, hard } = planned?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut words = line.split_whitespace();
        let found = format!("{}:{}", words.next()?, words.next()?);
        let word = |bound| match bound {
            Bound::Number(number) => number.to_string(),
            Bound::Unlimited => "unlimited".to_owned(),
        };
        // A program may lower its limits, and raise the soft one up to the hard one.
        let hard = word(hard);
        let is_at_most = found.ends_with(&format!(":{hard}"));
        (!is_at_most).then(|| Drift {
            what,
            planned: format!("{}:{hard}", word(soft)),
            found,
        })
    });
    drifts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values_of_a_status() {
        let status = "Name:\tx\nUid:\t33\t33\t33\t33\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\n";
        assert_eq!(value(status, "Uid", 10), Some(33));
        assert_eq!(value(status, "CapBnd", 16), Some(0x1ff_ffff_ffff));
        assert_eq!(value(status, "NoNewPrivs", 10), Some(1));
        assert_eq!(value(status, "Seccomp", 10), None);
    }
}
