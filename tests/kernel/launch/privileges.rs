//! What the processes of a tenant may do beyond what every user may.

use std::os::unix::fs::PermissionsExt;

use tenantd_core::capability::{Capabilities, Capability};
use tenantd_core::plan::privileges::Privileges;
use tenantd_core::system_calls::Preset;

use crate::launch::bench::Bench;
use crate::support::place;

/// Makes each call of a list, and prints its name and its error. None of them does anything to others, and
/// none fails with EPERM of its own.
const CALLS: &str = r#"
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
space = ctypes.create_string_buffer(4096)
AT_FDCWD, NEWUSER = -100, 0x10000000
def number(x86, other):
    return x86 if os.uname().machine == "x86_64" else other
def call(name, x86, other, *arguments):
    if number(x86, other) is None:
        return
    ctypes.set_errno(0)
    done = libc.syscall(number(x86, other), *arguments)
    if name == "clone" and done == 0:
        os._exit(0)
    print(name, errno.errorcode.get(ctypes.get_errno(), "ok") if done < 0 else "ok")
call("mount", 165, 40, 0, 0, 0, 0, 0)
call("umount2", 166, 39, 0, 0x7000)
call("open_tree", 428, 428, AT_FDCWD, b"/", 0)
call("fsconfig", 431, 431, -1, 99, 0, 0, 0)
call("mount_setattr", 442, 442, AT_FDCWD, b"/", 0x7fffffff, space, 32)
call("setns", 308, 268, -1, 0)
call("clone", 56, 220, NEWUSER | 17, 0, 0, 0, 0)
call("perf_event_open", 298, 241, 0, 0, 0, 0, 0x7fffffff)
call("userfaultfd", 323, 282, 1)
call("io_uring_setup", 425, 425, 1, space)
call("clock_settime", 227, 112, 9999, space)
call("quotactl_fd", 443, 443, -1, 0, 0, 0)
call("keyctl", 250, 219, 0, -3, 0)
call("add_key", 248, 217, b"user", b"tenant", b"x", 1, -3)
call("request_key", 249, 218, b"user", b"none", 0, 0)
call("kcmp", 312, 272, os.getpid(), os.getpid(), 1, 0, 0)
call("modify_ldt", 154, None, 0, space, 16)
call("sysfs", 139, None, 3)
call("clone3", 435, 435, 0, 0)
call("ioctl", 16, 29, 0, 0x5412, space)
for leaves_a_quota in [0x401c5820, 0x40086602, 0x5000940e, 0x50009401, 0x50009418, 0x50009417, 0x4008941a]:
    call("ioctl", 16, 29, -1, leaves_a_quota, space)
call("file_setattr", 469, 469, -1, b"", space, 1, 0)
call("socket", 41, 198, 17, 3, 0)
call("unshare", 272, 97, NEWUSER)
"#;

/// What [`CALLS`] prints with these privileges, by call.
fn results(privileges: Privileges) -> Vec<(String, String)> {
    let mut bench = running_python(CALLS);
    bench.launch.wall.privileges = privileges;
    let output = bench.output();
    let pair = |line: &str| {
        let (name, result) = line.split_once(' ').unwrap();
        (name.to_owned(), result.to_owned())
    };
    output.lines().map(pair).collect()
}

fn running_python(program: &str) -> Bench {
    let mut bench = Bench::new();
    bench.launch.program = "/usr/bin/python3".into();
    bench.launch.argv = vec!["python3".into(), "-c".into(), program.into()];
    bench
}

fn with(system_calls: Preset) -> Privileges {
    Privileges {
        system_calls,
        ..Privileges::default()
    }
}

#[test]
fn each_group_of_system_calls_is_refused_by_the_filter_alone() {
    let open = results(with(Preset::None));
    assert!(open.len() > 18, "{open:?}");
    for (name, result) in &open {
        // Packets need a capability.
        let refused = name == "socket";
        assert_eq!(result == "EPERM", refused, "{name} {result}");
    }
    for preset in [Preset::Service, Preset::Strict] {
        for (name, result) in results(with(preset)) {
            let expected = match name.as_str() {
                "clone3" => "ENOSYS",
                "socket" => "EAFNOSUPPORT",
                _ => "EPERM",
            };
            assert_eq!(result, expected, "{name}");
        }
    }
    let logged = results(Privileges {
        log_system_calls: true,
        ..Privileges::default()
    });
    for ((name, result), (_, open)) in logged.iter().zip(&open) {
        let expected = if name == "clone3" { "ENOSYS" } else { open };
        assert_eq!(result, expected, "{name}");
    }
}

