//! What one process can do to another.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Signal, getpgid, getpriority_process, getrlimit,
    kill_process, kill_process_group, pidfd_getfd, pidfd_open, pidfd_send_signal, prlimit,
    setpriority_process,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::super::aim::Aim;
use super::super::way::{Against, Attempted, Gain, Guard, Way};
use super::{called, way};
use tenantd_host::launch::attempt::{self, Call};

use Gain::{Read as Reads, Signal as Signals, Starve, Trace, Write as Writes};

/// The process must not notice it.
const SIGNAL: Signal = Signal::CONT;

type Row = (&'static str, Gain, fn(&Aim) -> Attempted);

/// What the right to trace a process is needed for.
const TRACING: &[Row] = &[
    ("list /proc/PID/root", Reads, |aim| listed(aim, "root/")),
    ("list /proc/PID/cwd", Reads, |aim| listed(aim, "cwd/")),
    ("open a file by /proc/PID/fd", Reads, |aim| {
        opened(aim, &format!("fd/{}", aim.to.descriptor))
    }),
    ("write a file by /proc/PID/fd", Writes, |aim| {
        let path = aim.to.proc(&format!("fd/{}", aim.to.descriptor));
        Ok(OpenOptions::new().append(true).open(path).map(drop)?)
    }),
    ("read /proc/PID/environ", Reads, |aim| read(aim, "environ")),
    ("read /proc/PID/maps", Reads, |aim| read(aim, "maps")),
    ("read /proc/PID/auxv", Reads, |aim| read(aim, "auxv")),
    ("read /proc/PID/io", Reads, |aim| read(aim, "io")),
    ("read /proc/PID/exe", Reads, |aim| linked(aim, "exe")),
    ("read /proc/PID/ns/net", Reads, |aim| linked(aim, "ns/net")),
    ("open /proc/PID/mem", Writes, |aim| {
        let path = aim.to.proc("mem");
        Ok(OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(drop)?)
    }),
    ("trace it (ptrace)", Trace, |aim| {
        called(Call::Trace(aim.to.pid))
    }),
    ("read its memory (process_vm_readv)", Reads, |aim| {
        Ok(attempt::reach_memory(aim.to.pid, false)?)
    }),
    ("write its memory (process_vm_writev)", Writes, |aim| {
        Ok(attempt::reach_memory(aim.to.pid, true)?)
    }),
    ("take a descriptor (pidfd_getfd)", Reads, |aim| {
        let process = pidfd_open(pid(aim)?, PidfdFlags::empty())?;
        let number = aim.to.descriptor;
        Ok(pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map(drop)?)
    }),
    ("move its pages (move_pages)", Trace, |aim| {
        called(Call::MovePages(aim.to.pid))
    }),
    ("read get_robust_list of it", Reads, |aim| {
        called(Call::RobustList(aim.to.pid))
    }),
];

/// The same, which the filter of system calls refuses too.
const COMPARING: &[Row] = &[("compare descriptors (kcmp)", Reads, |aim| {
    called(Call::Compare(aim.to.pid))
})];

const SIGNALS: &[Row] = &[
    ("signal it (kill)", Signals, |aim| {
        Ok(kill_process(pid(aim)?, SIGNAL)?)
    }),
    ("signal it by a pidfd", Signals, |aim| {
        let process = pidfd_open(pid(aim)?, PidfdFlags::empty())?;
        Ok(pidfd_send_signal(process, SIGNAL)?)
    }),
    ("signal its group (killpg)", Signals, |aim| {
        // The group of the process alone: it has made a session.
        Ok(kill_process_group(getpgid(Some(pid(aim)?))?, SIGNAL)?)
    }),
];

/// What every user sees of a process, unless `/proc` hides it.
const SEEN: &[Row] = &[
    ("see it in /proc", Reads, |aim| {
        Ok(fs::metadata(aim.to.proc("")).map(drop)?)
    }),
    ("read /proc/PID/cmdline", Reads, |aim| read(aim, "cmdline")),
    ("read /proc/PID/status", Reads, |aim| read(aim, "status")),
    ("read /proc/PID/mountinfo", Reads, |aim| {
        read(aim, "mountinfo")
    }),
    ("read /proc/PID/net/tcp", Reads, |aim| read(aim, "net/tcp")),
];

/// What the owner of a process writes, unless `/proc` hides it.
const WRITTEN: &[Row] = &[
    ("write /proc/PID/oom_score_adj", Starve, |aim| {
        rewritten(aim, "oom_score_adj")
    }),
    ("write /proc/PID/coredump_filter", Writes, |aim| {
        rewritten(aim, "coredump_filter")
    }),
];

/// What processes of one user can change of each other.
const LIMITS: &[Row] = &[("change its limits (prlimit)", Starve, |aim| {
    // The limit that it has, like this process.
    let same = getrlimit(Resource::Core);
    Ok(prlimit(Some(pid(aim)?), Resource::Core, same).map(drop)?)
})];

/// The same, except on processes with more capabilities.
const CHANGING: &[Row] = &[
    ("change its priority (setpriority)", Starve, |aim| {
        let now = getpriority_process(Some(pid(aim)?))?;
        Ok(setpriority_process(Some(pid(aim)?), now)?)
    }),
    ("change its processors", Starve, |aim| {
        let now: CpuSet = sched_getaffinity(Some(pid(aim)?))?;
        Ok(sched_setaffinity(Some(pid(aim)?), &now)?)
    }),
    ("change its scheduler", Starve, |aim| {
        called(Call::Scheduler(aim.to.pid))
    }),
    ("change its I/O priority", Starve, |aim| {
        called(Call::IoPriority(aim.to.pid))
    }),
];

/// What is open to every user.
const DESIGN: &[Row] = &[
    ("wait for the end of a process number", Reads, |aim| {
        Ok(pidfd_open(pid(aim)?, PidfdFlags::empty()).map(drop)?)
    }),
    ("read the group of a process number", Reads, |aim| {
        Ok(getpgid(Some(pid(aim)?)).map(drop)?)
    }),
];

/// The ways against a process of the neighbour or the supervisor.
pub(super) fn ways(against: Against) -> Vec<Way> {
    let hidden = Guard::HiddenProcesses;
    let mut tracing = vec![Guard::Domain, Guard::User];
    if against == Against::Supervisor {
        // It has more capabilities than a tenant of root.
        tracing.push(Guard::Lacks("sys_ptrace"));
    }
    let mut comparing = tracing.clone();
    comparing.push(Guard::Calls);
    let changing = match against {
        // It has more capabilities than a tenant of root.
        Against::Supervisor => [Guard::StrictCalls, Guard::Lacks("sys_nice")],
        Against::Neighbour | Against::Host => [Guard::StrictCalls, Guard::UserLacking("sys_nice")],
    };
    let mut all = Vec::new();
    let mut add = |rows: &[Row], guards: &[Guard]| {
        let rows = rows.iter();
        all.extend(rows.map(|&(name, gain, attempt)| way(against, (name, gain), guards, attempt)));
    };
    add(SEEN, &[hidden]);
    add(TRACING, &tracing);
    add(COMPARING, &comparing);
    add(SIGNALS, &[Guard::Signals, Guard::User]);
    add(WRITTEN, &[hidden, Guard::User]);
    add(LIMITS, &[Guard::StrictCalls, Guard::User]);
    add(CHANGING, &changing);
    add(
        &[("enter its network namespace (setns)", Trace, enter_network)],
        &[Guard::Calls, Guard::Lacks("sys_admin")],
    );
    if against == Against::Neighbour {
        add(DESIGN, &[]);
    }
    all
}

fn pid(aim: &Aim) -> Result<Pid, Errno> {
    Pid::from_raw(aim.to.pid).ok_or(Errno::SRCH)
}

fn listed(aim: &Aim, name: &str) -> Attempted {
    Ok(fs::read_dir(aim.to.proc(name)).map(drop)?)
}

fn linked(aim: &Aim, name: &str) -> Attempted {
    Ok(fs::read_link(aim.to.proc(name)).map(drop)?)
}

fn opened(aim: &Aim, name: &str) -> Attempted {
    Ok(File::open(aim.to.proc(name)).map(drop)?)
}

fn read(aim: &Aim, name: &str) -> Attempted {
    let mut byte = [0];
    Ok(File::open(aim.to.proc(name))?.read(&mut byte).map(drop)?)
}

/// Writes what is there.
fn rewritten(aim: &Aim, name: &str) -> Attempted {
    let now = fs::read_to_string(std::path::Path::new("/proc/self").join(name))?;
    let mut file = OpenOptions::new().write(true).open(aim.to.proc(name))?;
    Ok(file.write_all(now.as_bytes())?)
}

fn enter_network(aim: &Aim) -> Attempted {
    let process = pidfd_open(pid(aim)?, PidfdFlags::empty())?;
    called(Call::EnterNetwork(process.as_fd()))
}
