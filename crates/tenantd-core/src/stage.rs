//! The stages of a provision, a launch and a release, and how a failure of one is described.
//!
//! A [`Failure`] names the stage, the object and the errno, and suggests a remedy where the errno
//! alone is not clear enough. The host reports it, the supervisor keeps it as the reason of a
//! state, and the operator reads it in the log and in `tenantd status`.

mod retry;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use retry::Retry;

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $phrase:literal;)*) => {
        /// One step of a provision, a launch or a release. The variants are in the order in which
        /// the steps are taken. The child process writes the code to its report pipe.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum Stage {
            $($(#[$doc])* $name = $code,)*
        }

        impl Stage {
            /// All stages, in their order.
            pub const ALL: &'static [Stage] = &[$(Stage::$name,)*];

            /// Returns the stage with this code.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Stage> {
                match code {
                    $($code => Some(Stage::$name),)*
                    _ => None,
                }
            }

            /// Its name, as in `--json`.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Stage::$name => $word,)* }
            }

            /// A verb phrase that completes "cannot …".
            #[must_use]
            pub fn phrase(self) -> &'static str {
                match self { $(Stage::$name => $phrase,)* }
            }
        }
    };
}

stages! {
    // Provision: what a tenant keeps across restarts of its program.
    /// Create the network namespace.
    Netns = 1, "netns", "create the network namespace";
    /// Create the veth pair, name its ends and set their aliases.
    Link = 2, "link", "create the link";
    /// Set the addresses on the tenant end of the link.
    Address = 3, "address", "set the address";
    /// Set routes and permanent neighbour entries on both sides.
    Route = 4, "route", "set the route";
    /// Find the datastore, or create it with its owner and mode.
    Datastore = 5, "datastore", "prepare the datastore";
    /// Create the cgroup that tracks the tenant's processes; later, read it.
    Cgroup = 6, "cgroup", "use the cgroup";
    /// Create the pipes for standard output and standard error.
    Log = 7, "log", "open the log";
    /// Let the tenant have its traffic, and no other, in the tables of nftables.
    Firewall = 8, "firewall", "set up the firewall";
    /// Note in the datastore that this host uses it, unless another one does.
    Owner = 9, "owner", "own the datastore";
    // Launch, in the supervisor, before the child process exists.
    /// Claim the datastore.
    Lock = 20, "lock", "claim the datastore";
    /// Clone the datastore as a detached mount, see open_tree(2).
    Tree = 21, "tree", "clone the mount of the datastore";
    /// Write the files that the tenant has for itself.
    Files = 22, "files", "write the file";
    /// Check that the program exists and is executable.
    Program = 23, "program", "find the program";
    /// Create the child process, in its cgroup and in a new mount namespace.
    Clone = 24, "clone", "create the child process";
    // Launch, in the child process.
    /// Clear the signal mask and reset ignored signals to their default action.
    Signals = 40, "signals", "reset the signals";
    /// Start a new session, see setsid(2).
    Session = 41, "session", "start a session";
    /// Enter the tenant's network namespace.
    EnterNetns = 42, "enter-netns", "enter the network namespace";
    /// Make every mount a slave of the host's, so that nothing propagates back, and read-only.
    Propagation = 43, "propagation", "make the mounts slaves of the host's";
    /// Attach the tenant's own folders at `/run`, `/tmp` and the like.
    Own = 44, "own", "mount the tenant's own";
    /// Attach a folder that contains folders which are missing on the host.
    Missing = 45, "missing", "add missing folders to";
    /// Attach the datastore at the path that the program expects, see move_mount(2).
    Attach = 46, "attach", "mount the datastore at";
    /// Mount the private folders.
    Private = 47, "private", "mount the private folder";
    /// Attach a path of the host that tenants may write to.
    Shared = 48, "shared", "mount the shared path";
    /// Attach a path of the host that tenants see below a private folder.
    Visible = 49, "visible", "mount the visible path";
    /// Hide the folders that contain datastores.
    Hide = 50, "hide", "hide the folder of datastores";
    /// Enter a domain of its own, which also restricts writing to what is the tenant's own, see landlock(7).
    Landlock = 51, "landlock", "confine the program with Landlock";
    /// Drop all capabilities but those of the plan from the bounding set.
    Capabilities = 52, "capabilities", "drop the capability";
    /// Set resource limits: at the launch, and later on each running process.
    Limits = 53, "limits", "set the limit on";
    /// Set what the process would inherit, such as the nice value, to the planned value.
    Attributes = 54, "attributes", "set the";
    /// Set the supplementary groups.
    Groups = 55, "groups", "set the groups";
    /// Set the group.
    Group = 56, "group", "set the group";
    /// Set no_new_privs, see prctl(2).
    NoNewPrivs = 57, "no-new-privs", "set no_new_privs";
    /// Load the filter of system calls, see seccomp(2).
    SystemCalls = 58, "system-calls", "load the filter of system calls";
    /// Set the user.
    User = 59, "user", "set the user";
    /// Change to the working directory.
    WorkingDirectory = 60, "working-directory", "enter the working directory";
    /// Redirect standard input, output and error.
    Stdio = 61, "stdio", "redirect standard input and output";
    /// Mark every other descriptor except the lock's as close-on-exec.
    Descriptors = 62, "descriptors", "close the other descriptors";
    /// Execute the program.
    Exec = 63, "exec", "execute the program";
    /// Not a step: the child process was killed before it executed the program.
    Vanished = 64, "vanished", "start the program";
    // Before the program: a command that ran and failed.
    /// Initialize the datastore.
    Init = 65, "init", "initialize the datastore with";
    /// Prepare the start of the program.
    Before = 66, "before", "prepare the start with";
    // Up.
    /// Wait until the program is ready.
    Ready = 70, "ready", "confirm readiness on";
    /// Keep the mounts: the host may take away the folders that they hang on.
    Mounted = 71, "mounted", "keep the mount at";
    /// Ask the program whether it is alive.
    Alive = 72, "alive", "get an answer from";
    /// Not a step: the program put itself into the background, and its policy does not say so.
    Background = 73, "background", "follow the program into the background";
    /// Keep the link to the tenant: something on the host may delete it.
    Linked = 74, "linked", "keep the link";
    // Release.
    /// End all processes.
    End = 80, "end", "end the processes";
    /// Remove the network namespace and its link.
    Release = 81, "release", "release the network namespace";
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The failure of a stage, which reads `cannot PHRASE OBJECT: ERRNO: DETAIL [REMEDY]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// The object: a path, an interface, an address or a user. May be empty.
    pub object: String,
    /// The errno, or 0 if there is none.
    pub errno: i32,
    /// More about the cause, such as the process that holds a lock. May be empty.
    pub detail: String,
}

impl Failure {
    /// Creates a failure with an errno.
    #[must_use]
    pub fn errno(stage: Stage, object: impl Into<String>, errno: i32) -> Self {
        Self {
            stage,
            object: object.into(),
            errno,
            detail: String::new(),
        }
    }

    /// Creates a failure without an errno.
    #[must_use]
    pub fn detail(stage: Stage, object: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            stage,
            object: object.into(),
            errno: 0,
            detail: detail.into(),
        }
    }

    /// Adds a detail to the failure.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// A suggestion what to do, where the errno alone is not clear enough.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        use libc::{EACCES, EEXIST, EINVAL, ELOOP, ENOSPC, ENOSYS, EPERM, EROFS, EWOULDBLOCK};
        Some(match (self.stage, self.errno) {
            (Stage::Netns | Stage::Clone, EPERM) => {
                "run tenantd as root: creating namespaces requires CAP_SYS_ADMIN"
            }
            (Stage::Netns | Stage::Clone, ENOSPC) => {
                "raise user.max_net_namespaces or user.max_mnt_namespaces, see namespaces(7)"
            }
            (Stage::Clone, libc::EAGAIN) => {
                "process limit reached: raise pids.max of the unit, or kernel.threads-max"
            }
            (Stage::Clone | Stage::Tree | Stage::Descriptors, ENOSYS | EINVAL) => {
                "tenantd needs Linux 5.11 or later; see `tenantd check`"
            }
            (Stage::Link, EPERM) => "run tenantd as root: creating links requires CAP_NET_ADMIN",
            (Stage::Link, libc::EOPNOTSUPP) => {
                "the kernel lacks this kind of link: load the module veth, or macvlan for mode macvlan"
            }
            (Stage::Link, EEXIST) => {
                "an interface with this name does not belong to tenantd: rename or remove it"
            }
            (Stage::Address, EEXIST) => "the address is already set: see `ip address`",
            (Stage::Lock, EWOULDBLOCK) => {
                "another program still uses this datastore: stop it, or wait until it exits"
            }
            (Stage::Datastore | Stage::Tree, ELOOP) => {
                "a datastore's path must not contain symbolic links: use the real path"
            }
            (Stage::Datastore, EROFS) => "the filesystem is mounted read-only: remount it",
            (Stage::Lock, ENOSPC) => "the filesystem of /run is full: free some space",
            (Stage::Datastore, ENOSPC) => "the filesystem is full: free some space",
            (Stage::SystemCalls, EINVAL | ENOSYS) => {
                "the kernel has no filters (CONFIG_SECCOMP_FILTER): set `wall.system_calls = \"none\"`"
            }
            (Stage::Limits, EPERM) => {
                "raising a hard limit, or the limits of another user's process, requires \
                 CAP_SYS_RESOURCE; restarting the tenant sets the limit too"
            }
            (Stage::Attributes, EACCES | EPERM) => {
                "a more favoured value than tenantd's own requires CAP_SYS_NICE, or CAP_SYS_RESOURCE \
                 for the OOM score"
            }
            (Stage::WorkingDirectory, EACCES) => {
                "the tenant's user needs execute permission on the folder"
            }
            (Stage::Exec | Stage::Program, _) => return self.remedy_of_program(),
            _ => return self.remedy_of_mount(),
        })
    }

    /// The same for a program that cannot be executed.
    fn remedy_of_program(&self) -> Option<&'static str> {
        use libc::{EACCES, ENODEV, ENOENT, ENOEXEC, ETXTBSY};
        Some(match (self.stage, self.errno) {
            (Stage::Exec | Stage::Program, EACCES) => {
                "it must be executable for the tenant's user, on a filesystem without noexec"
            }
            (Stage::Exec, ENOENT) if !self.detail.is_empty() => {
                "install the interpreter, or correct its path"
            }
            (Stage::Exec, ENOEXEC) if !self.detail.is_empty() => {
                "install the program for this machine"
            }
            (Stage::Exec | Stage::Program, ENOENT) => {
                "check that the program, or the interpreter in its first line, is installed"
            }
            (Stage::Exec, ENOEXEC) => {
                "the file is not a program: a script needs #! in its first line"
            }
            (Stage::Exec, ETXTBSY) => {
                "the file is open for writing: wait until its installation is complete"
            }
            (Stage::Exec, ENODEV) => "the filesystem of the file is no longer available",
            _ => return None,
        })
    }

    /// The same for the stages that make what a tenant sees.
    fn remedy_of_mount(&self) -> Option<&'static str> {
        use libc::{EBUSY, EISDIR, ELOOP, ENOENT, ENOSYS, EXDEV};
        Some(match (self.stage, self.errno) {
            (Stage::Attach | Stage::Private | Stage::Missing, ENOENT) => {
                "the folder must exist on the host: create it, or install the program"
            }
            (Stage::Files, ENOENT) => {
                "its folder must exist on the host: create it, or install the program"
            }
            (Stage::Files, EISDIR) => "a folder has its name: remove or rename that one",
            (Stage::Shared | Stage::Visible, ENOENT) => {
                "it does not exist on the host: create it, or remove it from the manifest"
            }
            (
                Stage::Attach
                | Stage::Private
                | Stage::Shared
                | Stage::Visible
                | Stage::Hide
                | Stage::Files,
                ELOOP,
            ) => "symbolic links are not allowed here: use the real path",
            (Stage::WorkingDirectory, ELOOP) => {
                "a symbolic link in it leads out of the tenant through /proc, or in a circle: remove it"
            }
            (Stage::Propagation, ENOSYS) => {
                "a read-only host needs Linux 5.12 or later; see `host` in tenantd.toml(5)"
            }
            (Stage::Background, _) => "set daemonizes = true, or have it stay in the foreground",
            (Stage::Mounted, _) => {
                "it is attached again with the next start; do not remove or rename this folder \
                 while tenants run"
            }
            (Stage::Linked, _) => {
                "the tenant gets a new one; keep the host's network programs away from links of tenantd"
            }
            (Stage::Attach, EBUSY | EXDEV) => "check whether the path is already a mount point",
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
    fn codes_round_trip_and_increase() {
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
    fn failures_show_stage_object_errno_and_remedy() {
        let failure = Failure::errno(Stage::Exec, "/opt/wiki/bin/wiki", libc::EACCES);
        assert_eq!(
            failure.to_string(),
            "cannot execute the program /opt/wiki/bin/wiki: Permission denied (EACCES) \
             [it must be executable for the tenant's user, on a filesystem without noexec]"
        );
        let failure = Failure::detail(
            Stage::Ready,
            "10.77.0.11:80",
            "no connection accepted within 30 s",
        );
        assert_eq!(
            failure.to_string(),
            "cannot confirm readiness on 10.77.0.11:80: no connection accepted within 30 s"
        );
    }
}
