//! Resources, and where they may run.

use super::super::Resource;
use super::super::cib::{Cib, Found, Location, Values};
use super::super::wanted::{META, Operation};
use super::{Kind, Report, is_true, time};

/// How Pacemaker writes a score without a limit.
const INFINITE: [&str; 2] = ["INFINITY", "+INFINITY"];

fn is_of(found: &Found, app: &str, tenant: &str) -> bool {
    let has = |key: &str, value: &str| found.parameters.get(key).is_some_and(|it| it == value);
    has("app", app) && has("name", tenant)
}

/// What to type for what the plan prints.
const AGAIN: &str =
    "tenantd cluster plan prints the commands; with pcs, remove the resource before";

impl Report {
    /// Compares the resource of a tenant.
    pub(super) fn tenant(&mut self, wanted: &Resource<'_>, cib: &Cib) {
        let is_its = |it: &&Found| is_of(it, wanted.app, wanted.tenant.as_str());
        let mut all = cib.tenants.iter().filter(is_its);
        let Some(found) = all.next() else {
            let why = format!("no resource is {} of {}", wanted.tenant, wanted.app);
            let fix = "tenantd cluster plan prints the commands";
            return self.add(Kind::Missing, &wanted.id, why, fix);
        };
        for second in all {
            let why = format!(
                "it is the tenant of {} too: two hosts may start it",
                found.id
            );
            let fix = self.delete(&second.id);
            self.add(Kind::Extra, &second.id, why, fix);
        }
        let id = &found.id;
        if found.is_cloned {
            let why = "it is a clone, which runs on several hosts at once";
            let fix = self.delete(id);
            self.add(Kind::Different, id, why, fix);
        }
        let storage = found
            .parameters
            .get("storage")
            .map_or("shared", String::as_str);
        if storage != wanted.storage.word() {
            let why = format!(
                "storage is {storage}, and {} is wanted",
                wanted.storage.word()
            );
            self.add(Kind::Different, id, why, AGAIN);
        }
        if found.parameters.get("unsafe").is_some_and(|it| is_true(it)) {
            let why = "unsafe is set: it starts without fencing";
            let fix = self.either(
                format!("crm resource param {id} delete unsafe"),
                format!("pcs resource update {id} unsafe="),
            );
            self.add(Kind::Extra, id, why, fix);
        }
        for operation in wanted.operations() {
            self.operation(found, &operation);
        }
        self.meta_attributes(found, cib);
        self.uses(wanted, found);
        self.places(wanted, found, cib);
    }

    fn operation(&mut self, found: &Found, wanted: &Operation) {
        let (id, name) = (&found.id, wanted.name);
        let is_its = |it: &&Values| it.get("name").is_some_and(|it| it == name);
        let all: Vec<_> = found.operations.iter().filter(is_its).collect();
        let limit = format!("{}s", wanted.timeout);
        let Some(first) = all.first() else {
            let why = format!(
                "operation {name} is not set: Pacemaker's own limit is 20 s, and {limit} is wanted"
            );
            return self.add(Kind::Missing, id, why, AGAIN);
        };
        for operation in &all {
            let set = operation.get("timeout").map_or("20s", String::as_str);
            if time(set).is_none_or(|it| it.as_secs() < wanted.timeout) {
                let why = format!("timeout of {name} is {set}: tenantd may need {limit}");
                self.add(Kind::Different, id, why, AGAIN);
            }
        }
        let repeats = first
            .get("interval")
            .and_then(|it| time(it))
            .is_some_and(|it| !it.is_zero());
        let is_off = first.get("enabled").is_some_and(|it| !is_true(it));
        if wanted.interval > 0 && (!repeats || is_off) {
            let why = format!("operation {name} does not run: Pacemaker notices no failure");
            self.add(Kind::Different, id, why, AGAIN);
        }
        let then = first.get("on-fail").map(String::as_str);
        if let Some(then @ ("ignore" | "block")) = then {
            let why = format!("on-fail of {name} is {then}: its failure has no effect");
            self.add(Kind::Different, id, why, AGAIN);
        }
    }

