//! Writes down what became of a tenant, for the next supervisor: what this one means, and by which
//! numbers the kernel can confirm it.

use tenantd_core::name::TenantName;
use tenantd_host::crash;

use super::Daemon;
use super::ledger::Entry;
use super::record::{self, Made, Mark, Record};

impl Daemon {
    /// Writes a tenant down as it is now. A tenant that is down as its manifest says needs no
    /// record.
    pub(super) fn write_down(&mut self, tenant: &TenantName) {
        let Some(memory) = self.supervisor.memory(tenant) else {
            return;
        };
        let Some(entry) = self.ledger.entry(tenant) else {
            return;
        };
        crash::point("record: not yet written", tenant.as_str());
        let written = if memory.is_nothing() {
            match entry.slot.take() {
                Some(slot) => self.file.strike_out(slot),
                None => Ok(()),
            }
        } else {
            let made = match &entry.made {
                Some(made) => made.clone(),
                None => Made::by(&entry.plan),
            };
            let record = Record {
                tenant: tenant.clone(),
                memory,
                process: entry.mark(),
                netns: entry.standing.as_ref().map_or(0, |standing| standing.inode),
                plan: record::combined(made.by),
                made: Some(made),
                program: entry.running.as_ref().and_then(|running| running.program),
            };
            self.file.write(&mut entry.slot, record)
        };
        if let Err(error) = written {
            tracing::warn!(%tenant, %error, "{tenant}: cannot be written into the ledger");
        }
        crash::point("record: written", tenant.as_str());
    }
}

impl Entry {
    fn mark(&self) -> Option<Mark> {
        let first = self.running.as_ref()?.process.as_ref()?;
        Some(Mark {
            pid: first.pid,
            start_ticks: first.start_ticks,
        })
    }
}
