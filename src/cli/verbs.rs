//! Verbs of other tools: what to type instead. They are no aliases, so that one thing has one name.

use super::names;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The verbs of systemctl(1), supervisorctl, podman(1), incus(1), nomad and shells, each group with
/// what to type.
const VERBS: &[(&[&str], &[&str])] = &[
    (
        &["enable", "autostart"],
        &["`tenantd start NAME --permanent` starts a tenant, also after a reboot"],
    ),
    (
        &["disable", "mask"],
        &["`tenantd stop NAME --permanent` stops a tenant, also after a reboot"],
    ),
    (
        &[
            "shell", "sh", "bash", "attach", "enter", "console", "login", "join", "ssh", "nsenter",
        ],
        &["`tenantd exec NAME sh` runs a shell in a tenant"],
    ),
    (
        &["inspect", "show", "info", "describe", "get"],
        &[
            "`tenantd status NAME` shows the state of a tenant",
            "`tenantd plan --config FILE` shows what is derived from the manifest",
        ],
    ),
    (
        &["ps", "ls", "state", "list-units", "tenants"],
        &[
            "`tenantd status` shows the tenants of an application",
            "`tenantd list` shows all applications",
        ],
    ),
    (
        &["is-active", "is-failed", "is-enabled", "health"],
        &["the exit code of `tenantd status NAME` is 0 if the tenant is as wanted"],
    ),
    (
        &["signal", "hup"],
        &["`tenantd kill -s HUP NAME` sends a signal to the program of a tenant"],
    ),
    (
        &["terminate"],
        &[
            "`tenantd stop NAME` ends the processes of a tenant",
            "`tenantd restart NAME` ends them and starts the program again",
        ],
    ),
    (&["up"], &["`tenantd start --all` starts all tenants"]),
    (
        &["down", "shutdown"],
        &["`tenantd stop --all` stops all tenants"],
    ),
    (
        &["rm", "delete", "del", "destroy", "purge", "uninstall"],
        &["`tenantd remove NAME` removes a tenant; its datastore stays"],
    ),
    (
        &["create", "new", "launch", "deploy", "provision"],
        &["`tenantd add NAME ip=ADDRESS` adds a tenant to the manifest"],
    ),
    (
        &["log", "tail", "journal", "output"],
        &["`tenantd logs NAME` shows the output of a tenant's program"],
    ),
    (
        &["rollout", "roll", "rolling-restart", "rolling", "redeploy"],
        &["`tenantd restart --all --rolling` restarts the tenants in batches"],
    ),
    (
        &[
            "try-restart",
            "daemon-reload",
            "reread",
            "refresh",
            "apply",
            "update",
            "sync",
        ],
        &["`tenantd reload` applies what has changed in the manifest"],
    ),
    (
        &["reload-or-restart", "hot-reload", "graceful"],
        &[
            "`tenantd reload-app NAME` makes a program read its configuration again",
            "`tenantd reload` applies what has changed in the manifest",
        ],
    ),
    (
        &["freeze", "suspend"],
        &["`tenantd pause NAME` freezes the processes of a tenant"],
    ),
    (
        &["unpause", "thaw", "unfreeze", "continue"],
        &["`tenantd resume NAME` lets a paused tenant continue"],
    ),
    (
        &["daemon", "serve", "supervise", "server"],
        &["`tenantd run --config FILE` supervises the tenants of a manifest"],
    ),
    (
        &["validate", "lint", "configtest", "test"],
        &["`tenantd check --config FILE` checks a manifest"],
    ),
    (
        &["stats", "monitor", "watch"],
        &[
            "`tenantd top` shows what tenants use, in a table that is kept current",
            "`tenantd status --watch` draws the table again after each change",
            "`tenantd events --follow` prints a line for each change",
        ],
    ),
    (
        &["prune", "clean", "cleanup"],
        &["`tenantd gc` removes what no tenant of the application owns"],
    ),
    (
        &["reset-failed"],
        &["`tenantd start NAME` starts a failed tenant again"],
    ),
    (
        &["leave", "quit", "exit"],
        &[
            "`tenantd detach` ends the supervisor but not its tenants",
            "`tenantd stop --all` stops all tenants",
        ],
    ),
    (&["version"], &["`tenantd --version` prints the version"]),
];

