//! Properties of the difference between any two plans.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::manifest::Source;
use crate::plan::address::Addresses;
use crate::plan::effect::{self, fingerprints};
use crate::plan::facts::{ProgramFact, Table, User};
use crate::plan::fields::Key;
use crate::plan::hash;

fn plan(tenants: &str) -> Plan {
    plan_of("", tenants)
}

/// A plan with these lines in `[app]` and in `[tenants]`.
fn plan_of(app: &str, tenants: &str) -> Plan {
    let user = |name: &str, uid| User {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: "/".to_owned(),
    };
    let program = (
        "/bin/wiki".into(),
        ProgramFact::Executable("/bin/wiki".into()),
    );
    let host = Table {
        users: vec![user("wiki", 7), user("other", 8)],
        programs: [program].into(),
        ..Table::default()
    };
    let text = format!(
        "[app]\nname = \"wiki\"\ncommand = [\"/bin/wiki\"]\nuser = \"wiki\"\n\
         datastore.path = \"/var/lib/wiki\"\n{app}\n[network]\nsubnet = \"10.0.0.0/24\"\n[tenants]\n{tenants}"
    );
    let source = Source {
        name: "m".to_owned(),
        folder: "/etc".into(),
        text,
    };
    crate::plan::read(&source, &host).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Up to five tenants that share no address, in any order, each with some keys of its own.
fn plans() -> impl Strategy<Value = Plan> {
    let keys = [
        "",
        ", user = \"other\"",
        ", arguments = [\"-v\"]",
        ", autostart = false",
        ", environment = { WHO = \"{tenant}\" }",
        ", datastore = \"/data/{tenant}\"",
    ];
    let keys = prop::sample::select(keys.to_vec());
    let app = [
        "",
        "working_directory = \"/srv\"",
        "private = [\"/run/wiki\", \"/tmp\"]",
        "daemonizes = true\nstop.grace = \"1m\"",
        "ready.notify = true\ndatastore.mode = \"0700\"",
    ];
    let app = prop::sample::select(app.to_vec());
    let names = Just(["a", "b", "c", "d", "e"].to_vec()).prop_shuffle();
    let addresses = Just((11..16).collect::<Vec<u8>>()).prop_shuffle();
    let each = (app, names, addresses, prop::collection::vec(keys, 0..=5));
    each.prop_map(|(app, names, addresses, keys)| {
        let lines = names.iter().zip(&addresses).zip(&keys);
        let lines =
            lines.map(|((name, ip), keys)| format!("{name} = {{ ip = \"10.0.0.{ip}\"{keys} }}\n"));
        plan_of(app, &lines.collect::<String>())
    })
}

fn names(plan: &Plan) -> BTreeSet<&TenantName> {
    plan.tenants.iter().map(|tenant| &tenant.name).collect()
}

fn find<'a>(plan: &'a Plan, name: &TenantName) -> Option<&'a TenantPlan> {
    plan.tenants.iter().find(|tenant| tenant.name == *name)
}

