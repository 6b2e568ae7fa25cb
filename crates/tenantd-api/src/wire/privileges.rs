//! What a command of `exec` may do.

use serde::{Deserialize, Serialize};
use tenantd_core::capability::{Capabilities, Capability};
use tenantd_core::plan::privileges::Privileges;
use tenantd_core::system_calls::Preset;
use zlink::introspect::CustomType;

/// What a process may do beyond what every user may: `[app.wall]` of the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ExecPrivileges {
    /// The capabilities that the program can have; null if they depend on the user.
    #[serde(default)]
    pub capabilities: Option<Vec<String>>,
    /// Whether set-user-ID and set-group-ID programs get their rights.
    #[serde(default)]
    pub set_id_programs: bool,
    /// The preset of refused system calls.
    #[serde(default)]
    pub system_calls: Option<String>,
    /// Whether these calls are logged and not refused.
    #[serde(default)]
    pub log_system_calls: bool,
}

impl From<Privileges> for ExecPrivileges {
    fn from(privileges: Privileges) -> Self {
        let Privileges {
            capabilities,
            set_id_programs,
            system_calls,
            log_system_calls,
        } = privileges;
        let named = |set: Capabilities| set.names().into_iter().map(str::to_owned).collect();
        Self {
            capabilities: capabilities.map(named),
            set_id_programs,
            system_calls: Some(system_calls.word().to_owned()),
            log_system_calls,
        }
    }
}

/// What this version does not know is left out, which gives the process less.
impl From<ExecPrivileges> for Privileges {
    fn from(privileges: ExecPrivileges) -> Self {
        let ExecPrivileges {
            capabilities,
            set_id_programs,
            system_calls,
            log_system_calls,
        } = privileges;
        let set = |names: Vec<String>| {
            let known = names.iter().filter_map(|name| Capability::named(name));
            known.fold(Capabilities::NONE, Capabilities::with)
        };
        let preset = system_calls.as_deref().and_then(Preset::named);
        Self {
            capabilities: capabilities.map(set),
            set_id_programs,
            system_calls: preset.unwrap_or_default(),
            log_system_calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_pass_the_wire_unchanged() {
        for capabilities in [None, Some(Capabilities::NONE), Some(Capabilities::SERVICE)] {
            for system_calls in Preset::ALL {
                let privileges = Privileges {
                    capabilities,
                    set_id_programs: true,
                    system_calls,
                    log_system_calls: true,
                };
                assert_eq!(
                    Privileges::from(ExecPrivileges::from(privileges)),
                    privileges
                );
            }
        }
        let unknown: ExecPrivileges = serde_json::from_str("{}").unwrap();
        assert_eq!(Privileges::from(unknown), Privileges::default());
    }
}
