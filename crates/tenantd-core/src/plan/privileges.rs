//! What the processes of a tenant may do beyond what every user may, and which system calls they may
//! make.

use serde_json::{Map, Value, json};

use super::fields::field::Key::Later;
use super::fields::field::{See, relaunches};
use crate::capability::Capabilities;
use crate::manifest::raw::Wall;
use crate::system_calls::Preset;

/// The privileges of the processes of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privileges {
    /// The capabilities that the manifest lists. `None`: by the user, see [`Privileges::bounding`].
    pub capabilities: Option<Capabilities>,
    /// Whether set-user-ID and set-group-ID programs get their rights.
    pub set_id_programs: bool,
    /// Which system calls are refused.
    pub system_calls: Preset,
    /// Whether these calls are logged and not refused.
    pub log_system_calls: bool,
}

impl Privileges {
    /// Those of a process of this user, in a tenant whose program runs as `program_uid`: what the manifest
    /// lists is for the program.
    #[must_use]
    pub fn of_user(self, uid: u32, program_uid: u32) -> Self {
        Self {
            capabilities: self.capabilities.filter(|_| uid == program_uid),
            ..self
        }
    }

    /// The most that a process which starts as this user, and what it executes, can ever have.
    #[must_use]
    pub fn bounding(&self, uid: u32) -> Capabilities {
        match self.capabilities {
            Some(listed) => listed,
            None if uid == 0 || self.set_id_programs => Capabilities::SERVICE,
            None => Capabilities::NONE,
        }
    }

    /// What a process which starts as this user has besides. Root has all of its bounding set.
    #[must_use]
    pub fn ambient(&self, uid: u32) -> Capabilities {
        match self.capabilities {
            Some(listed) if uid != 0 => listed,
            Some(_) | None => Capabilities::NONE,
        }
    }
}

/// The privileges that the manifest gives.
pub(super) fn of(wall: &Wall) -> Privileges {
    let is_set =
        |known: &crate::manifest::raw::Known<bool>| known.as_ref().is_some_and(|it| *it.get_ref());
    let system_calls = wall.system_calls.as_ref();
    Privileges {
        capabilities: wall.capabilities.as_ref().map(|it| *it.get_ref()),
        set_id_programs: is_set(&wall.set_id_programs),
        system_calls: system_calls.map_or(Preset::default(), |it| *it.get_ref()),
        log_system_calls: is_set(&wall.log_system_calls),
    }
}

/// Visits them.
pub(super) fn fields(privileges: &Privileges, see: See<'_>) {
    let Privileges {
        capabilities,
        set_id_programs,
        system_calls,
        log_system_calls,
    } = privileges;
    if let Some(listed) = capabilities {
        see(relaunches(Later("capabilities"), "capabilities", listed));
    }
    let word = match set_id_programs {
        true => "with their rights",
        false => "without their rights",
    };
    let field = relaunches(Later("set-id programs"), "set-id programs", &word);
    see(field.default_is(!set_id_programs));
    let word = system_calls.word();
    let field = relaunches(Later("system calls"), "system calls", &word);
    see(field.default_is(*system_calls == Preset::default()));
    if *log_system_calls {
        let word = "logged and not refused";
        see(relaunches(Later("refused calls"), "refused calls", &word).nested());
    }
}

/// Adds them as JSON, with the manifest's keys.
pub(super) fn data(privileges: &Privileges, whole: &mut Map<String, Value>) {
    let Privileges {
        capabilities,
        set_id_programs,
        system_calls,
        log_system_calls,
    } = privileges;
    let capabilities = capabilities.map(Capabilities::names);
    whole.insert("capabilities".to_owned(), json!(capabilities));
    whole.insert("set_id_programs".to_owned(), json!(set_id_programs));
    whole.insert("system_calls".to_owned(), json!(system_calls.word()));
    whole.insert("log_system_calls".to_owned(), json!(log_system_calls));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;

    #[test]
    fn each_user_has_the_least_that_its_programs_need() {
        let plain = Privileges::default();
        assert_eq!(plain.bounding(0), Capabilities::SERVICE);
        assert_eq!(plain.bounding(33), Capabilities::NONE);
        for uid in [0, 33] {
            assert_eq!(plain.ambient(uid), Capabilities::NONE);
        }
        let helped = Privileges {
            set_id_programs: true,
            ..plain
        };
        assert_eq!(helped.bounding(33), Capabilities::SERVICE);
        assert_eq!(helped.ambient(33), Capabilities::NONE);
    }

    #[test]
    fn a_list_is_for_the_user_of_the_program() {
        let listed = Capabilities::NONE.with(Capability::named("sys_nice").unwrap());
        let all = Privileges {
            capabilities: Some(listed),
            ..Privileges::default()
        };
        let program = all.of_user(33, 33);
        assert_eq!(
            (program.bounding(33), program.ambient(33)),
            (listed, listed)
        );
        let root = all.of_user(0, 0);
        assert_eq!(
            (root.bounding(0), root.ambient(0)),
            (listed, Capabilities::NONE)
        );
        let init = all.of_user(0, 33);
        assert_eq!(init.bounding(0), Capabilities::SERVICE);
        let other = all.of_user(34, 33);
        assert_eq!(
            (other.bounding(34), other.ambient(34)),
            (Capabilities::NONE, Capabilities::NONE)
        );
    }
}
