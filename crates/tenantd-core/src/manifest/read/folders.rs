//! Reads arrays of paths and of tables: `folders` of `[app.datastore]`, and `private` of `[app]`.

use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use crate::manifest::raw::{Folder, Private, PrivateFolder, Read};
use crate::manifest::reference::{Key, Table};
use crate::manifest::template::Template;
use crate::manifest::value::{At, Decode, type_words};

/// How one item is read: its table, what a path alone is, and what a table is.
struct Item<T> {
    table: Table,
    of_path: fn(Spanned<Template>) -> T,
    of_table: fn(&mut Reader<'_, '_, '_>) -> T,
}

impl Read for Vec<Folder> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let item = Item {
            table: Table::Folder,
            of_path: |path| Folder {
                at: path.span(),
                path: Some(path),
                seed: None,
                template: None,
                user: None,
                group: None,
                mode: None,
            },
            of_table: Folder::keys,
        };
        let (key, value) = reader.find(name);
        let Some(value) = value else {
            return Vec::new();
        };
        each(reader, At { key, value }, &item)
    }
}

impl Read for Private {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let item = Item {
            table: Table::Private,
            of_path: |path| PrivateFolder {
                at: path.span(),
                path: Some(path),
                mode: None,
            },
            of_table: PrivateFolder::keys,
        };
        let (key, value) = reader.find(name);
        let Some(value) = value else {
            return Self::default();
        };
        match value.get_ref() {
            DeValue::Boolean(is_usual) => Self {
                usual: is_usual.then(|| value.span()),
                folders: Vec::new(),
            },
            _ => Self {
                usual: None,
                folders: each(reader, At { key, value }, &item),
            },
        }
    }
}

fn each<'v, 's, T>(
    reader: &mut Reader<'_, 'v, 's>,
    At { key, value }: At<'v, 's>,
    item: &Item<T>,
) -> Vec<T> {
    let Some(array) = value.get_ref().as_array() else {
        At { key, value }.wrong_type(reader.problems, "an array of folders");
        return Vec::new();
    };
    let each = array.iter().enumerate();
    each.filter_map(|(at, value)| one(reader, (key, at + 1), value, item))
        .collect()
}

fn one<'v, 's, T>(
    whole: &mut Reader<'_, 'v, 's>,
    (list, number): (&Key, usize),
    value: &'v Spanned<DeValue<'s>>,
    item: &Item<T>,
) -> Option<T> {
    let key = Key::find(item.table, "path").expect("a folder has a path");
    match value.get_ref() {
        DeValue::String(_) => {
            let path = Decode::decode(At { key, value }, whole.problems)?;
            Some((item.of_path)(Spanned::new(value.span(), path)))
        }
        DeValue::Table(entries) => {
            let mut reader = Reader {
                table: item.table,
                owner: whole.owner,
                at: value.span(),
                entries: Some(entries),
                broken: whole.is_broken(&value.span(), value),
                mended: whole.mended,
                problems: &mut *whole.problems,
                asked: Vec::new(),
            };
            let folder = (item.of_table)(&mut reader);
            reader.finish();
            Some(folder)
        }
        other => {
            let message = format!(
                "item {number} of `{}` must be a path or a table, not {}",
                list.name,
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
