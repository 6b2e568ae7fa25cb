//! A rehearsal says what the launch would say, and changes nothing.

use std::os::unix::fs::symlink;
use std::path::Path;

use tenantd_host::datastore;

use crate::launch::bench::{Bench, write_file};

/// A folder of the test host that tenants see.
const HOST: &str = "/mnt";

fn program(bench: &mut Bench, bytes: &[u8], mode: u32) {
    let path = format!("{HOST}/program");
    std::fs::write(&path, bytes).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&path, mode).unwrap();
    bench.launch.program = path.into();
}

/// An ELF file of this machine's `/bin/sh`, with some bytes replaced.
fn elf(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut whole = std::fs::read(std::fs::canonicalize("/bin/sh").unwrap()).unwrap();
    whole[at..at + bytes.len()].copy_from_slice(bytes);
    whole
}

type Break = fn(&mut Bench);

/// What makes a launch fail.
const BROKEN: &[(&str, Break)] = &[
    ("no program", |it| it.launch.program = "/opt/none".into()),
    ("no interpreter", |it| program(it, b"#!/opt/none\n", 0o755)),
    ("a carriage return", |it| {
        program(it, b"#!/bin/sh\r\necho\r\n", 0o755);
    }),
    ("no first line", |it| program(it, b"echo hello\n", 0o755)),
    ("an empty file", |it| program(it, b"", 0o755)),
    ("another architecture", |it| {
        // e_machine: s390.
        program(it, &elf(18, &[22, 0]), 0o755);
    }),
    ("not executable by the user", |it| {
        program(it, b"#!/bin/sh\n", 0o744);
    }),
    ("no working directory", |it| {
        it.launch.working_directory = "/opt/none".into();
    }),
    ("a link at the datastore's path", |it| {
        symlink("/etc", format!("{HOST}/link")).unwrap();
        it.datastore.target = Some(Path::new("/mnt/link").into());
    }),
    ("a file at the datastore's path", |it| {
        write_file(format!("{HOST}/file"), "", 0o644);
        it.datastore.target = Some(Path::new("/mnt/file").into());
    }),
    ("a missing folder in /etc", |it| {
        it.datastore.target = Some(Path::new("/etc/none/at-all").into());
    }),
    ("a missing socket", |it| {
        it.view().visible = vec!["/run/none".into()];
    }),
    ("a private folder in /etc", |it| {
        it.launch.private = ["/etc/none".into()].into();
    }),
];

#[test]
fn a_rehearsal_fails_as_the_launch_does() {
    for (what, make) in BROKEN {
        let mut bench = Bench::new();
        make(&mut bench);
        let rehearsed = bench.rehearse().map_err(|why| why.to_string());
        // As the daemon shows the failure of a launch.
        let launched = tenantd_host::program::explain(bench.run().map(drop).unwrap_err());
        assert_eq!(rehearsed, Err(launched.to_string()), "{what}");
    }
}

#[test]
fn a_program_that_the_kernel_cannot_load_fails() {
    let mut bench = Bench::new();
    let whole = elf(0, b"\x7f");
    program(&mut bench, &whole[..4096], 0o755);
    let why = bench.rehearse().unwrap_err().to_string();
    assert!(
        why.starts_with("cannot execute the program /mnt/program: "),
        "{why}"
    );
}

#[test]
fn a_rehearsal_runs_nothing_and_changes_nothing() {
    let mut bench = Bench::script("touch /mnt/ran /run/expected/ran").for_root();
    bench.view().host = tenantd_core::plan::model::HostAccess::Writable;
    // Beside a running launch, which holds the lock.
    let running = Bench::new().run();
    drop(running);
    let before = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
    bench.rehearse().unwrap();
    assert!(!Path::new("/mnt/ran").exists());
    assert!(!Path::new("/var/lib/tenantd/wiki/acme/ran").exists());
    assert_eq!(
        std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap(),
        before
    );
    assert_eq!(children(), "");
}

#[test]
fn the_lock_is_not_taken() {
    let bench = Bench::new();
    let _running = bench.run().unwrap();
    bench.rehearse().unwrap();
}

#[test]
fn a_datastore_that_does_not_exist_is_not_made() {
    let mut bench = Bench::new();
    bench.datastore.source = "/var/lib/tenantd/wiki/new".into();
    bench.launch.working_directory = "/run/expected".into();
    bench.rehearse().unwrap();
    assert!(!Path::new("/var/lib/tenantd/wiki/new").exists());
    bench.datastore.source = "/var/lib/tenantd/other/disk/new".into();
    bench.datastore.root = Path::new("/var/lib/tenantd/other/disk/new").into();
    let why = bench.rehearse().unwrap_err().to_string();
    assert_eq!(
        why,
        datastore::ensure(&bench.datastore).unwrap_err().to_string()
    );
}
