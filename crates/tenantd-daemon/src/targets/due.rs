//! Losses that settle: when the groups that have one are checked again.

use std::sync::Arc;

use tenantd_core::supervisor::time::Moment;

use crate::executor::inventory::Inventory;
use crate::targets::Targets;

impl Targets {
    /// When to call [`Targets::on_due`] next. None while no mount is lost.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let settling = self.settling.iter();
        settling
            .filter_map(|paths| self.groups.get(paths)?.due())
            .min()
    }

    /// Checks again where the time to settle is over.
    pub(crate) fn on_due(&mut self, now: Moment, inventory: &Inventory) {
        for paths in &self.settling {
            if let Some(group) = self.groups.get_mut(paths)
                && group.due().is_some_and(|due| due <= now)
            {
                group.check_all();
                self.to_check.insert(Arc::clone(paths));
            }
        }
        self.check_next(inventory);
    }
}
