//! The end of a launch that is under way, in a record.

use serde::{Deserialize, Serialize};

use tenantd_core::supervisor::checkpoint::Ending;
use tenantd_core::supervisor::time::Moment;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending2 {
    #[serde(rename = "grace")]
    Grace {
        #[serde(rename = "kill_at")]
        kill_at: u64,
        /// Whether nobody has asked it to stop. An earlier version does not read this, and asks it.
        #[serde(rename = "own", default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
    },
    #[serde(rename = "killed")]
    Killed {
        #[serde(rename = "until")]
        until: u64,
    },
}

impl From<&Ending> for Ending2 {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Grace {
                kill_at: Moment(kill_at),
            } => Self::Grace {
                kill_at: *kill_at,
                own: false,
            },
            Ending::Own {
                until: Moment(until),
            } => Self::Grace {
                kill_at: *until,
                own: true,
            },
            Ending::Killed {
                until: Moment(until),
            } => Self::Killed { until: *until },
        }
    }
}

impl From<Ending2> for Ending {
    fn from(ending: Ending2) -> Self {
        match ending {
            Ending2::Grace { kill_at, own: true } => Self::Own {
                until: Moment(kill_at),
            },
            Ending2::Grace {
                kill_at,
                own: false,
            } => Self::Grace {
                kill_at: Moment(kill_at),
            },
            Ending2::Killed { until } => Self::Killed {
                until: Moment(until),
            },
        }
    }
}

/// Any end.
#[cfg(test)]
pub(super) fn any() -> impl proptest::strategy::Strategy<Value = Ending> {
    use proptest::prelude::*;
    let moment = || proptest::prelude::any::<u64>().prop_map(Moment);
    prop_oneof![
        moment().prop_map(|kill_at| Ending::Grace { kill_at }),
        moment().prop_map(|until| Ending::Own { until }),
        moment().prop_map(|until| Ending::Killed { until }),
    ]
}
