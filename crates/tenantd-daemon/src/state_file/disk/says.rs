//! What a program says of itself, in a record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ready::notice::Statement;

/// What a program says of itself, see sd_notify(3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Says2 {
    #[serde(rename = "status", default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(rename = "reloading", default)]
    pub(super) reloading: bool,
    /// The period of its watchdog in microseconds.
    #[serde(rename = "watchdog", default, skip_serializing_if = "Option::is_none")]
    pub(super) watchdog: Option<u64>,
}

pub(super) fn read(says: Option<Says2>) -> Statement {
    let Says2 {
        status,
        reloading,
        watchdog,
    } = says.unwrap_or_default();
    Statement {
        status,
        reloading,
        period: watchdog.map(Duration::from_micros),
    }
}

/// `None` if it says nothing.
pub(super) fn write(statement: &Statement) -> Option<Says2> {
    if *statement == Statement::default() {
        return None;
    }
    let Statement {
        status,
        reloading,
        period,
    } = statement;
    let micros = |period: &Duration| u64::try_from(period.as_micros()).unwrap_or(0);
    Some(Says2 {
        status: status.clone(),
        reloading: *reloading,
        watchdog: period.as_ref().map(micros),
    })
}

/// Anything that a program can say.
#[cfg(test)]
pub(super) fn any(text: &'static str) -> impl proptest::strategy::Strategy<Value = Statement> {
    use proptest::prelude::*;
    let period = proptest::option::of(any::<u64>().prop_map(Duration::from_micros));
    let all = (proptest::option::of(text), any::<bool>(), period);
    all.prop_map(|(status, reloading, period)| Statement {
        status,
        reloading,
        period,
    })
}
