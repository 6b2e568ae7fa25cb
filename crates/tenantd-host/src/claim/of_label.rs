//! The launches of one tenant by all claims of the host, for callers that have no manifest.

use std::io;
use std::path::Path;

use super::decide::{Sign, Verdict, decide};
use super::files::Files;
use super::{Holder, Key, facts, failure};
use crate::boot;
use crate::lock;
use tenantd_core::stage::Failure;

/// The launches of the tenant `label` (`APP/TENANT`) of which a process may live, whatever datastores they
/// use and whether a supervisor runs. Inherited locks alone, without a record, are not seen.
///
/// # Errors
/// A [`Failure`] of stage lock; a record that cannot be read may be one of this tenant.
pub fn held_by(label: &str) -> Result<Vec<Holder>, Failure> {
    let listed = |error: &io::Error| failure(Path::new(lock::LOCKS), error);
    let mut holders = Vec::new();
    for files in Files::all().map_err(|error| listed(&error))? {
        let record = files.read().map_err(|error| files.failure(&error))?;
        let Some(record) = record.filter(|record| record.label() == label) else {
            continue;
        };
        let facts = facts::of(&record, None).map_err(|error| files.failure(&error))?;
        match decide(Some(&facts), false) {
            Verdict::Held(Sign::Cgroup | Sign::Process | Sign::Unseen) => holders.push(Holder {
                label: record.label(),
                first: record.process.filter(|_| facts.process).map(|key| key.pid),
                cgroup: record.cgroup,
                by_lock: false,
            }),
            Verdict::Free | Verdict::Held(Sign::Supervisor | Sign::Lock) => {}
        }
    }
    Ok(holders)
}

/// The first process of the launch of the tenant `label` in the cgroup with this number, whether it lives or not; `None`
/// if no claim names one: then it has executed nothing. Opens no datastore.
///
/// # Errors
/// A [`Failure`] of stage lock; a record that cannot be read may be the one of this launch.
pub fn first_of(label: &str, cgroup: u64) -> Result<Option<Key>, Failure> {
    let listed = |error: &io::Error| failure(Path::new(lock::LOCKS), error);
    let boot = boot::id().map_err(|error| listed(&error))?;
    for files in Files::all().map_err(|error| listed(&error))? {
        let record = files.read().map_err(|error| files.failure(&error))?;
        let is_it = |record: &super::Record| {
            let of = record.cgroup.as_ref().map(|cgroup| cgroup.id);
            record.boot == boot && record.label() == label && of == Some(cgroup)
        };
        if let Some(record) = record.filter(is_it) {
            return Ok(record.process);
        }
    }
    Ok(None)
}
