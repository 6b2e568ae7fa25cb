//! Reads `operators` of `[control]`: an array of tables.

use super::Reader;
use crate::manifest::raw::{Operator, Read};
use crate::manifest::reference::Table;
use crate::manifest::value::{At, type_words};

impl Read for Vec<Operator> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        let (key, value) = reader.find(name);
        let Some(value) = value else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            At { key, value }.wrong_type(reader.problems, "an array of tables");
            return Vec::new();
        };
        let mut operators = Vec::new();
        for (at, value) in array.iter().enumerate() {
            let Some(entries) = value.get_ref().as_table() else {
                let found = type_words(value.get_ref());
                let item = at + 1;
                let message = format!("item {item} of `operators` must be a table, not {found}");
                let example = format!("for example `{}`", key.example);
                reader.problems.report(&value.span(), message).help(example);
                continue;
            };
            let mut inner = Reader {
                table: Table::Operator,
                owner: reader.owner,
                at: value.span(),
                entries: Some(entries),
                broken: reader.is_broken(&value.span(), value),
                mended: reader.mended,
                problems: &mut *reader.problems,
                asked: Vec::new(),
            };
            operators.push(Operator::keys(&mut inner));
            inner.finish();
        }
        operators
    }
}
