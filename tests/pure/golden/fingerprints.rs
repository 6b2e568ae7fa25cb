//! Fingerprints of tenants, which decide what a reload does to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tenantd_core::plan::{self, effect};

use super::read;

/// The manifests of the folder, by name, with the fingerprints of each tenant as a line.
fn fingerprints(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut each = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let plan = read(name, text).unwrap_or_else(|problems| panic!("{problems}"));
        let line = |tenant: &plan::model::TenantPlan| {
            let effect::Fingerprints {
                reprovision,
                relaunch,
            } = effect::fingerprints(tenant);
            let tenant = &tenant.name;
            format!("{name} {tenant} reprovision {reprovision:012x} relaunch {relaunch:012x}")
        };
        each.insert(name.to_owned(), plan.tenants.iter().map(line).collect());
    }
    each
}

/// The head of `pinned` states the rule: fingerprints of earlier versions never change, so
/// `UPDATE=1` adds the lines of new manifests and keeps existing lines.
#[test]
fn fingerprints_are_stable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fingerprints");
    let file = folder.join("pinned");
    let mut pinned = fs::read_to_string(&file).unwrap();
    let now = fingerprints(&folder);
    assert!(now.len() > 12, "the manifests lie in {}", folder.display());
    let of = |text: &str, name: &str| -> Vec<String> {
        let its = |line: &&str| line.split(' ').next() == Some(name);
        text.lines().filter(its).map(str::to_owned).collect()
    };
    for (name, lines) in &now {
        if of(&pinned, name).is_empty() && std::env::var_os("UPDATE").is_some() {
            pinned += &(lines.join("\n") + "\n");
            fs::write(&file, &pinned).unwrap();
        }
        assert_eq!(&of(&pinned, name), lines, "{}", file.display());
    }
    let known =
        |line: &&str| !line.starts_with('#') && !now.contains_key(line.split(' ').next().unwrap());
    let gone: Vec<&str> = pinned.lines().filter(known).collect();
    assert!(gone.is_empty(), "their manifests are gone: {gone:?}");
}

/// Explicit defaults and live changes do not change fingerprints.
#[test]
fn defaults_and_live_changes_do_not_change_fingerprints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fingerprints");
    let each = fingerprints(&folder);
    let numbers = |name: &str| -> Vec<String> {
        let lines = each[name].iter();
        lines
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect()
    };
    assert_eq!(numbers("defaults"), numbers("least"));
    assert_eq!(numbers("policy"), numbers("least"));
}
