//! What the processes of a tenant may do beyond what every user may.

use std::os::unix::fs::PermissionsExt;

use crate::launch::bench::Bench;
use crate::support::place;

/// A tenant of user 1000 whose program is id(1), with the set-user-ID bit and owned by root.
fn with_set_id_program() -> Bench {
    let mut bench = Bench::new();
    place::fresh("/mnt", "mode=755");
    std::fs::copy("/usr/bin/id", "/mnt/id").unwrap();
    std::fs::set_permissions("/mnt/id", std::fs::Permissions::from_mode(0o4755)).unwrap();
    bench.launch.program = "/mnt/id".into();
    bench.launch.argv = vec!["id".into(), "-u".into()];
    bench
}

#[test]
fn a_set_id_program_gets_its_rights_only_where_the_manifest_says_so() {
    let mut bench = with_set_id_program();
    assert_eq!(bench.output(), "1000\n");
    assert_eq!(bench.rehearse(), Ok(()));
    bench.launch.wall.privileges.set_id_programs = true;
    assert_eq!(bench.output(), "0\n");
    assert_eq!(bench.rehearse(), Ok(()));
}
