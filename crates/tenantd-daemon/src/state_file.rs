//! The state file: writes down what became of each tenant, for the next supervisor: what this one
//! means, and by which numbers the kernel can confirm it.
//!
//! A record is written before anything follows from it, and is believed only as far as the kernel
//! confirms it. A failed write is logged and nothing else: the tenant goes on, and the next
//! supervisor has to do with an older record.

mod disk;
pub(crate) mod record;
pub(crate) mod slots;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::checkpoint::Checkpoint;
use tenantd_host::crash;

use crate::executor::inventory::Entry;
use crate::state_file::record::{Made, ProcessKey, Record};
use crate::state_file::slots::{Slot, SlotFile};

/// The file, and where in it each tenant is.
pub(super) struct StateFile {
    file: SlotFile,
    slots: HashMap<TenantName, Slot>,
}

impl StateFile {
    /// Goes on with a file, whose records are those that are taken over with
    /// [`StateFile::take_over`].
    pub(super) fn new(file: SlotFile) -> Self {
        let slots = HashMap::new();
        Self { file, slots }
    }

    /// The record that an earlier supervisor wrote of this tenant is the one that is written from
    /// now on.
    pub(super) fn take_over(&mut self, tenant: &TenantName, slot: Slot) {
        self.slots.insert(tenant.clone(), slot);
    }

    /// Writes a tenant down as it is now. A tenant that is down as its manifest says needs no
    /// record.
    pub(super) fn write(&mut self, tenant: &TenantName, checkpoint: Checkpoint, entry: &Entry) {
        crash::point("record: not yet written", tenant.as_str());
        let written = if checkpoint.is_nothing() {
            match self.slots.remove(tenant) {
                Some(slot) => self.file.erase(slot),
                None => Ok(()),
            }
        } else {
            let made = match &entry.made {
                Some(made) => made.clone(),
                None => Made::by(&entry.plan),
            };
            let record = Record {
                tenant: tenant.clone(),
                checkpoint,
                process: entry.process_key(),
                netns: entry
                    .provisioned
                    .as_ref()
                    .map_or(0, |provisioned| provisioned.inode),
                made,
                program: entry.running.as_ref().and_then(|running| running.program),
            };
            let before = self.slots.get(tenant).copied();
            let mut slot = before;
            let written = self.file.write(&mut slot, record);
            if let (None, Some(slot)) = (before, slot) {
                self.slots.insert(tenant.clone(), slot);
            }
            written
        };
        if let Err(error) = written {
            tracing::warn!(%tenant, %error, "{tenant}: cannot be written into the ledger");
        }
        crash::point("record: written", tenant.as_str());
    }

    /// Strikes out the record of a tenant that is gone.
    pub(super) fn forget(&mut self, tenant: &TenantName) {
        if let Some(slot) = self.slots.remove(tenant) {
            self.erase(tenant, slot);
        }
    }

    /// Strikes out a record that nobody has taken over.
    pub(super) fn erase(&mut self, tenant: &TenantName, slot: Slot) {
        if let Err(error) = self.file.erase(slot) {
            tracing::warn!(%tenant, %error, "{tenant}: its record cannot be struck out");
        }
    }
}

impl Entry {
    fn process_key(&self) -> Option<ProcessKey> {
        let first = self.running.as_ref()?.process.as_ref()?;
        Some(ProcessKey {
            pid: first.pid,
            start_ticks: first.start_ticks,
        })
    }
}
