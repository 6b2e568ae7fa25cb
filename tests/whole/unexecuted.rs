//! A child that does not get to its program, here because a filesystem hangs: nobody but root can stop
//! it, and after a limit it is ended, by its supervisor or by the next one.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use tenantd_api::wire::Program;

use crate::support::daemon::{Daemon, ends, pidfd, signal, until};
use crate::support::place::{self, folder, unmount};

/// Where a filesystem hangs, which this process answers nothing for.
const HANGS: &str = "/srv/hangs";

/// How many launches a supervisor prepares at the same time.
const THREADS: u32 = 4;

/// The user of the tenant.
const NOBODY: &str = "65534";

fn hang() -> File {
    folder(HANGS);
    let fuse = File::options().read(true).write(true).open("/dev/fuse");
    let fuse = fuse.unwrap();
    let fd = fuse.as_raw_fd();
    let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("hangs"), HANGS, Some("fuse"), flags, Some(&*options)).unwrap();
    fuse
}

/// The first child that has become the tenant's user, but for its real and saved user.
fn child(daemon: &Daemon, other_than: Option<u32>) -> u32 {
    let procs = format!(
        "/sys/fs/cgroup/tenantd/{}/acme/program/cgroup.procs",
        daemon.app
    );
    until("a child waits for the filesystem", || {
        let pid: u32 = fs::read_to_string(&procs).ok()?.trim().parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let is_there = status.contains(&format!("Uid:\t0\t{NOBODY}\t0\t{NOBODY}\n"));
        (is_there && Some(pid) != other_than).then_some(pid)
    })
}

/// The mappings of a process that its children do not get, as they are in its list, and their kilobytes of memory.
fn kept(pid: u32) -> (Vec<(u64, u64)>, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut kept, mut kilobytes) = (Vec::new(), 0);
    let (mut here, mut resident) = ((0, 0), 0);
    for line in text.lines() {
        if let Some(bounds) = bounds(line) {
            here = bounds;
        } else if let Some(size) = line.strip_prefix("Rss:") {
            resident = size.trim().trim_end_matches(" kB").parse().unwrap();
        } else if line.starts_with("VmFlags:") && line.split(' ').any(|flag| flag == "dc") {
            kept.push(here);
            kilobytes += resident;
        }
    }
    (kept, kilobytes)
}

/// The addresses at the begin of a line of a list of mappings, see proc_pid_maps(5).
fn bounds(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.split_once(' ')?.0.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(from)?, number(to)?))
}

/// The kilobytes of memory of a process that no file backs.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// A child has the memory that was made for it, and not that of its supervisor.
fn has_little_memory(supervisor: u32, child: u32) {
    let (kept, kilobytes) = kept(supervisor);
    let whole = anonymous(supervisor);
    assert!(kilobytes > 1024, "{kilobytes} of {whole} KB are kept");
    let maps = fs::read_to_string(format!("/proc/{child}/maps")).unwrap();
    for (from, to) in maps.lines().filter_map(bounds) {
        let shared = kept.iter().find(|(first, end)| from < *end && *first < to);
        assert_eq!(shared, None, "the child has {from:x}-{to:x}");
    }
    let has = anonymous(child);
    assert!(
        has + kilobytes <= whole + 512,
        "{has} KB, {kilobytes} of {whole} KB kept"
    );
}

#[test]
fn a_child_that_hangs_before_its_program_is_ended() {
    place::host();
    folder("/srv/data");
    let fuse = hang();
    let mut daemon = Daemon::start(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"/bin/sleep\", \"1000000\"]\nuser = \"nobody\"\n\
         working_directory = \"{HANGS}\"\ndatastore.path = \"/srv/data\"\n\
         restart = {{ delay = \"1ms\", delay_max = \"1ms\", strikes = 0 }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ));
    let first = child(&daemon, None);
    has_little_memory(daemon.pid(), first);
    let as_nobody = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .args(["kill", "-STOP", &first.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&as_nobody.stderr).into_owned();
    assert!(!as_nobody.status.success(), "the child was stopped");
    assert!(said.contains("Operation not permitted"), "{said}");

    // Its own supervisor ends it.
    let second = child(&daemon, Some(first));
    let why = "had not executed the program after 10 s";
    assert!(daemon.output().contains(why), "{}", daemon.output());

    // A stop does not wait for the limit.
    let begun = Instant::now();
    daemon.tell(&["stop", "acme"]).expect(0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(daemon.output().contains("it is no longer wanted"));
    daemon.tell(&["start", "acme"]);
    let second = child(&daemon, Some(second));

    // It holds nothing of its supervisor, so the next one begins; and that ends it.
    daemon.kill();
    let left = pidfd(second);
    daemon.again();
    child(&daemon, Some(second));
    assert!(ends(&left, Duration::ZERO));

    // It does not delay the end of the supervisor for longer.
    daemon.end();
    drop(fuse);
    unmount(HANGS);
}

/// How many threads for blocking work of a supervisor wait for a filesystem.
fn waiting_threads(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let waits = |thread: &fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat"));
        stat.is_ok_and(|stat| stat.contains("(tokio-rt-worker) D "))
    };
    threads.flatten().filter(waits).count()
}

#[test]
fn a_status_does_not_wait_for_launches_whose_data_hangs() {
    place::host();
    let tenant = |number: u32| {
        let data = format!("{HANGS}/t{number}");
        folder(&data);
        format!(
            "t{number} = {{ ip = \"10.77.0.{}\", datastore = \"{data}\" }}\n",
            20 + number
        )
    };
    let tenants: String = (0..THREADS).map(tenant).collect();
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"/bin/sleep\", \"1000000\"]\nuser = \"root\"\n\
         datastore.path = \"/srv/data\"\nrestart = {{ delay = \"1ms\", delay_max = \"1ms\", strikes = 0 }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n{tenants}"
    ));
    let before = daemon.status();
    let fuse = hang();
    for tenant in &before.tenants {
        if tenant.name.as_str() != "acme" {
            signal(tenant.pid.unwrap(), Signal::SIGKILL);
        }
    }
    until("all threads for launches wait for the filesystem", || {
        (waiting_threads(daemon.pid()) == THREADS as usize).then_some(())
    });
    let program = daemon.tenant("acme").program;
    assert_eq!(program, Some(Program::Current), "{}", daemon.output());
    drop(fuse);
    // A launch may just look at it.
    umount2(HANGS, MntFlags::MNT_DETACH).unwrap();
    daemon.end();
}