    fn meta_attributes(&mut self, found: &Found, cib: &Cib) {
        let id = &found.id;
        let get = |key: &str| {
            found
                .meta
                .get(key)
                .or_else(|| cib.defaults.get(key))
                .map(String::as_str)
        };
        for (key, wanted) in META {
            let fix = self.meta(id, key, wanted);
            match get(key) {
                None => self.add(
                    Kind::Missing,
                    id,
                    format!("{key} is not set, and {wanted} is wanted"),
                    fix,
                ),
                // It stays where it is, by any score.
                Some(value)
                    if key == "resource-stickiness" && value != "0" && !value.starts_with('-') => {}
                Some(value) if value == wanted => {}
                Some(value) => self.add(
                    Kind::Different,
                    id,
                    format!("{key} is {value}, and {wanted} is wanted"),
                    fix,
                ),
            }
        }
        let expires = get("failure-timeout").filter(|it| time(it).is_none_or(|it| !it.is_zero()));
        if let Some(expires) = expires {
            let why = format!(
                "failure-timeout is {expires}: a host where tenantd has given the tenant up is tried again after that"
            );
            let fix = self.meta(id, "failure-timeout", "0");
            self.add(Kind::Extra, id, why, fix);
        }
        let is_left = get("is-managed").is_some_and(|it| !is_true(it))
            || get("maintenance").is_some_and(is_true);
        if is_left {
            let why = "it is not managed: Pacemaker neither moves nor restarts it";
            let fix = self.meta(id, "is-managed", "true");
            self.add(Kind::Different, id, why, fix);
        }
    }

    fn uses(&mut self, wanted: &Resource<'_>, found: &Found) {
        let id = &found.id;
        for key in ["memory", "cpu"] {
            let limit = wanted
                .uses
                .iter()
                .find(|(it, _)| *it == key)
                .map(|(_, n)| *n);
            let is = found.uses.get(key);
            match (limit, is) {
                (Some(limit), None) => {
                    let why = format!("it has no {key} in its utilization, and {limit} is wanted");
                    self.add(Kind::Missing, id, why, AGAIN);
                }
                (Some(limit), Some(is)) if is.parse() != Ok(limit) => {
                    let why = format!("{key} of its utilization is {is}, and {limit} is wanted");
                    self.add(Kind::Different, id, why, AGAIN);
                }
                (None, Some(is)) => {
                    let why = format!(
                        "{key} of its utilization is {is}, and the manifest has no limit for it"
                    );
                    self.add(Kind::Extra, id, why, AGAIN);
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }

    fn places(&mut self, wanted: &Resource<'_>, found: &Found, cib: &Cib) {
        let id = &found.id;
        let its: Vec<&Location> = cib
            .locations
            .iter()
            .filter(|it| it.resource == *id)
            .collect();
        let ties = |it: &Location| it.is_exclusive && INFINITE.contains(&it.score.as_str());
        let host = wanted.host.map(ToString::to_string);
        if let Some(host) = host
            .as_ref()
            .filter(|host| !its.iter().any(|it| ties(it) && it.host == **host))
        {
            let why = format!("its data is on {host} alone, and other hosts may start it");
            self.add(Kind::Missing, &wanted.tie(), why, AGAIN);
        }
        for location in its {
            let by_hand = ["cli-ban-", "cli-prefer-", "cli-standby-"];
            if by_hand.iter().any(|it| location.id.starts_with(it)) {
                let why = format!(
                    "a move by hand has left it: {id} on {} has the score {}",
                    location.host, location.score
                );
                let fix = self.either(
                    format!("crm resource clear {id}"),
                    format!("pcs resource clear {id}"),
                );
                self.add(Kind::Extra, &location.id, why, fix);
            } else if location.is_exclusive && host.as_ref() != Some(&location.host) {
                let why = format!(
                    "{id} can run on {} alone, and its data is not tied to it",
                    location.host
                );
                let fix = self.either(
                    format!("crm configure delete {}", location.id),
                    format!("pcs constraint delete {}", location.id),
                );
                self.add(Kind::Extra, &location.id, why, fix);
            }
        }
    }

    /// Resources of the application that the plan does not have.
    pub(super) fn extra(&mut self, app: &str, resources: &[Resource<'_>], cib: &Cib) {
        let of_app = |it: &&Found| it.parameters.get("app").is_some_and(|it| it == app);
        for found in cib.tenants.iter().filter(of_app) {
            let name = found.parameters.get("name").map_or("", String::as_str);
            if !resources.iter().any(|it| it.tenant.as_str() == name) {
                let why =
                    format!("the manifest has no tenant {name:?} with engine = \"pacemaker\"");
                let fix = self.delete(&found.id);
                self.add(Kind::Extra, &found.id, why, fix);
            }
        }
    }

    /// The command that removes a resource.
    fn delete(&self, id: &str) -> String {
        self.either(
            format!("crm configure delete {id}"),
            format!("pcs resource delete {id}"),
        )
    }
}
