//! What the manual pages say of the columns, the states and the JSON of commands: more than fits into
//! `--help`.

/// A section: its title, and each term with its meaning.
pub type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// The sections for the manual page of a command.
#[must_use]
pub fn of(command: &str) -> &'static [Section] {
    match command {
        "status" => STATUS,
        "list" => LIST,
        "start" | "stop" | "restart" | "kill" | "pause" | "resume" | "hibernate" | "reload-app"
        | "reload" | "add" | "remove" | "set" => OUTCOMES,
        "diff" => DIFF,
        "check" => CHECK,
        "doctor" => DOCTOR,
        "plan" => PLAN,
        "verify" => VERIFY,
        "gc" => GC,
        _ => &[],
    }
}

const STATUS: &[Section] = &[
    (
        "COLUMNS",
        &[
            ("NAME", "The tenant."),
            (
                "WANT",
                "Whether it is wanted up or down now; in parentheses, whether an operator made that permanent.",
            ),
            ("STATE", "Its state, see STATES."),
            ("PID", "The process ID of its program; - if none runs."),
            ("ADDRESS", "Its address."),
            (
                "RESTARTS",
                "How often the program was started again after it ended without a request.",
            ),
            ("SINCE", "How long the tenant has been in its state."),
            (
                "READY",
                "Whether the program is ready, see `ready` in tenantd.toml(5); - if none runs.",
            ),
            (
                "PROGRAM",
                "current if the program runs from the file that is on disk now, older if that file was replaced since the launch, - if that is unknown.",
            ),
        ],
    ),
    (
        "STATES",
        &[
            ("down", "Only the datastore of the tenant exists."),
            (
                "provisioning",
                "The network, the datastore and the cgroup are being made; or another tenant still holds the address or the datastore.",
            ),
            ("launching", "The program is being started."),
            ("up", "The program runs."),
            ("stopping", "The processes are being ended."),
            (
                "waiting",
                "The program has ended and is started again after a delay.",
            ),
            (
                "failed",
                "The program ended too often. It is not started again until `tenantd start` or a reload that changes the tenant.",
            ),
            (
                "exited",
                "The program ended by itself, with success, and `restart.when` does not restart it. `tenantd start` runs it again.",
            ),
            ("releasing", "The network and the cgroup are being removed."),
            (
                "stuck",
                "Processes could not be ended, or something could not be removed. The supervisor tries again five times; then `tenantd stop` does.",
            ),
        ],
    ),
    (
        "JSON",
        &[
            (
                "app, pid",
                "The application, and the process ID of its supervisor.",
            ),
            (
                "tracking",
                "cgroup or netns: how the processes of a tenant are found.",
            ),
            (
                "logs",
                "journal or files: where the output of the programs goes.",
            ),
            (
                "unwatched",
                "Why removed or renamed folders of the host may not be noticed; null if they are.",
            ),
            ("manifest", "The path of the manifest."),
            (
                "tenants",
                "A list with an object per tenant, in the order of the manifest. An unknown value is null.",
            ),
            (
                "name, want, state, restarts, ready, program",
                "As in the columns.",
            ),
            (
                "permanent",
                "up or down if an operator made that permanent; null if the manifest decides.",
            ),
            (
                "phase",
                "The command that runs before the program, while the state is launching: init (status shows initializing) or before (preparing). Null if none runs.",
            ),
            ("pid", "The process ID of the program."),
            (
                "address, addresses",
                "The first address, and the list of all.",
            ),
            (
                "since, until",
                "When the tenant entered its state, and when the program is started again (RFC 3339, UTC).",
            ),
            (
                "awaits",
                "The tenants that must release an address or a datastore first.",
            ),
            ("why", "Why the tenant is not in the wanted state."),
            (
                "failure",
                "The failed stage: stage, object, errno (0 if there is none) and detail.",
            ),
            (
                "applying, unapplied",
                "Whether a live change is being applied, and the failure if the host refused one.",
            ),
            (
                "paused",
                "Whether its processes are frozen, by tenantd pause or by another program.",
            ),
            (
                "lid",
                "What protects the host's files from the running program: landlock with its version, mount watch (a new mount of the host is made read-only a moment later), or host writable.",
            ),
            (
                "confined",
                "What confines the running program: landlock with its version (before version 6, signals are not confined), uid (only its user, which is neither root nor that of another tenant), or none. Null if that is not known.",
            ),
            (
                "refused",
                "Writes to the host's files that were refused since the last start, as the tenant's log says: path (null if the line has none) and line.",
            ),
            (
                "misfit",
                "Why the program's user cannot write to its data, and the command that changes the owner; null if it can, or if it is not up.",
            ),
            (
                "exit",
                "How the program of an exited tenant ended: `status`, or the number of the `signal`; else null.",
            ),
            (
                "killed",
                "What was killed at the end of the last launch, when its grace was over: time, grace_ms (null if the supervisor was told not to wait), count, and the first processes, each with pid and name. Null if it ended by itself.",
            ),
            (
                "main",
                "How the main process is known, if it is not the one that was started, and `pid` is its number: notified (MAINPID), pid file, or guessed; or oldest: it is not known, and `pid` is the oldest process.",
            ),
            (
                "status_text",
                "What the program says of itself (STATUS, see sd_notify(3)); null if it says nothing.",
            ),
            (
                "reloading",
                "True while the program reloads its configuration (RELOADING until READY, see sd_notify(3)), else null.",
            ),
            (
                "offline",
                "The command of `exec --offline` that runs while the tenant is not up, and the pid of its tenantd; null if none does. The state is launching meanwhile.",
            ),
            (
                "network",
                "The host's side of its network: mended (how often it was corrected since the supervisor started) and drift (what differs from the plan and could not be corrected, a failure; null if nothing does). Beside app: the same for what all tenants share.",
            ),
            (
                "engine, cgroup, link",
                "The engine that decides where it runs, null for tenantd itself. The path of its cgroup and the name of its link on the host, where the kernel counts what it uses; null while it has none. See tenantd-usage(8).",
            ),
            (
                "last_failure, starved, probe, by_hand, reached, usage",
                "The last failure (time, reason), which the next supervisor knows too, and the strikes that count now (strikes, strikes_max with 0 for no limit, until). What it waited for when the kernel notified of pressure last: time, resource, percent of the time, by (the tenant that used most), text. What its probes found: probe, passed, failed, failing (in a row), most (in a row, at which the program is ended), last (why). Limits that were set with tenantd set: limit, value, planned (of the manifest, or null). Limits reached since the last launch: limit, count and text. What it uses, its limits and what is not counted, if it is named.",
            ),
        ],
    ),
];

