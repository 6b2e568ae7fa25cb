//! The commands for Pacemaker: `tests/golden/cluster/NAME.toml` has the outputs `NAME.crm` and `NAME.pcs`, and with
//! the hosts that are told, `NAME-hosts.crm` and `NAME-hosts.pcs`.

use std::fs;
use std::path::Path;

use tenantd_core::plan::cluster::check::check;
use tenantd_core::plan::cluster::{Hosts, Misfit, Shell, cib, text};
use tenantd_core::plan::model::Plan;

use super::{differs, read};

fn plan(name: &str) -> Plan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cluster");
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    read(name, text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn hosts(local: &[&str], sizes: &[&str]) -> Hosts {
    Hosts {
        local: local.iter().map(|typed| typed.parse().unwrap()).collect(),
        sizes: sizes.iter().map(|typed| typed.parse().unwrap()).collect(),
    }
}

#[test]
fn manifests_give_commands_for_pacemaker() {
    let told = hosts(&["h1=bolt"], &["h2=64GiB,16", "h1=32GiB,8"]);
    let mut wrong = Vec::new();
    for (file, name, hosts) in [
        ("wiki", "wiki", &hosts(&["h1=bolt"], &[])),
        ("wiki-hosts", "wiki", &told),
        ("9", "9", &Hosts::default()),
    ] {
        for (shell, end) in [(Shell::Crm, "crm"), (Shell::Pcs, "pcs")] {
            let said = text(&plan(name), shell, hosts).unwrap();
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("tests/golden/cluster/{file}.{end}"));
            if differs(&path, &said) {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
}

#[test]
fn what_is_said_of_hosts_must_fit_the_manifest() {
    let refused = |local: &[&str], sizes: &[&str]| {
        text(&plan("wiki"), Shell::Crm, &hosts(local, sizes)).unwrap_err()
    };
    let name = |name: &str| name.parse().unwrap();
    assert_eq!(
        refused(&["h1=nobody"], &[]),
        Misfit::Unknown(name("nobody"))
    );
    assert_eq!(refused(&["h1=here"], &[]), Misfit::Unknown(name("here")));
    let twice = Misfit::LocalTwice(name("bolt"));
    assert_eq!(refused(&["h1=bolt", "h2=bolt"], &[]), twice);
    // The manifest says whose data is on one host, and the operator on which.
    assert_eq!(refused(&[], &[]), Misfit::NoHost(name("bolt")));
    let shared = Misfit::NotLocal(name("acme"), "shared");
    assert_eq!(refused(&["h1=acme,bolt"], &[]), shared);
    let twice = Misfit::SizeTwice("h1".parse().unwrap());
    assert_eq!(
        refused(&["h1=bolt"], &["h1=1GiB,1", "h2=1GiB,1", "h1=1GiB,2"]),
        twice
    );
    let mut none = plan("wiki");
    none.tenants.retain(|tenant| tenant.name.as_str() == "here");
    let said = text(&none, Shell::Pcs, &Hosts::default());
    assert_eq!(said, Err(Misfit::NoTenant("wiki".to_owned())));
}

/// `tests/golden/cluster/NAME.cib` is what a cluster has, and `NAME.findings` what of it is not as `wiki.toml` wants it.
/// `after-crm` and `after-pcs` are what both shells made of the same manifest.
#[test]
fn clusters_are_compared_with_the_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cluster");
    let told = hosts(&["h1=bolt"], &["h2=64GiB,16", "h1=32GiB,8"]);
    let mut wrong = Vec::new();
    for (file, hosts) in [
        ("after-crm", &told),
        ("after-pcs", &told),
        ("wrong", &told),
        ("empty", &hosts(&["h1=bolt"], &[])),
    ] {
        let text = fs::read_to_string(folder.join(format!("{file}.cib"))).unwrap();
        let found = cib::read(&text).unwrap();
        let findings = check(&plan("wiki"), Shell::Crm, hosts, &found).unwrap();
        let said: String = findings
            .iter()
            .map(|it| {
                format!(
                    "{}: {}: {}\n  {}\n",
                    it.subject,
                    it.kind.word(),
                    it.found,
                    it.fix
                )
            })
            .collect();
        let path = folder.join(format!("{file}.findings"));
        if differs(&path, &said) {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
    for other in ["", "<cib/>", "<a><configuration/></a>", "<cib"] {
        assert!(cib::read(other).is_err(), "{other:?}");
    }
}
