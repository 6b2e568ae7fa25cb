//! The stages by the names that the file has for them.
//!
//! A stage is part of a reason that people read; no decision depends on it. So a new stage needs no
//! new version, and a record that contains it does not prevent a rollback to an older program. A
//! new stage has two names: its own, which older programs ignore, and that of the nearest stage of
//! version 2 (`NewStage = "exec", "new-stage";`).

use tenantd_core::stage::Stage;

/// The names of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    /// One that version 2 has.
    pub(super) in_version_2: &'static str,
    /// Its own, if it came later.
    pub(super) later: Option<&'static str>,
}

macro_rules! names {
    ($($stage:ident = $in_version_2:literal $(, $later:literal)?;)*) => {
        /// The names of a stage.
        pub(super) fn name(stage: Stage) -> Names {
            match stage {
                $(Stage::$stage => Names {
                    in_version_2: $in_version_2,
                    later: [$($later)?].first().copied(),
                },)*
            }
        }

        /// The stage that has this name as its own.
        pub(super) fn named(name: &str) -> Option<Stage> {
            $(
                if name == [$($later,)? $in_version_2][0] {
                    return Some(Stage::$stage);
                }
            )*
            None
        }
    };
}

names! {
    Netns = "netns";
    Link = "link";
    Address = "address";
    Route = "route";
    Firewall = "route", "firewall";
    Datastore = "datastore";
    Owner = "datastore", "owner";
    Cgroup = "cgroup";
    Log = "log";
    Lock = "lock";
    Tree = "tree";
    Files = "tree", "files";
    Program = "program";
    Clone = "clone";
    Signals = "signals";
    Session = "session";
    EnterNetns = "enter-netns";
    Propagation = "propagation";
    Own = "private", "own";
    Missing = "attach", "missing";
    Attach = "attach";
    Private = "private";
    Shared = "attach", "shared";
    Visible = "private", "visible";
    Hide = "hide";
    Landlock = "capabilities", "landlock";
    Capabilities = "capabilities";
    Limits = "limits";
    Attributes = "limits", "attributes";
    Groups = "groups";
    Group = "group";
    User = "user";
    NoNewPrivs = "no-new-privs";
    SystemCalls = "no-new-privs", "system-calls";
    WorkingDirectory = "working-directory";
    Stdio = "stdio";
    Descriptors = "descriptors";
    Exec = "exec";
    Vanished = "vanished";
    Init = "exec", "init";
    Before = "exec", "before";
    Ready = "ready";
    Alive = "ready", "alive";
    Mounted = "attach", "mounted";
    Linked = "link", "linked";
    Background = "ready", "background";
    End = "end";
    Release = "release";
}
