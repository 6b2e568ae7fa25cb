//! The field of what makes a program read its configuration again. A change applies to the running
//! program.

use super::Later;
use super::field::{See, decides};
use super::words::Span;
use crate::plan::model::StopSignal;
use crate::plan::reload::AppReload;

/// Visits it, if it is set.
pub(super) fn reload(reload: Option<&AppReload>, see: See<'_>) {
    let value = match reload {
        None => return,
        Some(AppReload::Signal(StopSignal { number, name })) => format!("{name} ({number})"),
        Some(AppReload::Command { argv, within }) => {
            format!("{}, at most {}", argv.join(" "), Span(*within))
        }
    };
    see(decides(Later("reload"), "reload", &value, false));
}
