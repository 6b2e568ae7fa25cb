//! Reads the limits of one tenant, and nothing else.

use toml::de::DeTable;

use super::{Owner, Reader};
use crate::manifest::problem::Problems;
use crate::manifest::raw::Limits;
use crate::manifest::reference::Table;

/// The limits of a tenant in a text; `None` if it has none.
pub(in crate::manifest) fn of(text: &str, tenant: &str, problems: &mut Problems) -> Option<Limits> {
    let (whole, _) = DeTable::parse_recoverable(text);
    let tenants = whole.get_ref().get("tenants")?.get_ref().as_table()?;
    let own = tenants.get(tenant)?.get_ref().as_table()?;
    let limits = own.get("limits")?.get_ref().as_table()?;
    let mut reader = Reader {
        table: Table::Limits,
        owner: Owner::None,
        at: 0..0,
        entries: Some(limits),
        broken: false,
        mended: None,
        problems,
        asked: Vec::new(),
    };
    let found = Limits::keys(&mut reader);
    reader.finish();
    Some(found)
}
