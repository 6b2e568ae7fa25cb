//! Reads `folders` of `[app.datastore]`: an array of paths and of tables.

use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use crate::manifest::raw::{Folder, Read};
use crate::manifest::reference::{Key, Table};
use crate::manifest::value::{At, Decode, type_words};

impl Read for Vec<Folder> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let (key, value) = reader.find(name);
        let Some(value) = value else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            At { key, value }.wrong_type(reader.problems, "an array of folders");
            return Vec::new();
        };
        let each = array.iter().enumerate();
        each.filter_map(|(at, value)| folder(reader, at + 1, value))
            .collect()
    }
}

fn folder<'v, 's>(
    whole: &mut Reader<'_, 'v, 's>,
    number: usize,
    value: &'v Spanned<DeValue<'s>>,
) -> Option<Folder> {
    let key = Key::find(Table::Folder, "path").expect("a folder has a path");
    match value.get_ref() {
        DeValue::String(_) => {
            let path = Decode::decode(At { key, value }, whole.problems)?;
            Some(Folder {
                at: value.span(),
                path: Some(Spanned::new(value.span(), path)),
                seed: None,
                template: None,
                user: None,
                group: None,
                mode: None,
            })
        }
        DeValue::Table(entries) => {
            let mut reader = Reader {
                table: Table::Folder,
                owner: whole.owner,
                at: value.span(),
                entries: Some(entries),
                broken: whole.is_broken(&value.span(), value),
                mended: whole.mended,
                problems: &mut *whole.problems,
                asked: Vec::new(),
            };
            let folder = Folder::keys(&mut reader);
            reader.finish();
            Some(folder)
        }
        other => {
            let message = format!(
                "item {number} of `folders` must be a path or a table, not {}",
                type_words(other)
            );
            whole
                .problems
                .report(&value.span(), message)
                .help(format!("for example `{}`", key.example));
            None
        }
    }
}
