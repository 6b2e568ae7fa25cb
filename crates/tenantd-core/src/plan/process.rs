//! Attributes that a process inherits from the one that starts it. tenantd sets all of them, so that
//! a tenant is the same whatever started tenantd: a shell, a unit or another supervisor.

use serde_json::{Value, json};

use super::fields::field::Key::Later;
use super::fields::field::{See, relaunches};
use crate::manifest::raw::{self, Manifest, Tenant};

/// The attributes of a tenant's processes that the manifest can set. The others have fixed values: see
/// "What a program inherits" in the guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessAttributes {
    /// The file mode creation mask, see umask(2).
    pub umask: u32,
    /// The nice value, see setpriority(2): from -20 (most favoured) to 19.
    pub nice: i32,
    /// The adjustment of the OOM killer's score, see proc_pid_oom_score_adj(5): from -1000 (never
    /// killed) to 1000.
    pub oom_score_adj: i32,
}

impl Default for ProcessAttributes {
    fn default() -> Self {
        Self {
            umask: 0o022,
            nice: 0,
            oom_score_adj: 0,
        }
    }
}

/// The attributes of one tenant's processes. Its own take precedence over `[defaults]`, and those over
/// `[app]`.
pub(super) fn of(manifest: &Manifest, tenant: &Tenant) -> ProcessAttributes {
    let layers = [
        &tenant.overrides.process,
        &manifest.defaults.process,
        &manifest.app.process,
    ];
    fn first<T: Copy>(
        layers: [&raw::Process; 3],
        of: impl Fn(&raw::Process) -> &raw::Known<T>,
    ) -> Option<T> {
        let said = layers.into_iter().find_map(|layer| of(layer).as_ref());
        said.map(|value| *value.get_ref())
    }
    let default = ProcessAttributes::default();
    ProcessAttributes {
        umask: first(layers, |it| &it.umask).map_or(default.umask, |umask| umask.0),
        nice: first(layers, |it| &it.nice).map_or(default.nice, |nice| nice.0),
        oom_score_adj: first(layers, |it| &it.oom_score_adj)
            .map_or(default.oom_score_adj, |score| score.0),
    }
}

/// Visits the attributes.
pub(super) fn fields(attributes: &ProcessAttributes, see: See<'_>) {
    let ProcessAttributes {
        umask,
        nice,
        oom_score_adj,
    } = attributes;
    let default = ProcessAttributes::default();
    let all = format_args!("umask {umask:04o}, nice {nice}, OOM score {oom_score_adj}");
    see(relaunches(Later("process"), "process", &all).default_is(*attributes == default));
}

/// The attributes as JSON, with the manifest's keys.
pub(super) fn data(attributes: &ProcessAttributes) -> Value {
    let ProcessAttributes {
        umask,
        nice,
        oom_score_adj,
    } = attributes;
    json!({ "umask": format!("{umask:04o}"), "nice": nice, "oom_score_adj": oom_score_adj })
}
