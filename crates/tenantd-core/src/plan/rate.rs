//! How much a tenant receives and sends.

use serde_json::{Map, Value, json};
use toml::Spanned;

use super::fields::See;
use super::fields::field::Key::Later;
use super::fields::field::shapes;
use crate::manifest::raw::{Manifest, Tenant};
pub use crate::manifest::value::Rate;
use crate::manifest::value::Rates;

/// The rates of a tenant's link; `None` without a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RatePlan {
    /// What it receives: a token bucket (tbf) on the host's end of its link.
    pub inward: Option<Rate>,
    /// What it sends: a token bucket on its own end, which it cannot change without `CAP_NET_ADMIN`.
    pub outward: Option<Rate>,
}

/// The rates of one tenant. Its own take precedence over those of `[defaults]`, each alone.
pub(super) fn of(manifest: &Manifest, tenant: &Tenant) -> RatePlan {
    let layers = [&tenant.overrides.rate, &manifest.defaults.rate];
    let first = |of: fn(&Rates) -> Option<Option<Rate>>| {
        let mut said = layers.iter().filter_map(|layer| layer.as_ref());
        said.find_map(|rates| of(Spanned::get_ref(rates))).flatten()
    };
    RatePlan {
        inward: first(|rates| rates.inward),
        outward: first(|rates| rates.outward),
    }
}

/// Visits the fields.
pub(super) fn fields(rate: &RatePlan, see: See<'_>) {
    let RatePlan { inward, outward } = rate;
    for (key, rate, end) in [
        ("rate in", inward, "the host's"),
        ("rate out", outward, "its own"),
    ] {
        if let Some(rate) = rate {
            let value = format_args!("{rate} by tbf on {end} end");
            see(shapes(Later(key), key, &value));
        }
    }
}

/// The member of a tenant's JSON, with the manifest's keys.
pub(super) fn data(rate: &RatePlan, whole: &mut Map<String, Value>) {
    let RatePlan { inward, outward } = rate;
    let word = |rate: &Option<Rate>| rate.map_or("unlimited".to_owned(), |rate| rate.to_string());
    let rates = json!({ "in": word(inward), "out": word(outward) });
    whole.insert("rate".to_owned(), rates);
}
