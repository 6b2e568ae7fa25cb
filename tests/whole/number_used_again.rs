//! The kernel gives the number of a network namespace that has ended to another one. No process in that one is taken for
//! the tenant's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};

use crate::support::daemon::{Daemon, in_time, run, tenantd, until};
use crate::support::place::{self, folder};
use crate::support::residue::kill_and_wait;

/// How many tenants the supervisor had: other tests may have the number of one.
const TENANTS: u8 = 12;

/// How many namespaces are made at a time. The kernel gives the least number that is free.
const MANY: usize = 64;

fn netns_of(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino()
}

fn end(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A process in a new network namespace.
fn process() -> Child {
    let own = netns_of(std::process::id());
    let process = Command::new("unshare")
        .args(["-n", "sleep", "1000000"])
        .spawn()
        .unwrap();
    until("it is in a namespace of its own", || {
        (netns_of(process.id()) != own).then_some(())
    });
    process
}

/// A process in a later network namespace with one of these numbers.
fn process_in(numbers: &[u64]) -> Child {
    until("a number is used again", || {
        let mut others = Vec::new();
        let mut each = (0..MANY).map(|_| process());
        let found = each.find_map(|process| match numbers.contains(&netns_of(process.id())) {
            true => Some(process),
            false => {
                others.push(process);
                None
            }
        });
        others.into_iter().for_each(end);
        found
    })
}

/// A supervisor that was killed, and its tenants with all that the kernel had of them. Returns it with a process in a later
/// network namespace that has the number of a tenant's.
fn killed() -> (Daemon, Child) {
    place::host();
    folder("/srv/data");
    let tenants: String = (1..=TENANTS)
        .map(|number| format!("t{number} = {{ ip = \"10.77.0.{}\" }}\n", 10 + number))
        .collect();
    let mut daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/bin/sleep\", \"1000000\"]\n\
         datastore.path = \"/srv/data\"\n[tenants]\n{tenants}"
    ));
    let status = daemon.status();
    let numbers: Vec<u64> = status
        .tenants
        .iter()
        .map(|tenant| netns_of(tenant.pid.unwrap()))
        .collect();
    daemon.kill();
    for tenant in &status.tenants {
        kill_and_wait(&daemon.app, tenant.name.as_str(), tenant.pid.unwrap());
        // Without its cgroup, only the record tells where its processes were.
        let leaf = tenant.cgroup.clone().unwrap();
        for part in [format!("{leaf}/program"), leaf] {
            fs::remove_dir(part).unwrap();
        }
    }
    until("their network namespaces have ended", || {
        let links = run(in_time("ip").args(["-o", "link"])).expect(0);
        let mut each = status.tenants.iter().filter_map(|it| it.link.as_deref());
        each.all(|link| !links.contains(link)).then_some(())
    });
    let other = process_in(&numbers);
    (daemon, other)
}

#[test]
fn gc_ends_nobody_else() {
    let (daemon, mut other) = killed();
    let gc = |more: &[&str]| {
        let arguments = [&["--app", &daemon.app, "gc"], more].concat();
        tenantd(&arguments).expect(0)
    };
    let said = gc(&["--dry-run"]) + &gc(&["--kill"]);
    assert!(!said.contains("alive") && !said.contains("ended"), "{said}");
    assert!(other.try_wait().unwrap().is_none(), "{said}");
    end(other);
    daemon.left_nothing();
}

#[test]
fn the_end_of_tenants_that_are_planned_no_longer_ends_nobody_else() {
    let (mut daemon, mut other) = killed();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, manifest.replace("\nt", "\nother")).unwrap();
    daemon.again();
    daemon.settles();
    assert!(other.try_wait().unwrap().is_none(), "{}", daemon.output());
    end(other);
    daemon.end();
}
