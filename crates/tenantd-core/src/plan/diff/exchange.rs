//! The difference between two networks, which concerns all tenants.

use super::{Change, FieldChange, Part, Side, compare};
use crate::plan::data::{self, KeyChange};
use crate::plan::fields::{self, LABELS_NETWORK, Touches};

/// The changes of the network that all tenants share. It is exchanged once they are released.
pub(super) struct Exchange {
    pub(super) fields: Vec<FieldChange>,
    keys: Vec<KeyChange>,
}

impl Exchange {
    pub(super) fn between(old: &Side<'_>, new: &Side<'_>) -> Self {
        let fields = compare(parts(old), parts(new)).1;
        let keys = match fields.is_empty() {
            true => Vec::new(),
            false => data::shared_changes((old.app, old.network), (new.app, new.network)),
        };
        Self { fields, keys }
    }

    /// What a change of a tenant becomes.
    pub(super) fn on(
        &self,
        (change, fields, keys): (Change, Vec<FieldChange>, Vec<KeyChange>),
        touches: &mut Option<Touches>,
    ) -> (Change, Vec<FieldChange>, Vec<KeyChange>) {
        if self.fields.is_empty() {
            return (change, fields, keys);
        }
        *touches = None;
        let fields = self.fields.iter().cloned().chain(fields);
        let keys = self.keys.iter().cloned().chain(keys);
        (Change::Reprovision, fields.collect(), keys.collect())
    }
}

fn parts(side: &Side<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    fields::shared(side.app, side.network, side.control, &mut |field| {
        if LABELS_NETWORK.contains(&field.label) {
            parts.push(Part::of(&field));
        }
    });
    parts
}
