//! Reads `files` of `[app]`: an array of tables.

use super::{Reader, tables};
use crate::manifest::raw::{File, Read};
use crate::manifest::reference::Table;

impl Read for Vec<File> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let array = ("an array of files", Table::File);
        tables::each(reader, name, array, File::keys)
    }
}
