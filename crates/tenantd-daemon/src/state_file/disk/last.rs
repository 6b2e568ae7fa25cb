//! What is remembered of the last start of a tenant: its type in the file, and the conversions, with those of
//! the reason for a failure.

use serde::{Deserialize, Serialize};

use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::view::Why;

use super::Unreadable;
use super::form::Why2;

/// What is remembered of the last start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last2 {
    /// The launch, if it had not become ready.
    #[serde(rename = "unready", default, skip_serializing_if = "Option::is_none")]
    pub(super) unready: Option<u64>,
    /// Why the one before failed.
    #[serde(rename = "why", default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<Why2>,
}

pub(super) fn read(last: Option<Last2>) -> Result<(Option<LaunchId>, Option<Why>), Unreadable> {
    let Some(Last2 { unready, why }) = last else {
        return Ok((None, None));
    };
    Ok((unready.map(LaunchId), why.map(Why::try_from).transpose()?))
}

pub(super) fn write(unready: Option<LaunchId>, why: Option<&Why>) -> Option<Last2> {
    let is_some = unready.is_some() || why.is_some();
    is_some.then(|| Last2 {
        unready: unready.map(|LaunchId(id)| id),
        why: why.map(Why2::from),
    })
}

impl TryFrom<Why2> for Why {
    type Error = Unreadable;
    fn try_from(why: Why2) -> Result<Self, Unreadable> {
        Ok(match why {
            Why2::Failure(failure) => Self::Failure(failure.try_into()?),
            Why2::Exit(exit) => Self::Exit(exit.into()),
        })
    }
}

impl From<&Why> for Why2 {
    fn from(why: &Why) -> Self {
        match why {
            Why::Failure(failure) => Self::Failure(failure.into()),
            Why::Exit(exit) => Self::Exit(exit.into()),
        }
    }
}
