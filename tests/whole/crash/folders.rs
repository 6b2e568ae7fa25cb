//! A supervisor is killed while it converts a datastore to several folders, or makes one of them. The
//! next one continues: no file is lost, and no folder is used before it is complete.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;

use crate::support::daemon::Daemon;
use crate::support::place::{self, example, folder};

macro_rules! points {
    ($($test:ident: $point:literal $(, $time:literal)?;)*) => {
        $(
            #[test]
            fn $test() {
                dies_at($point, [$($time,)? 1][0]);
            }
        )*

        const DRIVEN: &[&str] = &[$($point),*];
    };
}

points! {
    conversion_begun: "datastore: conversion begun";
    first_entry_moved: "datastore: entry moved";
    second_entry_moved: "datastore: entry moved", 2;
    last_entry_moved: "datastore: entry moved", 3;
    data_gathered: "datastore: data gathered";
    converted: "datastore: converted";
    first_file_copied: "datastore: file copied";
    fifth_file_copied: "datastore: file copied", 5;
    folder_half_made: "datastore: folder half made";
    second_folder_half_made: "datastore: folder half made", 2;
    folder_made: "datastore: folder made";
    second_folder_made: "datastore: folder made", 2;
}

/// The crash points of this module.
pub fn points() -> impl Iterator<Item = &'static str> {
    DRIVEN.iter().copied()
}

/// The folder that the program had alone.
const DATA: &str = "/srv/data";
/// One that is copied from the host.
const CONF: &str = "/srv/conf";
/// One that is empty.
const SPOOL: &str = "/srv/spool";

fn names(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[track_caller]
fn dies_at(point: &str, time: u32) {
    place::host();
    for path in [DATA, CONF, SPOOL] {
        folder(path);
    }
    for number in 0..20 {
        fs::write(format!("{CONF}/{number}"), "of the host").unwrap();
    }
    let program = example("idle");
    let plain = format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\", \"80\"]\n\
         ready.tcp = 80\nrestart.delay = \"0s\"\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n\
         [app.datastore]\npath = \"{DATA}\"\n"
    );
    let mut daemon = Daemon::spawn_armed(&plain, &format!("{point}#{time}"));
    daemon.settles();
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    fs::write(format!("{store}/file"), "data").unwrap();
    folder(&format!("{store}/inner/more"));
    std::os::unix::fs::symlink("file", format!("{store}/.link")).unwrap();
    let before = (names(&store), fs::metadata(&store).unwrap().mode());

    let seed = format!("{{ path = \"{CONF}\", seed = \"copy\" }}");
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let more = format!("{text}folders = [{seed}, \"{SPOOL}\"]\n");
    fs::write(&daemon.manifest, more).unwrap();
    // The answer does not arrive.
    daemon.tell(&["reload"]);
    let status = daemon.wait();
    let last = daemon.output();
    assert_eq!(status.signal(), Some(9), "{point} was not reached: {last}");

    daemon.again();
    let after = daemon.settles();
    assert!(after.tenants[0].pid.is_some(), "{after:?}");
    let path = |inner: &str| format!("{store}{inner}");
    assert_eq!(
        (names(&path(DATA)), fs::metadata(path(DATA)).unwrap().mode()),
        before
    );
    assert_eq!(fs::read_to_string(path("/srv/data/file")).unwrap(), "data");
    assert_eq!(names(&path(CONF)), names(CONF));
    for name in names(CONF) {
        let copied = fs::read_to_string(format!("{store}{CONF}/{name}")).unwrap();
        assert_eq!(copied, "of the host", "{name}");
    }
    assert_eq!(names(&path(SPOOL)), BTreeSet::new());
    assert_eq!(names(&store), [".tenantd", "srv"].map(str::to_owned).into());
    assert_eq!(names(&path("/.tenantd")), ["layout".to_owned()].into());
    assert_eq!(fs::metadata(&store).unwrap().mode() & 0o7777, 0o700);
    daemon.end();
}
