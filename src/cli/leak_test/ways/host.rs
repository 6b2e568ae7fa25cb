//! What a process can change of the host by files of the kernel, what it can gain for itself, and what it sees
//! and uses without a limit.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::process::setpriority_process;
use rustix::thread::no_new_privs;

use super::super::aim::Aim;
use super::super::way::{Against, Attempted, Gain, Guard, Shut, Way};
use super::{called, refused, way};
use tenantd_host::launch::attempt::Call;

use Gain::{Impersonate, Outlive, Read, Starve, Write};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The lowest value of `oom_score_adj`: the kernel never kills the process.
const NEVER: &str = "-1000";

/// The ways.
pub(super) fn ways() -> Vec<Way> {
    let mut all = changed();
    all.extend(gained());
    all.extend(seen());
    all
}

fn host(named: (&'static str, Gain), guards: &[Guard], attempt: fn(&Aim) -> Attempted) -> Way {
    way(Against::Host, named, guards, attempt)
}

/// What it can change by files of the kernel.
fn changed() -> Vec<Way> {
    vec![
        host(
            ("write kernel.core_pattern (sysctl)", Write),
            &[Guard::KernelSettings],
            |_| write(Path::new("/proc/sys/kernel/core_pattern")),
        ),
        host(
            ("leave its cgroup (cgroup.procs)", Outlive),
            &[Guard::Cgroups],
            |_| write(&Path::new(CGROUPS).join("cgroup.procs")),
        ),
        host(
            ("raise its own limits (memory.max)", Starve),
            &[Guard::Cgroups],
            |_| {
                let own = own_cgroup()?;
                match write(&own.join("memory.max")) {
                    // Its cgroup counts no memory. Each has this limit.
                    Err(Shut::Refused(why)) if why == "ENOENT" => {
                        write(&own.join("cgroup.max.descendants"))
                    }
                    written => written,
                }
            },
        ),
    ]
}

/// What it can gain for itself.
fn gained() -> Vec<Way> {
    vec![
        host(
            ("gain rights by a set-id program", Outlive),
            &[Guard::NoNewPrivileges],
            |_| match no_new_privs()? {
                true => refused("no_new_privs"),
                false => Ok(()),
            },
        ),
        host(
            ("type on the operator's terminal", Impersonate),
            &[Guard::Session, Guard::Calls],
            |_| {
                let terminal = File::open("/dev/tty")?;
                called(Call::Type(std::os::fd::AsFd::as_fd(&terminal)))
            },
        ),
        host(
            ("raise its own priority (nice)", Starve),
            &[Guard::Lacks("sys_nice")],
            |_| Ok(setpriority_process(None, -1)?),
        ),
        host(
            ("never be killed for memory", Starve),
            &[Guard::Lacks("sys_resource")],
            |_| {
                let own = "/proc/self/oom_score_adj";
                match fs::read_to_string(own)?.trim() == NEVER {
                    true => refused("the manifest says so"),
                    false => Ok(fs::write(own, NEVER)?),
                }
            },
        ),
    ]
}

/// What it sees, and uses without a limit.
fn seen() -> Vec<Way> {
    vec![
        host(("read the host's name", Read), &[], |_| {
            Ok(fs::read("/proc/sys/kernel/hostname").map(drop)?)
        }),
        host(("read the load of the host", Read), &[], |_| {
            Ok(fs::read("/proc/loadavg").map(drop)?)
        }),
        host(("list the cgroups of others", Read), &[], |_| others()),
        host(("use memory without a limit", Starve), &[], |_| {
            let limit = own_cgroup()?.join("memory.max");
            match fs::read_to_string(limit) {
                Ok(limit) if limit.trim() != "max" => refused("its cgroup has a limit"),
                Ok(_) => Ok(()),
                // Its cgroup counts no memory.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error.into()),
            }
        }),
    ]
}

/// The folder of the cgroup of this process, of version 2.
fn own_cgroup() -> Result<PathBuf, Shut> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = path.ok_or_else(|| Shut::Refused("ENOENT".to_owned()))?;
    Ok(Path::new(CGROUPS).join(path))
}

/// Lists the folders of all cgroups in which its own one is, for one in which it is not.
fn others() -> Attempted {
    let own = own_cgroup()?;
    let lists = own.ancestors().skip(1);
    for folder in lists.take_while(|folder| folder.starts_with(CGROUPS)) {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && !own.starts_with(entry.path()) {
                return Ok(());
            }
        }
    }
    refused("only its own are there")
}

/// Opens a file of the kernel to write, and writes nothing.
fn write(path: &Path) -> Attempted {
    Ok(OpenOptions::new().write(true).open(path).map(drop)?)
}
