//! The stages of bringing a tenant up, and the one way in which each of them fails.
//!
//! A [`Failure`] names the stage, the object and the errno, and adds the remedy where an errno is
//! known to puzzle people. It is what the host reports, what the supervisor keeps as the reason
//! of a state, and what an operator reads.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $phrase:literal;)*) => {
        /// One step on the way from nothing to a running program, in the order in which they
        /// happen. The code is what the child writes on its report pipe.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum Stage {
            $($(#[$doc])* $name = $code,)*
        }

        impl Stage {
            /// All stages, in their order.
            pub const ALL: &'static [Stage] = &[$(Stage::$name,)*];

            /// The stage with this code, if there is one.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Stage> {
                match code {
                    $($code => Some(Stage::$name),)*
                    _ => None,
                }
            }

            /// Its word, as in `--json`.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Stage::$name => $word,)* }
            }

            /// What was being done, to complete "cannot …".
            #[must_use]
            pub fn phrase(self) -> &'static str {
                match self { $(Stage::$name => $phrase,)* }
            }
        }
    };
}

stages! {
    // Provision: the tenant's own, kept over restarts of its program.
    /// The network namespace is made.
    Netns = 1, "netns", "make the network namespace";
    /// The veth pair is made, its ends named and marked.
    Link = 2, "link", "make the link";
    /// Addresses are set on the tenant's end.
    Address = 3, "address", "set the address";
    /// Routes and permanent neighbours are set on both sides.
    Route = 4, "route", "set the route";
    /// The datastore is found, or made with its owner and mode.
    Datastore = 5, "datastore", "prepare the datastore";
    /// The cgroup leaf that tracks the tenant's processes is made.
    Cgroup = 6, "cgroup", "make the cgroup";
    /// The pipes of standard output and error are made.
    Log = 7, "log", "open the log";
    // Launch, in the supervisor, before the child exists.
    /// The datastore's lock is taken.
    Lock = 20, "lock", "lock the datastore";
    /// The datastore is cloned as a mount that is attached nowhere yet.
    Tree = 21, "tree", "take hold of the datastore";
    /// The program is looked at: it exists and can be executed.
    Program = 22, "program", "find the program";
    /// The child is made, in its cgroup, with a mount namespace of its own.
    Clone = 23, "clone", "make the child";
    // Launch, in the child, straight down.
    /// The signal mask is cleared and ignored signals get their default again.
    Signals = 40, "signals", "reset the signals";
    /// A session of its own begins.
    Session = 41, "session", "begin a session";
    /// The tenant's network namespace is entered.
    EnterNetns = 42, "enter-netns", "enter the network namespace";
    /// Every mount becomes a slave of the host's, so that nothing propagates back.
    Propagation = 43, "propagation", "make the mounts slaves of the host's";
    /// The datastore is attached at the path that the program expects.
    Attach = 44, "attach", "attach the datastore";
    /// Private folders are mounted.
    Private = 45, "private", "mount the private folder";
    /// The folders that hold all datastores are covered.
    Hide = 46, "hide", "hide the folder of datastores";
    /// Capabilities that could undo the mounts leave the bounding set.
    Capabilities = 47, "capabilities", "drop the capability";
    /// Resource limits are set: at the launch, and later on each process.
    Limits = 48, "limits", "set the limit on";
    /// Supplementary groups are set.
    Groups = 49, "groups", "set the groups";
    /// The group is set.
    Group = 50, "group", "set the group";
    /// The user is set.
    User = 51, "user", "set the user";
    /// No program that it executes can gain privileges.
    NoNewPrivs = 52, "no-new-privs", "forbid new privileges";
    /// The working directory is entered.
    WorkingDirectory = 53, "working-directory", "enter the working directory";
    /// Standard input, output and error are put in place.
    Stdio = 54, "stdio", "put standard input and output in place";
    /// Every other descriptor but the lock's is marked close-on-exec.
    Descriptors = 55, "descriptors", "close the other descriptors";
    /// The program is executed.
    Exec = 56, "exec", "execute the program";
    /// The child ended before it reported anything: it was killed on its way.
    Vanished = 57, "vanished", "follow the child to its program";
    // Up.
    /// The program becomes ready.
    Ready = 70, "ready", "see the program ready at";
    // Release.
    /// All processes are ended.
    End = 80, "end", "end the processes";
    /// The network namespace and its link are gone.
    Release = 81, "release", "release the network namespace";
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A stage that failed: "cannot PHRASE OBJECT: ERRNO", and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// What it was done to: a path, an interface, an address, a user. May be empty.
    pub object: String,
    /// The errno, or 0 where the kernel gave none and `detail` says all.
    pub errno: i32,
    /// What is known beyond the errno, such as who holds a lock. May be empty.
    pub detail: String,
}

