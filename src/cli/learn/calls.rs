//! The observer: looks at each system call of the program that is notified, and notes what it means.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

use super::caller::Caller;
use super::order::Tree;
use super::sockets::{self, Address};
use tenantd_core::learn::{Privileged, Seen};
use tenantd_core::plan::facts::HostFacts;
use tenantd_host::facts::Live;
use tenantd_host::launch::observe::{Call, Calls};
use tenantd_host::scratch::Scratch;

/// Where a folder that a program asks for is made, as a package or systemd would have made it.
const MADE_IN: [&str; 5] = ["/run", "/var/lib", "/var/log", "/var/cache", "/var/spool"];

/// How many links are followed in one path, as by the kernel.
const LINKS_MAX: usize = 40;

/// The highest port that needs a capability.
const PRIVILEGED_PORT_MAX: u16 = 1023;

/// What was observed so far.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) seen: Seen,
    /// The process that the supervisor launched.
    pub(super) first: Option<i32>,
    /// The ports that were bound, also for UDP.
    pub(super) bound: BTreeSet<u16>,
}

/// The observer.
#[derive(Debug)]
pub(super) struct Observer {
    observed: Mutex<Observed>,
    tree: Tree,
    scratch: Option<Arc<Scratch>>,
    /// The end of the path of the tenant's cgroup.
    leaf: String,
    /// The supervisor, whose child is no program yet.
    supervisor: u32,
}

impl Observer {
    pub(super) fn new(
        tree: Tree,
        scratch: Option<Arc<Scratch>>,
        leaf: String,
        supervisor: u32,
    ) -> Self {
        Self {
            observed: Mutex::default(),
            tree,
            scratch,
            leaf,
            supervisor,
        }
    }

    /// What was observed so far.
    pub(super) fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers all notifications, until no process is left.
    pub(super) fn watch(&self, calls: &Calls) -> rustix::io::Result<()> {
        while let Some(call) = calls.next()? {
            if self.is_tenants(call.thread)
                && let Some(caller) = Caller::of(call.thread)
            {
                self.look(&call, &caller);
            }
            calls.go_on(&call)?;
        }
        Ok(())
    }

    /// Whether a process is one of the tenant's, and not of the supervisor or its log collector.
    fn is_tenants(&self, thread: i32) -> bool {
        let cgroup = fs::read_to_string(format!("/proc/{thread}/cgroup")).unwrap_or_default();
        let unified = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
        unified.is_some_and(|path| {
            path.ends_with(&self.leaf) || path.contains(&format!("{}/", self.leaf))
        })
    }

    /// Whether a process has not executed the program yet.
    fn is_launching(&self, thread: i32) -> bool {
        let file = |pid: &str| {
            let found = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
            Some((found.dev(), found.ino()))
        };
        file(&thread.to_string()) == file(&self.supervisor.to_string())
    }

    fn look(&self, call: &Call, caller: &Caller) {
        let is_exec = [libc::SYS_execve, libc::SYS_execveat].contains(&call.number);
        if self.is_launching(call.thread) {
            if is_exec {
                self.observed().first.get_or_insert(call.thread);
            }
            return;
        }
        let [a, b, c, ..] = call.arguments;
        let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        match call.number {
            libc::SYS_execve => self.executes(caller, caller.path(cwd, a)),
            libc::SYS_execveat => self.executes(caller, caller.path(a, b)),
            libc::SYS_bind => self.binds(caller, &caller.memory(b, length(c))),
            libc::SYS_connect => self.connects(&caller.memory(b, length(c))),
            libc::SYS_socket => self.opens_socket(caller, a, b),
            libc::SYS_openat => self.opens(caller, caller.path(a, b), c),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => self.opens(caller, caller.path(cwd, a), b),
            _ => {
                self.uses_privilege(call, caller);
                self.changes(call, caller);
            }
        }
    }

    fn executes(&self, caller: &Caller, path: Option<PathBuf>) {
        let Some(path) = path else { return };
        let found = caller.find(&path);
        if found.is_some_and(|found| found.stat.st_mode & 0o6000 != 0) {
            self.observed().seen.set_id.insert(path);
        }
    }

