//! What a program does not inherit from what started tenantd.

use rustix::io::Errno;
use rustix::process::{setpriority_process, umask};
use rustix::thread::CapabilitySet;
use tenantd_core::plan::model::ProcessAttributes;
use tenantd_core::stage::Stage;

use crate::launch::bench::Bench;

/// What a program has, as it says itself.
const LOOK: &str = r#"
    umask; nice; cat /proc/self/oom_score_adj /proc/self/timerslack_ns /proc/self/personality
    grep Cpus_allowed: /proc/self/status | cut -f 2
    chrt -p $$ | sed 's/.*: //'; ionice -p $$
    sed -n 's/^[0-9a-f]* \([a-z]*\).*/\1/p' /proc/self/numa_maps | sort -u
"#;

/// Gives this thread what a shell, a batch job or a unit may have given to tenantd.
fn change_this_thread() {
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    setpriority_process(None, 7).unwrap();
    std::fs::write("/proc/self/oom_score_adj", "300").unwrap();
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000_000)).unwrap();
    let pid = std::process::id();
    let tid = rustix::thread::gettid().to_string();
    for command in [
        format!("chrt --batch -p 0 {tid}"),
        format!("ionice -c 3 -p {tid}"),
        format!("taskset -p 1 {tid}"),
    ] {
        let done = std::process::Command::new("sh")
            .args(["-c", &command])
            .output()
            .unwrap();
        assert!(done.status.success(), "{command} of {pid}: {done:?}");
    }
}

#[test]
fn a_program_is_the_same_whatever_started_tenantd() {
    let bench = Bench::script(LOOK);
    let before = bench.output();
    assert!(
        before.starts_with("0022\n0\n0\n50000\n00000000\n"),
        "{before}"
    );
    change_this_thread();
    let after = bench.output();
    std::fs::write("/proc/self/oom_score_adj", "0").unwrap();
    assert_eq!(after, before);
}

#[test]
fn the_planned_attributes_are_set() {
    let mut bench = Bench::script("umask; nice; cat /proc/self/oom_score_adj");
    bench.launch.process = ProcessAttributes {
        umask: 0o027,
        nice: 5,
        oom_score_adj: 250,
    };
    assert_eq!(bench.output(), "0027\n5\n250\n");
}

#[test]
fn each_launch_has_a_session_keyring_of_its_own() {
    // KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING.
    let mut bench = Bench::script(&format!(
        "perl -e 'print syscall({}, 0, -3, 0), \"\\n\"'",
        libc::SYS_keyctl
    ));
    bench.launch.wall.privileges.system_calls = tenantd_core::system_calls::Preset::None;
    let own = std::process::Command::new("perl")
        .args([
            "-e",
            &format!("print syscall({}, 0, -3, 0), \"\\n\"", libc::SYS_keyctl),
        ])
        .output()
        .unwrap();
    let own = String::from_utf8(own.stdout).unwrap();
    let (first, second) = (bench.output(), bench.output());
    assert!(first.trim().parse::<i64>().unwrap() > 0, "{first}");
    assert_ne!(first, second);
    assert_ne!(first, own);
}

#[test]
fn an_attribute_that_is_asked_for_and_refused_fails_the_launch() {
    let mut bench = Bench::new();
    let mut capabilities = rustix::thread::capabilities(None).unwrap();
    capabilities.effective -= CapabilitySet::SYS_RESOURCE;
    rustix::thread::set_capabilities(None, capabilities).unwrap();
    bench.launch.process.oom_score_adj = -1000;
    let why = bench.run().map(drop).unwrap_err();
    assert_eq!(
        (why.stage, why.errno),
        (Stage::Attributes, Errno::ACCESS.raw_os_error())
    );
    assert_eq!(
        why.to_string(),
        "cannot set the OOM score adjustment: Permission denied (EACCES) [a more favoured value than \
         tenantd's own requires CAP_SYS_NICE, or CAP_SYS_RESOURCE for the OOM score]"
    );
}
