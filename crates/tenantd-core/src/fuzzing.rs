//! What the fuzzer calls (`fuzz/`): reads any text as a manifest, plans it, and edits it as `add` and `remove`
//! do.

use std::path::PathBuf;

use crate::manifest::{Source, edit};
use crate::plan;
use crate::plan::facts::{ProgramFact, Table, User};

/// Reads a manifest.
///
/// # Panics
/// If a tenant that was added cannot be removed.
pub fn manifest(text: &str) {
    let _plan = plan::read(&source(text), &host());
    let tenant = "added".parse().expect("a valid name");
    let keys = [("ip".to_owned(), "10.9.8.7".to_owned())];
    if let Ok(added) = edit::add(text, &tenant, &keys) {
        edit::remove(&added.text, &tenant).expect("what was added can be removed");
    }
}

fn source(text: &str) -> Source {
    Source {
        name: "fuzz.toml".to_owned(),
        folder: PathBuf::from("/srv/app"),
        text: text.to_owned(),
    }
}

/// A host with few users and programs.
fn host() -> Table {
    let user = |name: &str, uid| User {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: "/".to_owned(),
    };
    let program = PathBuf::from("/usr/bin/redis-server");
    Table {
        users: vec![user("root", 0), user("redis", 106)],
        programs: [(program.clone(), ProgramFact::Executable(program))].into(),
        ..Table::default()
    }
}

#[cfg(test)]
#[path = "../../../tests/support/replay.rs"]
mod replay;

#[test]
fn kept_and_changed_manifests_are_read() {
    replay::replay("manifest", 1000, |bytes| {
        manifest(&String::from_utf8_lossy(bytes));
    });
}