/// Options that a command does not have, and what to type.
const OPTIONS: &[(&[&str], &[&str])] = &[
    (
        &["--all", "-a"],
        &["without a NAME, this command is about all tenants"],
    ),
    (
        &["--permanent"],
        &["a restart is never permanent: `tenantd start NAME --permanent`"],
    ),
    (
        &["--signal"],
        &["`tenantd kill -s HUP NAME` sends a signal"],
    ),
    (
        &["--force", "--time", "--timeout"],
        &["`stop.grace` in the manifest is the time until SIGKILL"],
    ),
    (
        &["--now"],
        &["tenantd waits until all is done, unless --no-wait is given"],
    ),
    (
        &["--watch", "--follow"],
        &["`tenantd events --follow` prints each change"],
    ),
    (
        &["--name", "--tenant"],
        &["a tenant is named without an option: NAME"],
    ),
];

/// Has a usage error say what to type instead of a verb or an option of another tool. clap suggests
/// the command that is spelled alike, which may do something else.
pub(super) fn explain(mut error: clap::Error) -> clap::Error {
    let tips = match error.kind() {
        ErrorKind::ValueValidation => return names::explain(error),
        ErrorKind::InvalidSubcommand => {
            let Some(tips) = tips_for(&error, ContextKind::InvalidSubcommand, VERBS) else {
                return error;
            };
            error.remove(ContextKind::SuggestedSubcommand);
            tips
        }
        ErrorKind::UnknownArgument if error.get(ContextKind::SuggestedArg).is_none() => {
            // "To pass it as a value": no name of a tenant begins with a dash.
            error.remove(ContextKind::Suggested);
            let Some(tips) = tips_for(&error, ContextKind::InvalidArg, OPTIONS) else {
                return error;
            };
            tips
        }
        _ => return error,
    };
    let tips = tips.iter().map(|tip| (*tip).into()).collect();
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    error
}

fn tips_for(
    error: &clap::Error,
    kind: ContextKind,
    known: &'static [(&[&str], &[&str])],
) -> Option<&'static [&'static str]> {
    let Some(ContextValue::String(typed)) = error.get(kind) else {
        return None;
    };
    // An option may have a value: `--time=5`.
    let typed = typed.split('=').next()?;
    let mut known = known.iter();
    let (_, tips) = known.find(|(words, _)| words.contains(&typed))?;
    Some(tips)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn no_verb_of_another_tool_is_a_command() {
        let cli = Cli::command();
        for verb in VERBS.iter().flat_map(|(verbs, _)| *verbs) {
            assert!(cli.find_subcommand(verb).is_none(), "{verb}");
        }
    }

    #[test]
    fn what_is_to_be_typed_instead_is_a_command() {
        let tips = VERBS.iter().chain(OPTIONS).flat_map(|(_, tips)| *tips);
        for tip in tips {
            let commands = tip.split('`').skip(1).step_by(2);
            for command in commands.filter(|it| it.starts_with("tenantd ")) {
                let words = command.split(' ').map(|word| match word {
                    "NAME" => "acme",
                    "ip=ADDRESS" => "ip=10.77.0.14",
                    word => word,
                });
                match Cli::try_parse_from(words) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::DisplayVersion, "{error}"),
                }
            }
        }
    }

    #[test]
    fn a_suggestion_does_what_was_meant() {
        let said = |typed: &str| {
            let parsed = Cli::try_parse_from(["tenantd", typed, "acme"]);
            explain(parsed.unwrap_err()).to_string()
        };
        let text = said("enable");
        assert!(text.contains("tenantd start NAME --permanent"), "{text}");
        assert!(!text.contains("detach"), "{text}");
        assert!(said("sttaus").contains("'status'"), "{}", said("sttaus"));
    }
}
