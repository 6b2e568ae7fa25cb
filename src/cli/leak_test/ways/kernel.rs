//! What a process can ask of the kernel that concerns the whole host.

use super::super::aim::Aim;
use super::super::way::{Against, Attempted, Gain, Guard, Way};
use super::{called, way};
use tenantd_host::launch::attempt::{self, Call};

use Gain::{Outlive, Read, Write};

/// A way by one system call, with the capability that it needs besides, if it needs one.
type Row = (
    &'static str,
    Gain,
    Option<&'static str>,
    fn(&Aim) -> Attempted,
);

const CALLS: &[Row] = &[
    ("make a user namespace (unshare)", Outlive, None, |_| {
        called(Call::NewUserNamespace)
    }),
    (
        "make a mount namespace (unshare)",
        Outlive,
        Some("sys_admin"),
        |_| called(Call::NewMountNamespace),
    ),
    (
        "load a program into the kernel (bpf)",
        Write,
        Some("bpf"),
        |_| called(Call::Bpf),
    ),
    ("measure the kernel (perf_event_open)", Read, None, |_| {
        called(Call::Perf)
    }),
    ("use io_uring", Write, None, |_| called(Call::IoUring)),
    ("handle page faults (userfaultfd)", Write, None, |_| {
        called(Call::UserFault)
    }),
    (
        "load a module (init_module)",
        Write,
        Some("sys_module"),
        |_| called(Call::LoadModule),
    ),
    (
        "load a kernel (kexec_load)",
        Write,
        Some("sys_boot"),
        |_| called(Call::LoadKernel),
    ),
    ("restart the host (reboot)", Write, Some("sys_boot"), |_| {
        called(Call::Reboot)
    }),
    ("set the host's name", Write, Some("sys_admin"), |_| {
        called(Call::SetHostName)
    }),
    ("read the kernel log (syslog)", Read, Some("syslog"), |_| {
        called(Call::KernelLog)
    }),
];

/// The ways.
pub(super) fn ways() -> Vec<Way> {
    let calls = CALLS.iter().map(|&(name, gain, needs, attempt)| {
        let mut guards = vec![Guard::Calls];
        guards.extend(needs.map(Guard::Lacks));
        way(Against::Host, (name, gain), &guards, attempt)
    });
    let mut all: Vec<Way> = calls.collect();
    all.push(way(
        Against::Host,
        ("set the clock (adjtimex)", Write),
        &[Guard::Lacks("sys_time")],
        |_| Ok(attempt::set_clock()?),
    ));
    all
}
