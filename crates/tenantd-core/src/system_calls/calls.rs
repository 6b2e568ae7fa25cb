//! The table of the calls that are refused or looked at.

use super::Preset;

/// An architecture, as `seccomp_data` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86,
    /// 64-bit ARM.
    Arm,
    /// 64-bit RISC-V.
    Riscv,
}

impl Architecture {
    /// The architecture that this program was built for; `None` if there is no table for it.
    #[must_use]
    pub fn own() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            return Some(Self::X86);
        }
        if cfg!(target_arch = "aarch64") {
            return Some(Self::Arm);
        }
        cfg!(target_arch = "riscv64").then_some(Self::Riscv)
    }

    /// `AUDIT_ARCH_*` of linux/audit.h.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86 => 0xc000_003e,
            Self::Arm => 0xc000_00b7,
            Self::Riscv => 0xc000_00f3,
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// EPERM, in this preset and above.
    From(Preset),
    /// ENOSYS: the caller tries another call that can be looked at.
    Missing,
    /// EPERM if it makes a namespace, by the flags in its first argument.
    NewNamespace,
    /// EAFNOSUPPORT unless it makes a unix, IPv4, IPv6 or netlink socket.
    Family,
    /// EPERM if the request in its second argument is one of those that are refused.
    Request,
    /// EPERM in [`Preset::Strict`] if it names another process, in its first argument.
    OtherProcess,
    /// EPERM in [`Preset::Strict`] if it names another process, a group or a user in its second
    /// argument; the first says which, and this value of it means a process.
    Others(u32),
}

use Refused::{Family, From, Missing, NewNamespace, OtherProcess, Others, Request};

const SERVICE: Refused = From(Preset::Service);

/// A call: its name, its number on x86-64, its number elsewhere (asm-generic/unistd.h), and what
/// becomes of it.
pub(super) type Row = (&'static str, Option<u32>, Option<u32>, Refused);

/// The calls. All others are allowed, also those that are newer than this table.
pub(super) const REFUSED: &[Row] = &[
    // Mounts. chroot(2) is needed by programs that lock themselves up.
    ("mount", Some(165), Some(40), SERVICE),
    ("umount2", Some(166), Some(39), SERVICE),
    ("pivot_root", Some(155), Some(41), SERVICE),
    ("open_tree", Some(428), Some(428), SERVICE),
    ("move_mount", Some(429), Some(429), SERVICE),
    ("fsopen", Some(430), Some(430), SERVICE),
    ("fsconfig", Some(431), Some(431), SERVICE),
    ("fsmount", Some(432), Some(432), SERVICE),
    ("fspick", Some(433), Some(433), SERVICE),
    ("mount_setattr", Some(442), Some(442), SERVICE),
    ("open_tree_attr", Some(467), Some(467), SERVICE),
    // Namespaces. In a new user namespace every user has all capabilities.
    ("setns", Some(308), Some(268), SERVICE),
    ("unshare", Some(272), Some(97), NewNamespace),
    ("clone", Some(56), Some(220), NewNamespace),
    ("clone3", Some(435), Some(435), Missing),
    // The kernel, and the machine.
    ("init_module", Some(175), Some(105), SERVICE),
    ("finit_module", Some(313), Some(273), SERVICE),
    ("delete_module", Some(176), Some(106), SERVICE),
    ("kexec_load", Some(246), Some(104), SERVICE),
    ("kexec_file_load", Some(320), Some(294), SERVICE),
    ("reboot", Some(169), Some(142), SERVICE),
    ("bpf", Some(321), Some(280), SERVICE),
    ("perf_event_open", Some(298), Some(241), SERVICE),
    ("syslog", Some(103), Some(116), SERVICE),
    ("userfaultfd", Some(323), Some(282), SERVICE),
    ("io_uring_setup", Some(425), Some(425), SERVICE),
    ("io_uring_enter", Some(426), Some(426), SERVICE),
    ("io_uring_register", Some(427), Some(427), SERVICE),
    ("iopl", Some(172), None, SERVICE),
    ("ioperm", Some(173), None, SERVICE),
    ("modify_ldt", Some(154), None, SERVICE),
    // What the host has once.
    ("swapon", Some(167), Some(224), SERVICE),
    ("swapoff", Some(168), Some(225), SERVICE),
    ("acct", Some(163), Some(89), SERVICE),
    // The project of a file, by which quotas count.
    ("file_setattr", Some(469), Some(469), SERVICE),
    ("quotactl", Some(179), Some(60), SERVICE),
    ("quotactl_fd", Some(443), Some(443), SERVICE),
    ("settimeofday", Some(164), Some(170), SERVICE),
    ("clock_settime", Some(227), Some(112), SERVICE),
    ("sethostname", Some(170), Some(161), SERVICE),
    ("setdomainname", Some(171), Some(162), SERVICE),
    ("vhangup", Some(153), Some(58), SERVICE),
    // Keys of other tenants of the user, files by handle, comparing the files of processes.
    ("add_key", Some(248), Some(217), SERVICE),
    ("request_key", Some(249), Some(218), SERVICE),
    ("keyctl", Some(250), Some(219), SERVICE),
    ("open_by_handle_at", Some(304), Some(265), SERVICE),
    ("kcmp", Some(312), Some(272), SERVICE),
    // Obsolete.
    ("uselib", Some(134), None, SERVICE),
    ("ustat", Some(136), None, SERVICE),
    ("sysfs", Some(139), None, SERVICE),
    // Some uses of these.
    ("socket", Some(41), Some(198), Family),
    ("ioctl", Some(16), Some(29), Request),
    ("sched_setparam", Some(142), Some(118), OtherProcess),
    ("sched_setscheduler", Some(144), Some(119), OtherProcess),
    ("sched_setaffinity", Some(203), Some(122), OtherProcess),
    ("sched_setattr", Some(314), Some(274), OtherProcess),
    ("prlimit64", Some(302), Some(261), OtherProcess),
    // PRIO_PROCESS is 0, IOPRIO_WHO_PROCESS is 1.
    ("setpriority", Some(141), Some(140), Others(0)),
    ("ioprio_set", Some(251), Some(30), Others(1)),
];

/// The number of a call on an architecture; `None` if that has no such call.
pub(super) fn number(row: &Row, architecture: Architecture) -> Option<u32> {
    match architecture {
        Architecture::X86 => row.1,
        Architecture::Arm | Architecture::Riscv => row.2,
    }
}
