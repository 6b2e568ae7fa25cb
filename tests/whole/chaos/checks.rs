//! The conditions that must hold once everything is as wanted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::chaos::scene::{DATA, Scene};
use crate::support::daemon::{in_time, run};
use crate::support::store::Store;

impl Scene {
    /// Compares the host and the status with what is wanted.
    #[track_caller]
    pub fn check(&mut self) {
        let status = self.status();
        for tenant in &status.tenants {
            let wanted = self.wants[tenant.name.as_str()].unwrap();
            assert_eq!(tenant.is_wanted_up(), wanted, "{tenant:?}");
            assert!(tenant.is_as_wanted(), "{tenant:?}");
            let store = Store::of(&self.daemon.app, tenant.name.as_str());
            let launches = store.launches(DATA);
            assert_eq!(
                launches.len(),
                usize::from(wanted),
                "{tenant:?}: {launches:?}"
            );
            assert!(
                !store.had_two_launches(),
                "{tenant:?}: two launches at a time"
            );
        }
        self.check_residue();
        let now = status.launches();
        for (name, before) in &self.launches {
            let undisturbed = !self.disturbed.contains(name.as_str());
            let same = now.get(name) == Some(before);
            let output = self.daemon.output();
            assert!(same || !undisturbed, "{name} was relaunched: {output}");
        }
        self.launches = now;
        self.disturbed.clear();
    }

    /// Checks that the host has what tenants that are wanted up need, and no more.
    fn check_residue(&self) {
        let app = &self.daemon.app;
        let up: BTreeSet<String> = self
            .wants
            .iter()
            .filter(|(_, up)| **up == Some(true))
            .map(|(tenant, _)| (*tenant).to_owned())
            .collect();
        assert_eq!(
            names(&format!("/run/tenantd/{app}/tenants")),
            up,
            "runtime folders"
        );
        assert_eq!(
            names(&format!("/sys/fs/cgroup/tenantd/{app}")),
            up,
            "cgroups"
        );
        let files = names("/run/tenantd/locks");
        let claims = files.iter().filter(|name| name.ends_with(".claim"));
        assert_eq!(claims.count(), up.len(), "claims: {files:?}");
        let known = up.iter().map(|tenant| format!("{app}-{tenant}"));
        assert_eq!(names("/run/netns"), known.collect(), "names");
        let mark = format!("tenantd:{app}/");
        let links = run(in_time("ip").args(["-j", "link"])).expect(0);
        let links: Vec<Value> = serde_json::from_str(&links).unwrap();
        let marked = links
            .iter()
            .filter_map(|link| link["ifalias"].as_str()?.strip_prefix(&mark));
        assert_eq!(
            marked.map(str::to_owned).collect::<BTreeSet<_>>(),
            up,
            "links"
        );
    }
}

/// The names in a folder; in the cgroup tree, only those of child cgroups.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(folder)).into_iter().flatten();
    let folders = entries
        .map(Result::unwrap)
        .filter(|entry| !folder.starts_with("/sys") || entry.file_type().unwrap().is_dir());
    folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}
