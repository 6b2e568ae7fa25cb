//! The state file: a record of each tenant for the next supervisor. A record contains the
//! checkpoint of the tenant, and the numbers with which the kernel can confirm it.
//!
//! A record is written before the action that it describes, and the next supervisor uses it only as
//! far as the kernel confirms it. A failed write is logged and has no other effect: the tenant
//! keeps running, and the next supervisor has an older record.

mod disk;
mod fingerprinted;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod record;
pub(crate) mod slots;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::checkpoint::Checkpoint;
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::crash;
use tenantd_host::launch::LaunchView;

use crate::executor::inventory::Entry;
use crate::executor::main_process::MainBy;
use crate::ready::notice::Statement;
use crate::state_file::fingerprinted::Fingerprinted;
use crate::state_file::record::{Made, ProcessKey, Record};
use crate::state_file::slots::{Slot, SlotFile};

/// The file, and the slot of each tenant in it.
pub(super) struct StateFile {
    file: SlotFile,
    slots: HashMap<TenantName, Slot>,
    fingerprinted: Fingerprinted,
    /// The records of an earlier supervisor that were not written again. Boxed, since there are thousands at the begin
    /// and none soon after.
    before: HashMap<TenantName, Box<Record>>,
}

impl StateFile {
    /// Continues an open file. [`StateFile::take_over`] adds the records that are in it.
    pub(super) fn new(file: SlotFile) -> Self {
        Self {
            file,
            slots: HashMap::new(),
            fingerprinted: Fingerprinted::default(),
            before: HashMap::new(),
        }
    }

    /// Uses an earlier supervisor's record of a tenant, and its slot.
    pub(super) fn take_over(&mut self, slot: Slot, record: &Record) {
        self.slots.insert(record.tenant.clone(), slot);
        let before = Box::new(record.clone());
        self.before.insert(record.tenant.clone(), before);
    }

    /// Writes the record of a tenant. A tenant that is down, as its manifest says, needs no record,
    /// and an older one is erased. What an earlier supervisor wrote is not written again.
    pub(super) fn write(&mut self, tenant: &TenantName, checkpoint: Checkpoint, entry: &Entry) {
        crash::point("record: not yet written", tenant.as_str());
        let before = self.before(tenant);
        let written = if before.is_some_and(|before| before.says(&checkpoint, entry)) {
            Ok(())
        } else if checkpoint.is_nothing() {
            self.fingerprinted.forget(tenant);
            match self.slots.remove(tenant) {
                Some(slot) => self.file.erase(slot),
                None => Ok(()),
            }
        } else {
            let made = match &entry.made {
                Some(made) => made.clone(),
                None => Made::with(self.fingerprinted.of(&entry.plan), &entry.plan),
            };
            let is_launching = checkpoint.state() == StateWord::Launching;
            let view = match &entry.running {
                Some(running) => running.view,
                // The next supervisor may find a process of it.
                None => is_launching.then_some(LaunchView::BEGUN),
            };
            let record = Record {
                tenant: tenant.clone(),
                checkpoint,
                process: entry.process_key(),
                main: entry.main_key(),
                statement: match &entry.running {
                    Some(running) => running.statement.clone(),
                    None => Statement::default(),
                },
                netns: entry
                    .provisioned
                    .as_ref()
                    .map_or(0, |provisioned| provisioned.inode),
                made,
                program: entry.running.as_ref().and_then(|running| running.program),
                view,
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
            tracing::warn!(%tenant, %error, "{tenant}: cannot write its record to the state file");
        }
        crash::point("record: written", tenant.as_str());
    }

    /// The record of an earlier supervisor, if none was written since.
    fn before(&mut self, tenant: &TenantName) -> Option<Box<Record>> {
        let before = self.before.remove(tenant)?;
        if self.before.is_empty() {
            // The table of thousands of tenants is kept otherwise.
            self.before.shrink_to_fit();
        }
        Some(before)
    }

    /// Erases the record of a tenant that was removed and released.
    pub(super) fn on_removed(&mut self, tenant: &TenantName) {
        self.fingerprinted.forget(tenant);
        self.before.remove(tenant);
        if let Some(slot) = self.slots.remove(tenant) {
            self.erase(tenant, slot);
        }
    }

    /// Erases a record that belongs to no tenant of the plan.
    pub(super) fn erase(&mut self, tenant: &TenantName, slot: Slot) {
        if let Err(error) = self.file.erase(slot) {
            tracing::warn!(%tenant, %error, "{tenant}: cannot erase its record from the state file");
        }
    }
}

impl Record {
    /// Whether this record, made from the plan of the entry, has everything that is to be written of a launch. The next
    /// supervisor takes the greatest budget of all records, so this one may have an older one.
    fn says(&self, checkpoint: &Checkpoint, entry: &Entry) -> bool {
        let (Some(running), Some(provisioned)) = (&entry.running, &entry.provisioned) else {
            return false;
        };
        let budget = checkpoint.budget;
        let of_launch = (entry.process_key(), entry.main_key(), provisioned.inode);
        entry.made.is_none()
            && (self.process, self.main, self.netns) == of_launch
            && (self.program, self.view) == (running.program, running.view)
            && self.statement == running.statement
            && Checkpoint {
                budget,
                ..self.checkpoint.clone()
            } == *checkpoint
    }
}

impl Entry {
    fn process_key(&self) -> Option<ProcessKey> {
        Some(self.running.as_ref()?.process.as_ref()?.key())
    }

    fn main_key(&self) -> Option<(ProcessKey, MainBy)> {
        let (main, by) = self.running.as_ref()?.found_main()?;
        Some((main.key(), by))
    }
}
