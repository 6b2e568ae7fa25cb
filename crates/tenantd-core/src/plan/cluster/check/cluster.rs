//! Fencing, properties, and hosts.

use super::super::cib::{Cib, Values};
use super::super::{Resource, Size};
use super::{Kind, Report, is_true};

impl Report {
    pub(super) fn cluster(&mut self, resources: &[Resource<'_>], sizes: &[&Size], cib: &Cib) {
        self.fencing(cib);
        let property = |key: &str| cib.properties.get(key).map(String::as_str);
        if property("no-quorum-policy") == Some("ignore") {
            let found = "is ignore: a host that is cut off keeps its tenants running";
            let fix = self.property("no-quorum-policy=stop");
            self.add(Kind::Different, "no-quorum-policy", found, fix);
        }
        if property("maintenance-mode").is_some_and(is_true) {
            let found = "is on: Pacemaker starts, stops and moves nothing";
            let fix = self.property("maintenance-mode=false");
            self.add(Kind::Different, "maintenance-mode", found, fix);
        }
        let is_sized = |host: &Values| host.contains_key("memory") || host.contains_key("cpu");
        let any_size = !sizes.is_empty() || cib.hosts.values().any(is_sized);
        let placement = property("placement-strategy").unwrap_or("default");
        if any_size && placement == "default" {
            let found = "is default: Pacemaker counts tenants, not what they use";
            let fix = self.property("placement-strategy=balanced");
            self.add(Kind::Different, "placement-strategy", found, fix);
        }
        for size in sizes {
            self.size(size, cib);
        }
        for (host, values) in &cib.hosts {
            let is_named = sizes.iter().any(|size| size.host.to_string() == *host);
            if any_size && !is_named && !is_sized(values) {
                let found =
                    "it has no size: no tenant with memory.max or cpu.quota is started there";
                let fix = "tenantd cluster plan, with --size of each host";
                self.add(Kind::Missing, host, found, fix);
            }
        }
        let mut tied: Vec<String> = resources
            .iter()
            .filter_map(|it| it.host)
            .map(ToString::to_string)
            .collect();
        tied.sort();
        tied.dedup();
        for host in tied.iter().filter(|host| !cib.hosts.contains_key(*host)) {
            self.unknown(host);
        }
    }

    fn unknown(&mut self, host: &str) {
        let found = "the cluster has no such host";
        self.add(Kind::Missing, host, found, "crm_node -l shows all");
    }

    fn fencing(&mut self, cib: &Cib) {
        let is_on = cib
            .properties
            .get("stonith-enabled")
            .is_none_or(|it| is_true(it));
        if !is_on {
            let found = "is false: after the loss of a host, two could write to the same data";
            let fix = self.property("stonith-enabled=true");
            self.add(Kind::Different, "stonith-enabled", found, fix);
        }
        for host in cib.hosts.keys() {
            if !cib.fences.iter().any(|device| may_fence(device, host)) {
                let found = "no fence device names it: if it is lost, its tenants start nowhere";
                let fix = self.either(
                    "crm configure primitive NAME stonith:AGENT params ...".to_owned(),
                    "pcs stonith create NAME AGENT ...".to_owned(),
                );
                self.add(Kind::Missing, host, found, fix);
            }
        }
    }

    fn size(&mut self, size: &Size, cib: &Cib) {
        let host = size.host.to_string();
        let Some(values) = cib.hosts.get(&host) else {
            return self.unknown(&host);
        };
        for (key, wanted) in size.parts() {
            let found = values.get(key).map(String::as_str);
            let fix = self.either(
                format!("crm node utilization {host} set {key} {wanted}"),
                format!("pcs node utilization {host} {key}={wanted}"),
            );
            match found {
                None => self.add(
                    Kind::Missing,
                    &host,
                    format!("it has no {key}, and {wanted} is wanted"),
                    fix,
                ),
                Some(found) if found.parse() != Ok(wanted) => {
                    let found = format!("{key} is {found}, and {wanted} is wanted");
                    self.add(Kind::Different, &host, found, fix);
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether a device may be for a host. One that names none asks its hardware, which is not known here.
fn may_fence(device: &Values, host: &str) -> bool {
    let names = |list: &str| list.split([' ', ',', ';', '\t']).any(|it| it == host);
    let maps = |map: &str| {
        map.split([' ', ',', ';', '\t'])
            .any(|it| it.split_once(':').is_some_and(|it| it.0 == host))
    };
    match (device.get("pcmk_host_list"), device.get("pcmk_host_map")) {
        (None, None) => true,
        (list, map) => list.is_some_and(|it| names(it)) || map.is_some_and(|it| maps(it)),
    }
}
