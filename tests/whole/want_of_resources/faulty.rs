//! A supervisor whose system calls fail when the test wants it, see `faults.py`.

use std::fs;

use crate::support::daemon::{Daemon, PROGRAM, write_manifest};
use crate::support::place::{self, folder, script};

const CONTROL: &str = "/srv/control";

/// What the host lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// No process or thread can be made.
    Processes,
    /// No descriptor can be opened.
    Descriptors,
    /// The kernel has no memory for what it is asked to make.
    Memory,
    /// The filesystems below `/run` and `/var` are full.
    Disk,
}

impl Want {
    /// The calls that fail, and with what; see `faults.py`.
    fn rules(self) -> Vec<String> {
        let all = |calls: &[libc::c_long], errno: i32, flag: &str| -> Vec<String> {
            let rule = |call| format!("{call}:{errno}{flag}");
            calls.iter().map(rule).collect()
        };
        match self {
            Self::Processes => all(&[libc::SYS_clone, libc::SYS_clone3], libc::EAGAIN, ""),
            Self::Descriptors => {
                let calls = [
                    libc::SYS_pipe2,
                    libc::SYS_openat,
                    libc::SYS_socket,
                    libc::SYS_eventfd2,
                    libc::SYS_pidfd_open,
                    libc::SYS_epoll_create1,
                    libc::SYS_dup,
                    libc::SYS_inotify_init1,
                    libc::SYS_fsopen,
                    libc::SYS_fsmount,
                    libc::SYS_open_tree,
                    libc::SYS_accept4,
                ];
                all(&calls, libc::EMFILE, "")
            }
            Self::Memory => {
                let calls = [
                    libc::SYS_clone3,
                    libc::SYS_fsopen,
                    libc::SYS_fsmount,
                    libc::SYS_open_tree,
                    libc::SYS_mount,
                    libc::SYS_move_mount,
                    libc::SYS_mount_setattr,
                    libc::SYS_sendto,
                    libc::SYS_setns,
                    libc::SYS_epoll_ctl,
                    libc::SYS_inotify_add_watch,
                ];
                all(&calls, libc::ENOMEM, "")
            }
            Self::Disk => {
                let mut rules = all(&[libc::SYS_openat], libc::ENOSPC, ":make");
                let files = [libc::SYS_write, libc::SYS_pwrite64, libc::SYS_ftruncate];
                rules.extend(all(&files, libc::ENOSPC, ":file"));
                let names = [
                    libc::SYS_mkdirat,
                    libc::SYS_renameat,
                    libc::SYS_renameat2,
                    libc::SYS_symlinkat,
                    libc::SYS_mknodat,
                    #[cfg(target_arch = "x86_64")]
                    libc::SYS_mkdir,
                    #[cfg(target_arch = "x86_64")]
                    libc::SYS_rename,
                    #[cfg(target_arch = "x86_64")]
                    libc::SYS_symlink,
                ];
                rules.extend(all(&names, libc::ENOSPC, ""));
                rules
            }
        }
    }

    /// The name of the error in messages.
    pub(super) fn said(self) -> &'static [&'static str] {
        match self {
            Self::Processes => &["EAGAIN", "Resource temporarily unavailable"],
            Self::Descriptors => &["EMFILE", "Too many open files"],
            // The C library says of a thread that it can be tried again.
            Self::Memory => &[
                "ENOMEM",
                "want of memory",
                "Cannot allocate memory",
                "EAGAIN",
                "Resource temporarily",
            ],
            Self::Disk => &["ENOSPC", "No space left on device"],
        }
    }
}

/// The supervisor, and which order its faults have.
pub(super) struct Faulty {
    pub(super) daemon: Daemon,
    order: u32,
}

/// The manifest, with these tenants.
fn manifest(tenants: &[&str]) -> String {
    let mut text =
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/bin/sleep\", \"1000000\"]\n\
         datastore.path = \"/srv/data\"\n\
         restart = { delay = \"20ms\", delay_max = \"20ms\", strikes = 0 }\n[tenants]\n"
            .to_owned();
    for (number, tenant) in tenants.iter().enumerate() {
        text += &format!("{tenant} = {{ ip = \"10.77.0.{}\" }}\n", 11 + number);
    }
    text
}

impl Faulty {
    /// Starts a supervisor with two tenants. Nothing fails yet.
    pub(super) fn start(want: Want) -> Self {
        place::host();
        folder("/srv/data");
        fs::write(CONTROL, "0 none").unwrap();
        let faults = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/whole/want_of_resources/faults.py"
        );
        let rules = want.rules().join(" ");
        let program = script(
            "faulty",
            &format!("exec /usr/bin/python3 {faults} {PROGRAM} {CONTROL} {rules} -- \"$@\""),
        );
        let daemon = Daemon::spawn_with(&program, &manifest(&["acme", "beta"]), &[]);
        daemon.settles();
        Self { daemon, order: 0 }
    }

    /// Lets a call fail: the one with this number from now on, or `all`, or `none`.
    pub(super) fn fail(&mut self, which: &str) {
        self.order += 1;
        let next = format!("{CONTROL}.next");
        fs::write(&next, format!("{} {which}", self.order)).unwrap();
        fs::rename(next, CONTROL).unwrap();
    }

    /// What has failed since [`Faulty::fail`].
    pub(super) fn failed(&self) -> Vec<String> {
        let hits = fs::read_to_string(format!("{CONTROL}.hit")).unwrap_or_default();
        let order = format!("{} ", self.order);
        let hits = hits.lines().filter(|line| line.starts_with(&order));
        hits.map(str::to_owned).collect()
    }

    /// Writes the manifest with these tenants.
    pub(super) fn plan(&self, tenants: &[&str]) {
        write_manifest(&self.daemon.app, &manifest(tenants));
    }

    pub(super) fn pid(&self, tenant: &str) -> Option<u32> {
        self.daemon.tenant(tenant).pid
    }
}