const LIST: &[Section] = &[
    (
        "COLUMNS",
        &[
            ("APP", "The application."),
            (
                "STATE",
                "running: its supervisor answers. detached: the supervisor has ended, and the tenants keep running. dead: the supervisor died, and the tenants keep running. unknown: the supervisor does not answer, or its answer cannot be understood.",
            ),
            ("PID", "The process ID of the supervisor."),
            ("TENANTS", "The number of tenants."),
            ("UP", "How many of them are up."),
            (
                "AS WANTED",
                "How many of them are up and ready, or down, as they are wanted.",
            ),
        ],
    ),
    (
        "JSON",
        &[(
            "applications",
            "A list with an object per application: app, state, pid, tenants, up, as_wanted, and why: the reason if its state is unknown. An unknown value is null.",
        )],
    ),
];

const OUTCOMES: &[Section] = &[(
    "JSON",
    &[
        ("app, verb", "The application, and the command."),
        ("ok", "Whether the exit code is 0."),
        (
            "tenants",
            "A list with an object per tenant that the command concerns. An unknown value is null.",
        ),
        ("tenant", "The name of the tenant."),
        (
            "outcome",
            "done, failed, refused, no-change (it was so already), pending (it was not waited for) or removed.",
        ),
        (
            "state, ready, pid, addresses",
            "As in tenantd-status(8), at the moment at which the outcome was known.",
        ),
        ("reason", "Why the outcome is not done."),
        (
            "killed",
            "What the command killed since it was still running when its grace was over, as in tenantd-status(8); null otherwise.",
        ),
    ],
)];

