//! What separates a tenant from others and from the host, beyond its namespaces.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use toml::Spanned;

use super::fields::See;
use super::fields::field::Key::Later;
use super::fields::field::{relaunches, touches_nothing};
use super::model::TenantPlan;
use super::privileges::{self, Privileges};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Wall};
use crate::manifest::value::Guard;

/// The wall around the processes of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallPlan {
    /// Whether they are in a Landlock domain, see landlock(7).
    pub landlock: bool,
    /// Whether they see a `/proc` without the processes that they may not trace.
    pub hidepid: bool,
    /// Whether commands of `exec` reach the program.
    pub exec_reaches: bool,
    /// What the program is not started without.
    pub requires: Requires,
    /// What the processes may do beyond what every user may.
    pub privileges: Privileges,
}

/// What a program is not started without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requires {
    /// A Landlock domain that confines signals.
    pub landlock: bool,
    /// A user that is neither root nor that of another tenant.
    pub uid: bool,
}

impl Default for WallPlan {
    fn default() -> Self {
        Self {
            landlock: true,
            hidepid: true,
            exec_reaches: false,
            requires: Requires::default(),
            privileges: Privileges::default(),
        }
    }
}

/// The wall of an application.
pub(super) fn of(wall: &Wall) -> WallPlan {
    let default = WallPlan::default();
    let is_set = |known: &Known<bool>, default| known.as_ref().map_or(default, |it| *it.get_ref());
    let requires = |guard| place(wall, guard).is_some();
    WallPlan {
        landlock: is_set(&wall.landlock, default.landlock),
        hidepid: is_set(&wall.hidepid, default.hidepid),
        exec_reaches: is_set(&wall.exec_reaches, default.exec_reaches),
        requires: Requires {
            landlock: requires(Guard::Landlock),
            uid: requires(Guard::Uid),
        },
        privileges: privileges::of(wall),
    }
}

/// Where a guard is required.
fn place(wall: &Wall, guard: Guard) -> Option<Span> {
    let mut all = wall.require.iter().flat_map(Spanned::get_ref);
    let found = all.find(|one| *one.get_ref() == guard);
    found.map(Spanned::span)
}

/// Reports guards that are required and cannot be there. Returns the tenants.
pub(super) fn checked(
    wall: &Wall,
    tenants: Vec<TenantPlan>,
    problems: &mut Problems,
) -> Vec<TenantPlan> {
    check(wall, &tenants, problems);
    tenants
}

fn check(wall: &Wall, tenants: &[TenantPlan], problems: &mut Problems) {
    let is_off = wall.landlock.as_ref().is_some_and(|it| !it.get_ref());
    if let Some(at) = place(wall, Guard::Landlock).filter(|_| is_off) {
        problems
            .report(&at, "Landlock is required, and off")
            .help("remove `landlock = false`, or \"landlock\" from `require`");
    }
    if let Some(exec) = wall
        .exec_reaches
        .as_ref()
        .filter(|it| is_off && *it.get_ref())
    {
        problems
            .report(
                &exec.span(),
                "`exec_reaches` needs a Landlock domain, which is off",
            )
            .help("remove one of the two: without a domain, commands reach the program anyway");
    }
    let Some(at) = place(wall, Guard::Uid) else {
        return;
    };
    let help = "give each tenant a `user` of its own, or remove \"uid\" from `require`";
    let mut first_of: BTreeMap<u32, &TenantPlan> = BTreeMap::new();
    for plan in tenants {
        let identity = &plan.launch.identity;
        let first = *first_of.entry(identity.uid).or_insert(plan);
        let (name, user) = (&plan.name, &identity.user);
        if first.name != *name {
            let message = format!(
                "tenants {} and {name} have the same user, {user}",
                first.name
            );
            problems.report(&at, message).help(help);
        } else if identity.uid == 0 {
            let message = format!("tenant {name} runs as the user {user}");
            problems.report(&at, message).help(help);
        }
    }
}

/// Visits its parts.
pub(super) fn fields(wall: &WallPlan, see: See<'_>) {
    let WallPlan {
        landlock,
        hidepid,
        exec_reaches,
        requires,
        privileges,
    } = wall;
    let value = match landlock {
        true => "a domain of its own",
        false => "none",
    };
    see(relaunches(Later("landlock"), "Landlock", &value).default_is(*landlock));
    let value = match hidepid {
        true => "its own processes",
        false => "all processes",
    };
    see(relaunches(Later("hidepid"), "/proc shows", &value).default_is(*hidepid));
    if *exec_reaches {
        let value = "the program and its processes";
        see(relaunches(Later("exec reaches"), "exec reaches", &value));
    }
    let Requires { landlock, uid } = requires;
    for (name, is_required) in [("landlock", landlock), ("uid", uid)] {
        if *is_required {
            // The next launch is refused without it.
            see(touches_nothing(Later("requires"), "requires", &"yes").item(&name));
        }
    }
    privileges::fields(privileges, see);
}

/// The wall as JSON, with the manifest's keys.
pub(super) fn data(wall: &WallPlan) -> Value {
    let WallPlan {
        landlock,
        hidepid,
        exec_reaches,
        requires,
        privileges,
    } = wall;
    let Requires {
        landlock: by_landlock,
        uid,
    } = requires;
    let mut require = Vec::new();
    require.extend(by_landlock.then_some("landlock"));
    require.extend(uid.then_some("uid"));
    let mut whole = Map::new();
    whole.insert("landlock".to_owned(), json!(landlock));
    whole.insert("hidepid".to_owned(), json!(hidepid));
    whole.insert("exec_reaches".to_owned(), json!(exec_reaches));
    whole.insert("require".to_owned(), json!(require));
    privileges::data(privileges, &mut whole);
    Value::Object(whole)
}
