//! `set`: limits of a running tenant, until it stops. With `--permanent` it edits the manifest, see [`edit`].

use super::args::Set;
use super::outcome::{Became, Outcome};
use super::progress::{Doing, Progress};
use super::{End, edit};
use tenantd_api::client::Connection;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::wire::{LimitByHand, LimitsSet};

pub(super) fn set(selector: &Selector, what: &Set) -> anyhow::Result<End> {
    if what.permanent {
        return edit::set(selector, what);
    }
    let app = app::find(selector)?;
    super::converse(async {
        let mut connection = Connection::open(&app).await?;
        let limits = what.limits.iter();
        let limits: Vec<String> = limits
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let set = connection.set(&what.tenant, &limits, what.reset).await?;
        let mut progress = Progress::new(&app, Doing::Set, 1, what.wait.show);
        progress.settled(outcome(what, &set))?;
        for one in &set.limits {
            progress.say(&format!("  {}", in_words(one)))?;
        }
        Ok(progress.finish(false)?)
    })
}

fn outcome(what: &Set, set: &LimitsSet) -> Outcome {
    if let Some(why) = &set.refused {
        return Outcome::refused(&what.tenant, why);
    }
    let text = match (set.unchanged, set.limits.as_slice()) {
        (true, []) => "no limit was set by hand",
        (true, _) => "it was so already; set by hand until it stops or the manifest changes them:",
        (false, []) => "all limits are those of the manifest",
        (false, _) => "set by hand until it stops or the manifest changes them:",
    };
    let became = match set.unchanged {
        true => Became::NoChange,
        false => Became::Done,
    };
    Outcome::without_state(&what.tenant, became, text.to_owned())
}

/// A limit that was set by hand, beside that of the manifest.
pub(super) fn in_words(one: &LimitByHand) -> String {
    let LimitByHand {
        limit,
        value,
        planned,
    } = one;
    match planned {
        Some(planned) => format!("{limit} {value}; the manifest has {planned}"),
        None => format!("{limit} {value}; the manifest has none"),
    }
}