const DIFF: &[Section] = &[(
    "JSON",
    &[
        (
            "fixed",
            "The keys that cannot change while the supervisor runs, each with key, before and after. If there are any, a reload is refused, and the other members are empty.",
        ),
        (
            "shared",
            "The keys that concern all tenants and change live; and those of [network], which is exchanged once all tenants are released.",
        ),
        (
            "tenants",
            "A list with an object per changed tenant: tenant, change (remove, reprovision, relaunch, live or add), keys (each with key, before and after, in the notation of the manifest), after (the tenants that are released first) and touches (what a live change affects).",
        ),
        ("unchanged", "The number of unchanged tenants."),
        (
            "retried",
            "The tenants with a live change that was refused before.",
        ),
        (
            "hash",
            "What `tenantd reload --expect` takes; null if a reload is refused.",
        ),
        (
            "unlaunchable",
            "The tenants that could not be launched after a reload, each with tenant, why and, if there is one, its place in the manifest (file, line, column, excerpt). If there are any, a reload is refused.",
        ),
    ],
)];

const CHECK: &[Section] = &[(
    "JSON",
    &[
        ("good", "Whether the manifest has no problem."),
        (
            "app, tenants",
            "The application, and the number of its tenants.",
        ),
        (
            "problems",
            "A list with an object per problem of the manifest, with its message, its place and its help.",
        ),
        (
            "host",
            "What the host has or lacks: a list of objects with subject, grade, found and fix (a command that mends it, or null).",
        ),
        (
            "unlaunchable",
            "The tenants that could not be launched: a list of objects with tenant, why and, if there is one, place (file, line, column, excerpt). Empty if the host lacks what a launch needs.",
        ),
    ],
)];

const DOCTOR: &[Section] = &[(
    "JSON",
    &[
        (
            "tenants",
            "The number of tenants that the host is examined for.",
        ),
        (
            "findings",
            "A list of objects with subject, grade (good, weak, bad), found and fix (a command that mends it, or null).",
        ),
    ],
)];

const VERIFY: &[Section] = &[(
    "JSON",
    &[
        ("app", "The application."),
        (
            "drifts, mended, error",
            "Of what all tenants share: what is not as planned, what --repair has mended, and what it could not, or null.",
        ),
        (
            "tenants",
            "A list with an object per tenant: tenant, drifts (a list of objects with what, planned, found, and needs, which is repair or restart; empty if all is as planned), mended (the same, of what --repair has mended), and error (why it could not be verified or mended, or null).",
        ),
    ],
)];

const PLAN: &[Section] = &[(
    "JSON",
    &[
        (
            "app, network, control",
            "The application, what its tenants share, and who may read its state.",
        ),
        (
            "tenants",
            "A list with an object per tenant: its name, and the keys of tenantd.toml(5) with their values after all defaults, in the notation of the manifest. With --files only its name, and a list of its overlays as folders: folder, complete (whether all was examined in time) and files, each with path, change (changed, frozen, deleted or replaced) and newer (whether the host has changed it since).",
        ),
    ],
)];

const GC: &[Section] = &[(
    "JSON",
    &[
        ("app", "The application."),
        (
            "residue",
            "A list with an object per found object: kind, object (its name or path), fate (what was done with it) and why (why it was kept, or which processes were ended; null otherwise).",
        ),
    ],
)];

#[cfg(test)]
mod tests {
    use tenantd_api::wire::StateWord;

    use super::*;
    use crate::cli::outcome::tests::tenant;
    use crate::cli::status::table::COLUMNS;

    fn terms(command: &str, title: &str) -> Vec<String> {
        let section = of(command).iter().find(|(name, _)| *name == title);
        let terms = section.unwrap().1.iter();
        let split = terms.flat_map(|(term, _)| term.split(", "));
        split.map(str::to_owned).collect()
    }

    #[test]
    fn every_column_state_and_field_of_status_is_documented() {
        assert_eq!(terms("status", "COLUMNS"), COLUMNS);
        let states = [
            StateWord::Down,
            StateWord::Provisioning,
            StateWord::Launching,
            StateWord::Up,
            StateWord::Stopping,
            StateWord::Waiting,
            StateWord::Failed,
            StateWord::Exited,
            StateWord::Releasing,
            StateWord::Stuck,
        ];
        assert_eq!(terms("status", "STATES"), states.map(StateWord::word));
        let json = serde_json::to_value(tenant(StateWord::Up, Some(true), None)).unwrap();
        let documented = terms("status", "JSON");
        for field in json.as_object().unwrap().keys() {
            assert!(documented.contains(field), "{field} is missing");
        }
    }
}
