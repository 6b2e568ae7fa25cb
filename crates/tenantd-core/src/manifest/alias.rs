//! Names that other programs use for keys of the manifest, for suggestions.

use super::reference::{Key, Table};

/// Lower-case names of other programs, and the key with the same meaning.
const ALIASES: &[(&str, Table, &str)] = &[
    ("nofile", Table::Limits, "open_files"),
    ("limitnofile", Table::Limits, "open_files"),
    ("rlimit_nofile", Table::Limits, "open_files"),
    ("max_open_files", Table::Limits, "open_files"),
    ("files", Table::Limits, "open_files"),
    ("descriptors", Table::Limits, "open_files"),
    ("limitcore", Table::Limits, "core"),
    ("rlimit_core", Table::Limits, "core"),
    ("core_size", Table::Limits, "core"),
    ("coredump", Table::Limits, "core"),
    ("memlock", Table::Limits, "locked_memory"),
    ("limitmemlock", Table::Limits, "locked_memory"),
    ("rlimit_memlock", Table::Limits, "locked_memory"),
    ("mlock", Table::Limits, "locked_memory"),
    ("rlimits", Table::App, "limits"),
    ("rlimit", Table::App, "limits"),
    ("ulimits", Table::App, "limits"),
    ("ulimit", Table::App, "limits"),
];

/// Returns the key that other programs call `name`.
pub(super) fn key(name: &str) -> Option<&'static Key> {
    let lower = name.to_lowercase();
    let (_, table, key) = ALIASES.iter().find(|(alias, ..)| *alias == lower)?;
    Key::find(*table, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_maps_to_a_key() {
        for (alias, _, name) in ALIASES {
            assert_eq!(key(alias).unwrap().name, *name);
            assert_eq!(*alias, alias.to_lowercase());
        }
        assert_eq!(key("LimitNOFILE").unwrap().name, "open_files");
    }
}
