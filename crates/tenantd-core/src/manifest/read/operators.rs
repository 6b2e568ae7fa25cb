//! Reads `operators` of `[control]`: an array of tables.

use super::{Reader, tables};
use crate::manifest::raw::{Operator, Read};
use crate::manifest::reference::Table;

impl Read for Vec<Operator> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let array = ("an array of tables", Table::Operator);
        tables::each(reader, name, array, Operator::keys)
    }
}