    fn binds(&self, caller: &Caller, address: &[u8]) {
        match sockets::address(address) {
            Some(Address::Unix(path)) => {
                let path = PathBuf::from(path);
                if path.is_absolute() {
                    let shown = path.display().to_string();
                    self.observed().seen.sockets.insert(shown);
                    self.makes(caller, &path);
                }
            }
            Some(Address::Port(port)) => {
                self.observed().bound.insert(port);
                if (1..=PRIVILEGED_PORT_MAX).contains(&port) {
                    self.needs("CAP_NET_BIND_SERVICE", format!("bind, port {port}"));
                }
            }
            None => {}
        }
    }

    /// Notes a socket of the host. The program cannot reach it in a union, so it went on without.
    fn connects(&self, address: &[u8]) {
        let (Some(Address::Unix(path)), Some(scratch)) = (sockets::address(address), &self.scratch)
        else {
            return;
        };
        let on_host = scratch.on_host(Path::new(&path));
        let found = on_host.and_then(|path| fs::metadata(path).ok());
        if found.is_some_and(|found| found.file_type().is_socket()) {
            let mut observed = self.observed();
            if !observed.seen.sockets.contains(&path) {
                observed.seen.host_sockets.insert(path);
            }
        }
    }

    fn opens_socket(&self, caller: &Caller, family: u64, kind: u64) {
        let is = |value: u64, constant: i32| i32::try_from(value) == Ok(constant);
        let is_raw = is(kind & 0xf, libc::SOCK_RAW)
            && [libc::AF_INET, libc::AF_INET6]
                .iter()
                .any(|it| is(family, *it));
        if caller.uid == 0 && (is_raw || is(family, libc::AF_PACKET)) {
            self.needs("CAP_NET_RAW", "socket, raw".to_owned());
        }
    }

    fn opens(&self, caller: &Caller, path: Option<PathBuf>, flags: u64) {
        let Some(path) = path else { return };
        let has = |flag: i32| flags & u64::from(flag.unsigned_abs()) != 0;
        match caller.find(&path) {
            Some(found) => {
                let writes = has(libc::O_ACCMODE) || has(libc::O_TRUNC);
                let stays = [FileType::RegularFile, FileType::Directory];
                let refused = writes && found.read_only && stays.contains(&found.kind());
                if refused && caller.may_write(&found) {
                    self.refused(path);
                }
            }
            None if has(libc::O_CREAT) => self.makes(caller, &path),
            None => {}
        }
    }

    /// A name is made in a folder. If the folder is missing, it is made in a union; where it is
    /// read-only, the call fails.
    fn makes(&self, caller: &Caller, path: &Path) {
        let Some(parent) = path.parent() else { return };
        let found = caller.find(parent);
        match found {
            Some(found) if found.read_only && caller.may_write(&found) => {
                self.refused(path.to_owned());
            }
            Some(found) if !caller.may_write(&found) => self.pass_on(caller, parent),
            Some(_) => {}
            None if self.tree == Tree::Union => self.make(caller, &resolved(parent)),
            None => {}
        }
    }

    fn make(&self, caller: &Caller, folder: &Path) {
        let made_in = MADE_IN.iter().map(Path::new);
        let mut made_in = made_in.filter(|base| folder.starts_with(base) && folder != *base);
        if made_in.next().is_none() {
            return;
        }
        let mut missing: Vec<&Path> = folder.ancestors().take_while(|it| !it.exists()).collect();
        missing.reverse();
        for folder in missing {
            // What fails here, the program's own call reports.
            let made = fs::create_dir(folder)
                .and_then(|()| chown(folder, Some(caller.uid), Some(caller.gid)));
            if made.is_ok() {
                let user = user_name(caller.uid);
                self.observed().seen.made.insert(folder.to_owned(), user);
            }
        }
    }

    /// A folder that was made for a program belongs to the last of its users that writes to it.
    fn pass_on(&self, caller: &Caller, folder: &Path) {
        let folder = resolved(folder);
        if let Some(user) = self.observed().seen.made.get_mut(&folder)
            && chown(&folder, Some(caller.uid), Some(caller.gid)).is_ok()
        {
            *user = user_name(caller.uid);
        }
    }

