//! Tenants that another engine starts: an operator's start of one is refused.

use std::collections::HashMap;

use tenantd_api::wire::Verb;
use tenantd_core::manifest::engine::Engine;
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::view::Want;

use crate::requests::answer::Tenants;

/// A request for tenants, as far as engines are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) verb: Verb,
    pub(super) permanent: bool,
    /// The engine that sent it, or none.
    pub(super) engine: Option<&'a str>,
    /// Whether it is for all tenants, and names none.
    pub(super) is_all: bool,
}

/// Refuses what only the engine of a tenant may ask for. A request for all tenants leaves those out.
pub(super) fn sort(
    names: &mut Vec<TenantName>,
    asked: Asked<'_>,
    tenants: Tenants<'_>,
) -> HashMap<TenantName, String> {
    let mut refused = HashMap::new();
    names.retain(|name| {
        let Some(why) = refusal(name, asked, tenants) else {
            return true;
        };
        // A permission that was given for this request is not for the next one, which may be of another program.
        tenants.executor.host().takeovers.take(name);
        refused.insert(name.clone(), why);
        !asked.is_all
    });
    refused
}

/// Why the engine of a tenant does not allow a request; `None` if it does.
fn refusal(name: &TenantName, asked: Asked<'_>, tenants: Tenants<'_>) -> Option<String> {
    let entry = tenants.executor.inventory().get(name)?;
    let engine = entry.planned().policy.engine;
    match engine.foreign() {
        Some(word) if asked.engine == Some(word) => return None,
        None if asked.engine.is_none() => return None,
        None => {
            return Some(
                "tenantd starts and stops it, since `engine` is not set in the manifest of this host"
                    .to_owned(),
            );
        }
        Some(_) => {}
    }
    let is_down = || {
        let view = tenants.supervisor.tenant(name);
        view.is_none_or(|view| view.want == Want::Down)
    };
    let starts = match asked.verb {
        Verb::Start => true,
        Verb::Restart => is_down(),
        Verb::Stop => asked.permanent,
    };
    starts.then(|| whose(engine, name))
}

/// Says who starts and stops a tenant, and what to type.
pub(super) fn whose(engine: Engine, name: &TenantName) -> String {
    match engine {
        Engine::Pacemaker => format!(
            "Pacemaker decides on which host it runs (`engine` in the manifest): see \
             `crm_resource --locate --resource {name}`"
        ),
        Engine::Tenantd | Engine::Other => {
            "another program starts and stops it (`engine = \"other\"` in the manifest)".to_owned()
        }
    }
}
