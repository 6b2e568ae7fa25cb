//! Reads an array of tables.

use super::Reader;
use crate::manifest::reference::Table;
use crate::manifest::value::{At, type_words};

/// Reads each table of the array that is the value of `name`. `array` says what should be there, and `keys` reads
/// the keys of one of them. What is no table is reported and left out.
pub(super) fn each<T>(
    reader: &mut Reader<'_, '_, '_>,
    name: &'static str,
    (array, table): (&str, Table),
    keys: fn(&mut Reader<'_, '_, '_>) -> T,
) -> Vec<T> {
    let (key, value) = reader.find(name);
    let Some(value) = value else {
        return Vec::new();
    };
    let Some(items) = value.get_ref().as_array() else {
        At { key, value }.wrong_type(reader.problems, array);
        return Vec::new();
    };
    let mut each = Vec::new();
    for (at, value) in items.iter().enumerate() {
        let Some(entries) = value.get_ref().as_table() else {
            let found = type_words(value.get_ref());
            let message = format!("item {} of `{name}` must be a table, not {found}", at + 1);
            let example = format!("for example `{}`", key.example);
            reader.problems.report(&value.span(), message).help(example);
            continue;
        };
        let mut inner = Reader {
            table,
            owner: reader.owner,
            at: value.span(),
            entries: Some(entries),
            broken: reader.is_broken(&value.span(), value),
            mended: reader.mended,
            problems: &mut *reader.problems,
            asked: Vec::new(),
        };
        each.push(keys(&mut inner));
        inner.finish();
    }
    each
}
