//! The fuzzers' `Cargo.lock` is current. They are a workspace of their own, so no other build updates it, and
//! `fuzz/run` builds with `--locked`.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The dependencies of the crate, without those of its tests.
fn stated(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let names = table["dependencies"].as_table().unwrap().keys();
    names.cloned().collect()
}

/// What differs between a lock file and the `Cargo.toml` of the project's crates that it has.
fn outdated(lock: &str, crates: &Path) -> Vec<String> {
    let lock: Lock = toml::from_str(lock).unwrap();
    let own = lock.package.iter().filter_map(|locked| {
        let manifest = crates.join(&locked.name).join("Cargo.toml");
        manifest.exists().then(|| (locked, stated(&manifest)))
    });
    let told = own.flat_map(|(locked, stated)| {
        // A name that several versions have is followed by the version.
        let names = locked.dependencies.iter();
        let names = names.filter_map(|it| it.split(' ').next());
        let locked_names: BTreeSet<String> = names.map(str::to_owned).collect();
        let differing = locked_names.symmetric_difference(&stated);
        differing
            .map(|it| format!("{}: {it}", locked.name))
            .collect::<Vec<_>>()
    });
    told.collect()
}

#[test]
fn the_lock_file_of_the_fuzzers_is_current() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(top.join("fuzz/Cargo.lock")).unwrap();
    let told = outdated(&text, &top.join("crates"));
    assert!(
        told.is_empty(),
        "cargo metadata --manifest-path fuzz/Cargo.toml updates it:\n{}",
        told.join("\n")
    );
    let shorter = text.replacen(" \"tracing\",\n", "", 1);
    assert_eq!(outdated(&shorter, &top.join("crates")).len(), 1);
}
