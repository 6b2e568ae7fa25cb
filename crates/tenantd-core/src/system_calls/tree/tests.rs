//! Runs the programs as the kernel does, and compares each verdict with the table.

use super::*;

/// The verdict on a call. Panics where the kernel would refuse the program.
fn judge(program: &[Instruction], audit: u32, number: u32, arguments: [u32; 2]) -> u32 {
    let (mut at, mut loaded) = (0, 0);
    loop {
        let Instruction { code, yes, no, k } = program[at];
        at += 1;
        let skip = |holds: bool| usize::from(if holds { yes } else { no });
        match code {
            LOAD => {
                loaded = match k {
                    AT_NUMBER => number,
                    AT_ARCHITECTURE => audit,
                    16 => arguments[0],
                    24 => arguments[1],
                    other => panic!("nothing is loaded from {other}"),
                }
            }
            JUMP => at += usize::try_from(k).unwrap(),
            IF_EQUAL => at += skip(loaded == k),
            IF_FROM => at += skip(loaded >= k),
            IF_BITS => at += skip(loaded & k != 0),
            RETURN => return k,
            other => panic!("no instruction {other:#x}"),
        }
    }
}

const ALL: [Architecture; 3] = [Architecture::X86, Architecture::Arm, Architecture::Riscv];
const EPERM: u32 = ERRNO | 1;
const ENOSYS: u32 = ERRNO | 38;
const EAFNOSUPPORT: u32 = ERRNO | 97;

/// The verdict by the table, one row after the other.
fn expected(preset: Preset, architecture: Architecture, call: u32, [a, b]: [u32; 2]) -> u32 {
    let row = REFUSED
        .iter()
        .find(|row| number(row, architecture) == Some(call));
    let Some((name, _, _, refused)) = row else {
        return ALLOW;
    };
    let strict = preset == Preset::Strict;
    let refused_if = |is: bool| if is { EPERM } else { ALLOW };
    match refused {
        Refused::From(_) => EPERM,
        Refused::Missing => ENOSYS,
        Refused::NewNamespace => {
            let time = if *name == "unshare" { 0x80 } else { 0 };
            refused_if(a & (0x7e02_0000 | time) != 0)
        }
        Refused::Family if [1, 2, 10, 16].contains(&a) => ALLOW,
        Refused::Family => EAFNOSUPPORT,
        Refused::Request => refused_if(REQUESTS.contains(&b)),
        Refused::OtherProcess => refused_if(strict && a != 0),
        Refused::Others(process) => refused_if(strict && (a != *process || b != 0)),
    }
}

/// Arguments that the blocks tell apart.
fn arguments() -> impl Iterator<Item = [u32; 2]> {
    let firsts = [
        0,
        1,
        2,
        3,
        10,
        16,
        17,
        0x11,
        0x80,
        0x1000_0000,
        0x2_0000,
        0x0100_0011,
        4711,
    ];
    let seconds: Vec<u32> = [0, 1, 4711, 0x5401, 0x5413]
        .into_iter()
        .chain(REQUESTS)
        .collect();
    firsts.into_iter().flat_map(move |first| {
        let seconds = seconds.clone();
        seconds.into_iter().map(move |second| [first, second])
    })
}

#[test]
fn each_number_has_the_verdict_of_the_table() {
    for architecture in ALL {
        for preset in [Preset::Service, Preset::Strict] {
            let program = program(preset, false, architecture);
            for call in (0..1_000).chain([0x3fff_ffff]) {
                for arguments in arguments() {
                    assert_eq!(
                        judge(&program, architecture.audit(), call, arguments),
                        expected(preset, architecture, call, arguments),
                        "{architecture:?} {preset:?} {call} {arguments:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn other_architectures_and_abis_have_no_calls() {
    const I386: u32 = 0x4000_0003;
    for architecture in ALL {
        let program = program(Preset::Service, false, architecture);
        for call in 0..500 {
            assert_eq!(judge(&program, I386, call, [0, 0]), ENOSYS);
        }
    }
    let x86 = Architecture::X86;
    let program = program(Preset::Service, false, x86);
    assert_eq!(judge(&program, x86.audit(), X32, [0, 0]), ENOSYS);
    assert_eq!(judge(&program, x86.audit(), X32 | 39, [0, 0]), ENOSYS);
    assert_eq!(judge(&program, x86.audit(), u32::MAX, [0, 0]), ENOSYS);
}

#[test]
fn logging_refuses_nothing_but_clone3() {
    let architecture = Architecture::X86;
    let logging = program(Preset::Strict, true, architecture);
    for call in 0..1_000 {
        for arguments in arguments() {
            let audit = architecture.audit();
            let expected = match expected(Preset::Strict, architecture, call, arguments) {
                ALLOW => ALLOW,
                ENOSYS => ENOSYS,
                _ => LOG,
            };
            let verdict = judge(&logging, audit, call, arguments);
            assert_eq!(verdict, expected, "{call} {arguments:?}");
        }
    }
    assert_eq!(judge(&logging, 0, 39, [0, 0]), LOG);
}

#[test]
fn the_tree_is_flat_and_the_preset_none_is_empty() {
    for architecture in ALL {
        let program = program(Preset::Strict, false, architecture);
        // BPF_MAXINSNS is 4096; the time to load grows with what each number passes.
        assert!(program.len() < 256, "{}", program.len());
        assert!(super::program(Preset::None, true, architecture).is_empty());
    }
}

/// The calls by their names in the C library.
#[cfg(target_arch = "x86_64")]
const KNOWN: &[(&str, i64)] = &[
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("setns", libc::SYS_setns),
    ("unshare", libc::SYS_unshare),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("reboot", libc::SYS_reboot),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("syslog", libc::SYS_syslog),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("modify_ldt", libc::SYS_modify_ldt),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", libc::SYS_quotactl_fd),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("vhangup", libc::SYS_vhangup),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("keyctl", libc::SYS_keyctl),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("kcmp", libc::SYS_kcmp),
    ("uselib", libc::SYS_uselib),
    ("ustat", libc::SYS_ustat),
    ("sysfs", libc::SYS_sysfs),
    ("socket", libc::SYS_socket),
    ("ioctl", libc::SYS_ioctl),
    ("sched_setparam", libc::SYS_sched_setparam),
    ("sched_setscheduler", libc::SYS_sched_setscheduler),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("sched_setattr", libc::SYS_sched_setattr),
    ("prlimit64", libc::SYS_prlimit64),
    ("setpriority", libc::SYS_setpriority),
    ("ioprio_set", libc::SYS_ioprio_set),
];

/// The table has the numbers that this machine's C library has.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_numbers_are_those_of_the_c_library() {
    for (name, x86, _, _) in REFUSED {
        let Some((_, expected)) = KNOWN.iter().find(|(known, _)| known == name) else {
            // Newer than the C library's table.
            assert!(["open_tree_attr", "file_setattr"].contains(name), "{name}");
            continue;
        };
        assert_eq!(x86.map(i64::from), Some(*expected), "{name}");
    }
}