proptest! {
    #[test]
    fn equal_plans_have_no_changes(plan in plans()) {
        let changes = diff(&plan, &plan);
        prop_assert!(changes.is_empty(), "{changes:?}");
        prop_assert_eq!(changes.unchanged, plan.tenants.len());
    }

    #[test]
    fn applying_all_changes_gives_the_new_plan(old in plans(), new in plans()) {
        let changes = diff(&old, &new);
        let mut applied: BTreeSet<&TenantName> = names(&old);
        for TenantChange { tenant, change, fields, .. } in &changes.tenants {
            match change {
                Change::Add => prop_assert!(applied.insert(tenant)),
                Change::Remove => prop_assert!(applied.remove(tenant)),
                Change::Reprovision | Change::Relaunch | Change::Live => {
                    prop_assert!(applied.contains(tenant));
                }
            }
            prop_assert!(!fields.is_empty(), "{tenant} changes for no reason");
        }
        prop_assert_eq!(applied, names(&new));
        let changed: BTreeSet<_> = changes.tenants.iter().map(|c| &c.tenant).collect();
        prop_assert_eq!(changed.len(), changes.tenants.len(), "each changes once");
        for name in names(&new).difference(&changed) {
            prop_assert_eq!(find(&old, name), find(&new, name));
        }
        prop_assert!(changes.tenants.is_sorted_by_key(|change| change.change));
    }

    #[test]
    fn nothing_is_taken_before_it_is_released(old in plans(), new in plans()) {
        for TenantChange { tenant, change, after, .. } in diff(&old, &new).tenants {
            let Some(taker) = find(&new, &tenant) else { continue };
            let holder = old.tenants.iter().find(|holder| {
                holder.name != tenant && holder.link.addresses == taker.link.addresses
            });
            match (holder, change) {
                (Some(holder), Change::Add | Change::Reprovision) => {
                    prop_assert!(after.contains(&holder.name));
                }
                (holder, _) => prop_assert!(holder.is_none() && after.is_empty()),
            }
        }
    }

    /// A later field at its default changes no fingerprint, wherever it is listed, so no upgrade
    /// relaunches a tenant because of a key that it does not use.
    #[test]
    fn fields_at_their_default_do_not_change_fingerprints(plan in plans(), at in 0_usize..40) {
        for tenant in &plan.tenants {
            for takes in [Takes::Reprovision, Takes::Relaunch, Takes::Live(Touches::Policy)] {
                let said = Field::new(Key::Later("new"), "new", &"7", takes);
                let with = |new: Field<'_>| effect::of(|see| {
                    let mut listed = 0;
                    fields::tenant(tenant, &mut |field| {
                        if listed == at {
                            see(new);
                        }
                        listed += 1;
                        see(field);
                    });
                    if listed <= at {
                        see(new);
                    }
                });
                let unsaid = Field { at_default: true, ..said };
                prop_assert_eq!(with(unsaid), fingerprints(tenant));
                let effect = Some(takes.effect()).filter(|effect| *effect != Effect::Live);
                prop_assert_eq!(fingerprints(tenant).effect(with(said)), effect);
            }
        }
    }

    /// `diff` reports the same effect that the next supervisor finds by fingerprints.
    #[test]
    fn fingerprints_agree_with_the_diff(old in plans(), new in plans()) {
        for TenantChange { tenant, change, fields, .. } in diff(&old, &new).tenants {
            let (Some(old), Some(new)) = (find(&old, &tenant), find(&new, &tenant)) else {
                continue;
            };
            let found = fingerprints(old).effect(fingerprints(new));
            let uncovered = fields.iter().any(|f| f.field.starts_with("hidden ") && f.after.is_none());
            match (change, found) {
                (Change::Live, Some(Effect::Relaunch)) => prop_assert!(uncovered),
                (Change::Live, found) => prop_assert_eq!(found, None),
                (change, found) => prop_assert_eq!(Some(change), found.map(Change::from)),
            }
        }
    }
}

/// The defaults of `fields` must match the reference. Otherwise a key that is set could be ignored.
#[test]
fn unset_keys_have_their_default() {
    let mut said = Vec::new();
    let plan = plan("a = { ip = \"10.0.0.11\" }");
    fields::tenant(&plan.tenants[0], &mut |field| {
        if !field.at_default {
            said.push(field.name().to_string());
        }
    });
    let without = [
        "address",
        "host end",
        "tenant end",
        "mark",
        "datastore",
        "bound at",
        "made from",
        "if new",
        "program",
        "argument 0",
        "environment HOME",
        "environment LOGNAME",
        "environment PATH",
        "environment USER",
        // The manifest sets one.
        "user",
        "user number",
        "group",
        "groups",
        "hidden /var/lib/tenantd",
    ];
    assert_eq!(said, without);
}

#[test]
fn field_names_are_unique() {
    let app = "private = [\"/run/wiki\", \"/tmp\"]\nenvironment = { A = \"\", B = \"\" }";
    let plan = plan_of(
        app,
        "a = { ip = \"10.0.0.11\", arguments = [\"-v\", \"-v\"] }",
    );
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    fields::tenant(&plan.tenants[0], &mut |field| {
        assert!(ids.insert(field.id().to_string()), "{}", field.id());
        assert!(names.insert(field.name().to_string()), "{}", field.name());
    });
    assert!(
        ids.contains("argument 2") && ids.contains("private /tmp"),
        "{ids:?}"
    );
}

#[test]
fn a_tenant_waits_for_any_of_its_addresses() {
    let old = plan("a = { ip = \"10.0.0.11\" }\nb = { ip = \"10.0.0.12\" }");
    let mut new = plan("c = { ip = \"10.0.0.13\" }");
    let others = vec!["10.0.0.12".parse().unwrap(), "fd00::13".parse().unwrap()];
    let link = &mut new.tenants[0].link;
    link.addresses = Addresses::new(link.addresses.first(), others);
    let name: TenantName = "b".parse().unwrap();
    let changes = diff(&old, &new);
    let added = changes.tenants.last().unwrap();
    assert_eq!(added.after, [name]);
    let shown = added.fields.iter();
    let shown: Vec<_> = shown
        .map(|f| (f.field.as_str(), f.after.as_deref().unwrap()))
        .collect();
    let addresses = [
        ("address", "10.0.0.13/32"),
        ("address 2", "10.0.0.12/32"),
        ("address 3", "fd00::13"),
    ];
    assert_eq!(shown[..3], addresses);
    // Another address is given to it while it runs, and the next supervisor finds the same.
    let one = plan("c = { ip = \"10.0.0.13\" }");
    assert_eq!(diff(&one, &new).tenants[0].change, Change::Live);
    let [one, new] = [&one, &new].map(|plan| fingerprints(&plan.tenants[0]));
    assert_eq!(one.effect(new), None);
}

