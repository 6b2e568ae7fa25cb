//! What a program finds that it did not ask for, compared with the table in the guide.

use crate::launch::bench::Bench;

/// Prints attributes with the names that they have in the guide.
const LOOK: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
stat = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
def say(name, value):
    print("| %s | %s" % (name, str(value).strip()))
def of_process(option):
    number = ctypes.c_int()
    libc.prctl(option, ctypes.byref(number))
    return number.value
own = {"0": "/dev/null", "1": "/run/out", "2": "/run/out"}
found = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        found[fd] = os.readlink("/proc/self/fd/" + fd)
    except FileNotFoundError:
        pass
if "63" in found:
    del found["63"]
say("descriptors", "0 (`/dev/null`), 1 and 2 (the log)" if found == own else found)
say("session", "its own, without a terminal" if os.getsid(0) == os.getpid() and stat[4] == "0" else stat)
masks = {int(status[it], 16) for it in ("SigBlk", "SigIgn")}
# Python ignores SIGPIPE (13) and SIGXFSZ (25) itself.
say("signals blocked, ignored", "none" if masks <= {0, 1 << 12 | 1 << 24} else masks)
mask = os.umask(0)
say("umask", "%04o" % mask)
say("nice value", os.getpriority(os.PRIO_PROCESS, 0))
say("scheduling policy", "other" if os.sched_getscheduler(0) == 0 else "")
say("I/O priority", "none" if libc.syscall(252 if os.uname().machine == "x86_64" else 31, 1, 0) >> 13 == 0 else "")
say("timer slack", libc.prctl(30))
say("personality", open("/proc/self/personality").read())
say("OOM score adjustment", open("/proc/self/oom_score_adj").read())
sets = ["CapInh", "CapAmb"]
say("inheritable, ambient capabilities", "none" if not any(int(status[it], 16) for it in sets) else sets)
say("bounding set", "none" if int(status["CapBnd"], 16) == 0 else status["CapBnd"])
say("secure bits", libc.prctl(27))
say("no_new_privs", status["NoNewPrivs"])
say("seccomp", status["Seccomp"])
say("dumpable", libc.prctl(3))
say("child subreaper", of_process(37))
say("parent death signal", of_process(2))
"#;

#[test]
fn a_program_inherits_what_the_guide_says() {
    let mut bench = Bench::new();
    bench.launch.program = "/usr/bin/python3".into();
    bench.launch.argv = vec!["python3".into(), "-c".into(), LOOK.into()];
    // As a service that reaps orphans, and ends with its parent.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let output = bench.output();
    rustix::process::set_child_subreaper(None).unwrap();
    let guide = include_str!("../../../docs/guide.md");
    for line in output.lines() {
        let is_said = |row: &str| {
            let rest = row.strip_prefix(line);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        assert!(guide.lines().any(is_said), "not in the guide: {line}");
    }
    assert_eq!(output.lines().count(), 18, "{output}");
}
