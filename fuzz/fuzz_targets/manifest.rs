//! Manifests: reading, planning, and the edits of `add` and `remove`.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use tenantd_core::manifest::{Source, edit};
use tenantd_core::plan;
use tenantd_core::plan::facts::{ProgramFact, Table, User};

fuzz_target!(|text: &str| {
    let _plan = plan::read(&source(text), &host());
    let tenant = "added".parse().expect("a valid name");
    let keys = [("ip".to_owned(), "10.9.8.7".to_owned())];
    if let Ok(added) = edit::add(text, &tenant, &keys) {
        edit::remove(&added.text, &tenant).expect("what was added can be removed");
    }
});

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