#[test]
fn a_tenant_does_not_wait_for_an_address_that_is_taken_away_from_a_running_one() {
    let mut old = plan("a = { ip = \"10.0.0.11\" }");
    let link = &mut old.tenants[0].link;
    link.addresses = Addresses::new(link.addresses.first(), vec!["10.0.0.12".parse().unwrap()]);
    let keeps = old.tenants[0].clone();
    let mut new = plan("a = { ip = \"10.0.0.11\" }\nb = { ip = \"10.0.0.12\" }");
    assert_eq!(diff(&old, &new).tenants[1].after, []);
    // It still has the address until it is released.
    let mut moves = keeps;
    moves.link.addresses = "10.0.0.14".parse::<std::net::Ipv4Addr>().unwrap().into();
    new.tenants[0] = moves;
    let a: TenantName = "a".parse().unwrap();
    assert_eq!(diff(&old, &new).tenants[1].after, [a]);
}

#[test]
fn a_tenant_waits_for_a_datastore_inside_its_own() {
    let old = plan("a = { ip = \"10.0.0.11\", datastore = \"/data/all\" }");
    let new = plan("b = { ip = \"10.0.0.12\", datastore = \"/data/all/of/b\" }");
    let name: TenantName = "a".parse().unwrap();
    let waits = |old: &Plan, new: &Plan| diff(old, new).tenants[1].after.clone();
    assert_eq!(waits(&old, &new), [name]);
    let name: TenantName = "b".parse().unwrap();
    assert_eq!(waits(&new, &old), [name]);
    let apart = plan("b = { ip = \"10.0.0.12\", datastore = \"/data/all-of-b\" }");
    assert_eq!(waits(&old, &apart), []);
}

fn hash(old: &Plan, new: &Plan) -> Option<String> {
    hash::of(&diff(old, new), &hash::digests(&new.tenants))
}

#[test]
fn the_hash_covers_what_changes_and_nothing_else() {
    const ACME: &str = "acme = { ip = \"10.0.0.11\" }\n";
    const BETA: &str = "beta = { ip = \"10.0.0.12\" }\n";
    let old = plan(ACME);
    let both = plan(&format!("{ACME}{BETA}"));
    let shown = hash(&old, &both);
    assert_eq!(shown.as_ref().map(String::len), Some(12));
    // Neither the order of the tenants nor one that does not change matters.
    assert_eq!(hash(&old, &plan(&format!("{BETA}{ACME}"))), shown);
    let more = "more = { ip = \"10.0.0.13\" }\n";
    let (with, after) = (format!("{ACME}{more}"), format!("{ACME}{more}{BETA}"));
    assert_eq!(hash(&plan(&with), &plan(&after)), shown);
    // A field of a new tenant that is not shown, such as its user.
    let other = BETA.replace(" }", ", user = \"other\" }");
    assert_ne!(hash(&old, &plan(&format!("{ACME}{other}"))), shown);

    // What changes live counts too, and so does what it was before.
    let [five, six] = ["5s", "6s"].map(|grace| format!("stop.grace = \"{grace}\""));
    let [five, six] = [five, six].map(|grace| plan_of(&grace, ACME));
    let changes = [(&old, &five), (&old, &six), (&five, &six), (&five, &old)];
    let hashes: BTreeSet<_> = changes.iter().map(|(old, new)| hash(old, new)).collect();
    assert_eq!(hashes.len(), 4);
    // No change has a hash too, so that it can be expected.
    assert_eq!(hash(&old, &old), hash(&five, &five));
    assert!(hash(&old, &old).is_some());

    let mut renamed = old.clone();
    renamed.app = "other".parse().unwrap();
    assert_eq!(hash(&old, &renamed), None, "a reload would refuse it");
}

proptest! {
    #[test]
    fn the_hash_tells_changes_apart(old in plans(), one in plans(), other in plans()) {
        let of = |new: &Plan| {
            let changed = diff(&old, new);
            let changed = changed.tenants.iter().map(|change| &change.tenant);
            let plan = |name: &TenantName| new.tenants.iter().find(|plan| plan.name == *name);
            let changed: BTreeMap<_, _> = changed.map(|name| (name.clone(), plan(name).cloned())).collect();
            (hash(&old, new), changed)
        };
        let (one, other) = (of(&one), of(&other));
        prop_assert_eq!(one.0 == other.0, one.1 == other.1);
    }
}