impl Failure {
    /// A failure with an errno of the kernel's.
    #[must_use]
    pub fn errno(stage: Stage, object: impl Into<String>, errno: i32) -> Self {
        Self {
            stage,
            object: object.into(),
            errno,
            detail: String::new(),
        }
    }

    /// A failure that no errno describes.
    #[must_use]
    pub fn detail(stage: Stage, object: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            stage,
            object: object.into(),
            errno: 0,
            detail: detail.into(),
        }
    }

    /// The same failure with something known beyond its errno.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What to do about it, where the errno alone is known to puzzle people.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        use libc::{EACCES, EBUSY, EEXIST, EINVAL, ELOOP, ENODEV, ENOENT, ENOEXEC, ENOSPC, ENOSYS};
        use libc::{EPERM, EROFS, ETXTBSY, EWOULDBLOCK, EXDEV};
        Some(match (self.stage, self.errno) {
            (Stage::Netns | Stage::Clone, EPERM) => {
                "run tenantd as root: making namespaces needs CAP_SYS_ADMIN"
            }
            (Stage::Netns | Stage::Clone, ENOSPC) => {
                "raise user.max_net_namespaces or user.max_mnt_namespaces, see namespaces(7)"
            }
            (Stage::Clone, libc::EAGAIN) => {
                "raise pids.max of the unit or kernel.threads-max: no further process can be made"
            }
            (Stage::Clone | Stage::Tree | Stage::Descriptors, ENOSYS | EINVAL) => {
                "tenantd needs Linux 5.11 or later; see `tenantd check`"
            }
            (Stage::Link, EPERM) => "run tenantd as root: links need CAP_NET_ADMIN",
            (Stage::Link, libc::EOPNOTSUPP) => "the kernel has no veth: load the module veth",
            (Stage::Link, EEXIST) => {
                "an interface with this name exists and is not ours: rename or remove it"
            }
            (Stage::Address, EEXIST) => "the address is set already: see `ip address`",
            (Stage::Lock, EWOULDBLOCK) => {
                "another launch still runs on this datastore: end it, or wait for it"
            }
            (Stage::Datastore | Stage::Tree, ELOOP) => {
                "a datastore's path may not lead through symbolic links: name the real folder"
            }
            (Stage::Datastore, EROFS) => "the filesystem is mounted read-only: remount it",
            (Stage::Datastore, ENOSPC) => "the filesystem is full: make room",
            (Stage::Attach | Stage::Private, ENOENT) => {
                "the folder must exist on the host, as the installed program expects it"
            }
            (Stage::Attach | Stage::Private | Stage::Hide, ELOOP) => {
                "name the real folder: symbolic links are refused"
            }
            (Stage::Attach, EBUSY | EXDEV) => "is it a mount point of another kind?",
            (Stage::Exec | Stage::Program, EACCES) => {
                "is it executable for the tenant's user, and on a filesystem without noexec?"
            }
            (Stage::Exec | Stage::Program, ENOENT) => {
                "is the program, or the interpreter in its first line, installed?"
            }
            (Stage::Exec, ENOEXEC) => "it is no program: a script needs #! in its first line",
            (Stage::Exec, ETXTBSY) => "the file is being written: wait until it is installed",
            (Stage::Exec, ENODEV) => "the filesystem that holds it went away",
            (Stage::Limits, EPERM) => {
                "above its hard limit, and for processes of other users, a limit takes \
                 CAP_SYS_RESOURCE; a restart of the tenant sets it too"
            }
            (Stage::WorkingDirectory, EACCES) => "the tenant's user must be able to enter it",
            _ => return None,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.stage.phrase())?;
        if !self.object.is_empty() {
            write!(f, " {}", self.object)?;
        }
        if self.errno != 0 {
            let errno = nix::errno::Errno::from_raw(self.errno);
            write!(f, ": {} ({errno:?})", errno.desc())?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if let Some(remedy) = self.remedy() {
            write!(f, " [{remedy}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_there_and_back_and_rise() {
        for pair in Stage::ALL.windows(2) {
            assert!(pair[0] < pair[1], "{} before {}", pair[0], pair[1]);
        }
        for &stage in Stage::ALL {
            assert_eq!(Stage::from_code(stage as u8), Some(stage));
        }
        assert_eq!(Stage::from_code(0), None);
        assert_eq!(Stage::from_code(255), None);
    }

    #[test]
    fn says_stage_object_errno_and_remedy() {
        let failure = Failure::errno(Stage::Exec, "/opt/wiki/bin/wiki", libc::EACCES);
        assert_eq!(
            failure.to_string(),
            "cannot execute the program /opt/wiki/bin/wiki: Permission denied (EACCES) \
             [is it executable for the tenant's user, and on a filesystem without noexec?]"
        );
        let failure = Failure::detail(Stage::Ready, "10.77.0.11:80", "nothing listened in 30 s");
        assert_eq!(
            failure.to_string(),
            "cannot see the program ready at 10.77.0.11:80: nothing listened in 30 s"
        );
    }
}
