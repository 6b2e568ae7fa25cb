//! The reference: one table of all keys of the manifest.
//!
//! The decoder takes its defaults and limits from it. The documentation and the JSON schema are
//! generated from it, so they cannot disagree.

mod app;
mod control;
mod key;
mod kind;
mod limits;
mod names;
mod network;
mod program;
mod table;
mod tenants;
mod traffic;
mod wall;

pub use key::{Fallback, Key};
pub use kind::Kind;
pub use table::Table;

macro_rules! keys {
    ($($table:ident {
        $($name:literal, $kind:expr, $fallback:expr, $example:literal, $doc:expr;)*
    })*) => {
        /// Keys by table, in the order of the reference.
        pub(super) const KEYS: &[Key] = &[$($(
            Key {
                table: Table::$table,
                name: $name,
                kind: $kind,
                fallback: $fallback,
                doc: $doc,
                example: $example,
            },
        )*)*];
    };
}
use keys;