    fn refused(&self, path: PathBuf) {
        let kernel = ["/proc", "/sys", "/dev"];
        if !kernel.iter().any(|it| path.starts_with(it)) {
            self.observed().seen.refused.insert(path);
        }
    }

    fn needs(&self, capability: &str, call: String) {
        self.observed().seen.privileged.insert(Privileged {
            capability: capability.to_owned(),
            call,
        });
    }

    /// Calls that root may make because of a capability.
    fn uses_privilege(&self, call: &Call, caller: &Caller) {
        if caller.uid != 0 {
            return;
        }
        let (capability, name) = match call.number {
            libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid => ("CAP_SETUID", "setuid"),
            libc::SYS_setgid | libc::SYS_setregid | libc::SYS_setresgid | libc::SYS_setgroups => {
                ("CAP_SETGID", "setgid")
            }
            libc::SYS_chroot => ("CAP_SYS_CHROOT", "chroot"),
            libc::SYS_mount => ("CAP_SYS_ADMIN", "mount"),
            libc::SYS_unshare => ("CAP_SYS_ADMIN", "unshare"),
            libc::SYS_setns => ("CAP_SYS_ADMIN", "setns"),
            libc::SYS_sethostname => ("CAP_SYS_ADMIN", "sethostname"),
            libc::SYS_mlockall => ("CAP_IPC_LOCK", "mlockall"),
            libc::SYS_reboot => ("CAP_SYS_BOOT", "reboot"),
            libc::SYS_fchown | libc::SYS_fchownat => ("CAP_CHOWN", "chown"),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown | libc::SYS_lchown => ("CAP_CHOWN", "chown"),
            _ => return,
        };
        self.needs(capability, name.to_owned());
    }

    /// Calls that make, change or remove a name.
    fn changes(&self, call: &Call, caller: &Caller) {
        let [a, b, c, d, ..] = call.arguments;
        let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        let (made, changed) = match call.number {
            libc::SYS_mkdirat | libc::SYS_mknodat => (caller.path(a, b), None),
            libc::SYS_symlinkat => (caller.path(b, c), None),
            libc::SYS_linkat => (caller.path(c, d), None),
            libc::SYS_renameat | libc::SYS_renameat2 => (caller.path(c, d), caller.path(a, b)),
            libc::SYS_unlinkat | libc::SYS_fchownat | libc::SYS_fchmodat => {
                (None, caller.path(a, b))
            }
            libc::SYS_truncate => (None, caller.path(cwd, a)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_mkdir | libc::SYS_mknod => (caller.path(cwd, a), None),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_symlink | libc::SYS_link => (caller.path(cwd, b), None),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename => (caller.path(cwd, b), caller.path(cwd, a)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_unlink
            | libc::SYS_rmdir
            | libc::SYS_chown
            | libc::SYS_lchown
            | libc::SYS_chmod => (None, caller.path(cwd, a)),
            _ => (None, None),
        };
        if let Some(path) = made.filter(|path| caller.find(path).is_none()) {
            self.makes(caller, &path);
        }
        let Some(path) = changed else { return };
        let is_refused = |path: &Path| {
            let found = caller.find(path);
            found.is_some_and(|found| found.read_only && caller.may_write(&found))
        };
        if is_refused(&path) {
            self.refused(path);
        }
    }
}

/// A path of which some folders are missing, without the links in it. A link to a missing folder, as
/// `/var/lock` may be one, is followed too.
fn resolved(path: &Path) -> PathBuf {
    let mut found = path.to_owned();
    for _ in 0..LINKS_MAX {
        let link = found.ancestors().find_map(|above| {
            let target = fs::read_link(above).ok()?;
            let target = above.parent()?.join(target);
            let rest = found.strip_prefix(above).ok()?;
            // Without a slash at the end.
            Some(target.components().chain(rest.components()).collect())
        });
        match link {
            Some(next) => found = next,
            None => break,
        }
    }
    found
}

/// The name of a user, or its number.
pub(super) fn user_name(uid: u32) -> String {
    let found = Live.user_of(uid).ok().flatten();
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

/// The length of a socket address: at most that of the longest.
fn length(argument: u64) -> usize {
    usize::try_from(argument & 0xffff_ffff).map_or(128, |length| length.min(128))
}
