//! Reads `files` of `[app]`: an array of tables.

use super::Reader;
use crate::manifest::raw::{File, Read};
use crate::manifest::reference::Table;
use crate::manifest::value::{At, type_words};

impl Read for Vec<File> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let (key, value) = reader.find(name);
        let Some(value) = value else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            At { key, value }.wrong_type(reader.problems, "an array of files");
            return Vec::new();
        };
        let mut files = Vec::new();
        for (at, value) in array.iter().enumerate() {
            let Some(entries) = value.get_ref().as_table() else {
                let found = type_words(value.get_ref());
                let message = format!("item {} of `files` must be a table, not {found}", at + 1);
                let example = format!("for example `{}`", key.example);
                reader.problems.report(&value.span(), message).help(example);
                continue;
            };
            let mut inner = Reader {
                table: Table::File,
                owner: reader.owner,
                at: value.span(),
                entries: Some(entries),
                broken: reader.is_broken(&value.span(), value),
                mended: reader.mended,
                problems: &mut *reader.problems,
                asked: Vec::new(),
            };
            files.push(File::keys(&mut inner));
            inner.finish();
        }
        files
    }
}