/// Tries to change another process of the same user, and then itself.
const OTHERS: &str = r#"
import ctypes, os, resource, signal
child = os.fork()
if child == 0:
    signal.pause()
def attempt(name, change):
    try:
        change()
        print(name, "ok")
    except OSError as error:
        print(name, "refused" if error.errno == 1 else error)
for name, pid in [("other", child), ("own", 0)]:
    attempt(name, lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)))
    attempt(name, lambda: os.sched_setaffinity(pid, os.sched_getaffinity(0)))
    attempt(name, lambda: os.setpriority(os.PRIO_PROCESS, pid, 5))
attempt("user", lambda: os.setpriority(os.PRIO_USER, 54321, 5) if os.getuid() else None)
os.kill(child, signal.SIGKILL)
"#;

#[test]
fn strict_keeps_a_process_from_changing_others_of_its_user() {
    let mut bench = running_python(OTHERS);
    let each = |name: &str, result: &str| format!("{name} {result}\n").repeat(3);
    bench.launch.wall.privileges = with(Preset::Service);
    let open = bench.output();
    assert!(
        open.starts_with(&(each("other", "ok") + &each("own", "ok"))),
        "{open}"
    );
    bench.launch.wall.privileges = with(Preset::Strict);
    let closed = each("other", "refused") + &each("own", "ok") + "user refused\n";
    assert_eq!(bench.output(), closed);
}

/// The sets of a process, in this order.
const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn sets(bench: &Bench) -> [u64; 5] {
    let running = bench.run().unwrap();
    SETS.map(|set| u64::from_str_radix(&running.status(set), 16).unwrap())
}

#[test]
fn a_program_has_the_capabilities_that_are_listed_and_no_others() {
    let service = Capabilities::SERVICE.bits();
    let root = Bench::new().for_root();
    assert_eq!(sets(&root), [0, service, service, service, 0]);
    let one = Capabilities::NONE.with(Capability::named("net_raw").unwrap());
    let bits = one.bits();
    let mut root = Bench::new().for_root();
    root.launch.wall.privileges.capabilities = Some(one);
    assert_eq!(sets(&root), [0, bits, bits, bits, 0]);
    let mut other = Bench::new();
    assert_eq!(sets(&other), [0; 5]);
    other.launch.wall.privileges.capabilities = Some(one);
    assert_eq!(sets(&other), [bits; 5]);
    assert_eq!(other.rehearse(), Ok(()));
}

#[test]
fn inherited_capabilities_and_secure_bits_do_not_reach_a_program() {
    use rustix::thread::{CapabilitiesSecureBits, CapabilitySet};
    let mut bench = running_python("import ctypes; print(ctypes.CDLL(None).prctl(27))").for_root();
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.inheritable = CapabilitySet::NET_RAW;
    rustix::thread::set_capabilities(None, sets).unwrap();
    rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_RAW, true).unwrap();
    let bits = CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE | CapabilitiesSecureBits::NO_ROOT;
    rustix::thread::set_capabilities_secure_bits(bits).unwrap();
    assert_eq!(bench.output(), "0\n");
    bench.launch.program = "/bin/sleep".into();
    bench.launch.argv = vec!["sleep".into(), "1000".into()];
    let service = Capabilities::SERVICE.bits();
    assert_eq!(self::sets(&bench), [0, service, service, service, 0]);
}

#[test]
fn no_core_file_is_written_unless_the_manifest_says_so() {
    let bench = Bench::script("ulimit -Sc; ulimit -Hc; grep 'core file' /proc/self/limits");
    let output = bench.output();
    let words: Vec<&str> = output.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words[4..], ["1", "1", "bytes"], "{output}");
}

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
