//! What speaks against applying a valid manifest.

use tenantd_core::plan::diff::{Change, Changes};

use super::Present;

impl Present<'_> {
    /// Why these changes are not applied. `too_many` says why the host has no room for the new tenants.
    pub(super) fn refusal(self, changes: &Changes, too_many: Option<&str>) -> Option<String> {
        let too_many = too_many.map(|why| format!("too many tenants for this host: {why}"));
        too_many.or_else(|| self.unproved(changes))
    }

    /// Why tenants that these changes remove are not proved down. Without them in the manifest, no
    /// command would show what still works on their datastores.
    fn unproved(self, changes: &Changes) -> Option<String> {
        let removed = changes.tenants.iter();
        let removed = removed.filter(|change| change.change == Change::Remove);
        let unproved = removed.filter_map(|change| {
            let why = self.executor.unproved(&change.tenant, self.supervisor)?;
            Some(format!("{} cannot be removed: {why}", change.tenant))
        });
        let unproved: Vec<String> = unproved.collect();
        (!unproved.is_empty()).then(|| unproved.join("\n"))
    }
}
