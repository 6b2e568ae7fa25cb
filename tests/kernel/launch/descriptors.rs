//! Which descriptors of the supervisor a child gets.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::fcntl_getfd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tenantd_host::launch::put_aside;
use tenantd_host::process;

use crate::launch::bench::Bench;

/// As many as a supervisor of 3,000 tenants has.
const MANY: usize = 3000;

#[test]
fn a_child_copies_no_descriptor_that_is_put_aside() {
    let mut bench = Bench::script("exec sleep 1000000");
    bench.descriptors = getrlimit(Resource::Nofile);
    let Rlimit { maximum, .. } = bench.descriptors;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let file = File::open("/dev/null").unwrap();
    let aside: Vec<_> = (0..MANY).map(|_| put_aside(&file).unwrap()).collect();
    assert!(aside.iter().all(|fd| fd.as_raw_fd() >= 2048));
    let mut running = bench.run().unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", running.pid)).unwrap();
    let mut open: Vec<_> = open.map(|fd| fd.unwrap().file_name()).collect();
    open.sort();
    // The last one is its lock, since it has no cgroup.
    assert_eq!(open, ["0", "1", "2", "63"]);
    // The table never shrinks, so this is what the child has copied.
    let size: usize = running.status("FDSize").parse().unwrap();
    assert!(size < 2048, "{size}");
    // What the child closed, it has closed for itself only.
    assert!(
        aside
            .iter()
            .chain([&file.into()])
            .all(|fd| fcntl_getfd(fd).is_ok())
    );
    process::signal(running.pidfd.as_fd(), libc::SIGKILL).unwrap();
    running.end();
}
