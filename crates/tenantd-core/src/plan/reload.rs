//! How a program is made to read its configuration again: `[app.reload]`.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::data::said;
use super::model::StopSignal;
use crate::manifest::problem::Problems;
use crate::manifest::raw;

/// How a program is made to read its configuration again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppReload {
    /// Its main process gets this signal.
    Signal(StopSignal),
    /// A command runs in the tenant.
    Command {
        /// The command and its arguments.
        argv: Vec<String>,
        /// Its time limit.
        within: Duration,
    },
}

impl fmt::Display for AppReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => f.write_str(&signal.name),
            Self::Command { argv, .. } => f.write_str(&argv.join(" ")),
        }
    }
}

impl AppReload {
    /// As JSON, with the keys of the manifest.
    pub(super) fn data(&self) -> Value {
        match self {
            Self::Signal(StopSignal { number, name }) => {
                json!({ "signal": name, "signal_number": number })
            }
            Self::Command { argv, within } => json!({ "command": argv, "within": said(*within) }),
        }
    }
}

/// What the manifest says. `None` if a problem was reported.
pub(super) fn reload(reload: &raw::Reload, problems: &mut Problems) -> Option<Option<AppReload>> {
    let within = *reload.within.as_ref()?.get_ref();
    match (&reload.signal, &reload.command) {
        (None, None) => Some(None),
        (Some(signal), None) => {
            let signal = signal.get_ref();
            Some(Some(AppReload::Signal(StopSignal {
                number: signal.number,
                name: signal.name.to_owned(),
            })))
        }
        (None, Some(argv)) => {
            let argv = argv.get_ref().0.clone();
            Some(Some(AppReload::Command { argv, within }))
        }
        (Some(signal), Some(command)) => {
            let (first, second) = match signal.span().start < command.span().start {
                true => (signal.span(), command.span()),
                false => (command.span(), signal.span()),
            };
            problems
                .report(&second, "`signal` and `command` exclude each other")
                .also(&first, "the other one")
                .help("remove one of them");
            None
        }
    }
}
