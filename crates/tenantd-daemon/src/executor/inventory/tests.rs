//! The users of tenants, counted.

use std::path::PathBuf;

use tenantd_core::manifest::Source;
use tenantd_core::plan::facts::{ProgramFact, Table, User};

use super::*;

/// The plans of tenants with these users.
fn plans(tenants: &[(&str, &str)]) -> Vec<Arc<TenantPlan>> {
    let program = PathBuf::from("/srv/program");
    let user = |(name, uid): (&str, u32)| User {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: "/".to_owned(),
    };
    let host = Table {
        users: [("root", 0), ("wiki", 40), ("shop", 41)].map(user).into(),
        programs: [(program.clone(), ProgramFact::Executable(program))].into(),
        ..Table::default()
    };
    let lines = tenants.iter().zip(11..).map(|((tenant, user), address)| {
        format!("{tenant} = {{ ip = \"10.77.0.{address}\", user = \"{user}\" }}\n")
    });
    let source = Source {
        name: "app.toml".to_owned(),
        folder: "/srv".into(),
        text: "[app]\nname = \"app\"\nuser = \"wiki\"\ncommand = [\"/srv/program\"]\n\
               datastore.path = \"/srv/data\"\n[tenants]\n"
            .to_owned()
            + &lines.collect::<String>(),
    };
    match tenantd_core::plan::read(&source, &host) {
        Ok(plan) => plan.tenants.into_iter().map(Arc::new).collect(),
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

/// Which of the users of `plans` several tenants have, one way and another.
fn shared(inventory: &Inventory) -> [bool; 2] {
    let found = [40, 41].map(|uid| inventory.is_shared_user(uid));
    let users = |uid| {
        let all = inventory
            .planned()
            .filter(|plan| plan.launch.identity.uid == uid);
        all.count()
    };
    assert_eq!(found, [40, 41].map(|uid| users(uid) > 1));
    found
}

#[test]
fn a_user_is_shared_as_long_as_two_tenants_of_the_manifest_have_it() {
    let both = plans(&[("acme", "wiki"), ("bolt", "wiki")]);
    let mut inventory = Inventory::open(&both);
    assert_eq!(shared(&inventory), [true, false]);
    assert!(inventory.is_shared_user(0));
    let other = plans(&[("acme", "wiki"), ("bolt", "shop")]);
    for effect in [Effect::Relaunch, Effect::Live] {
        inventory.replan(&other[1], effect);
        assert_eq!(shared(&inventory), [false, false]);
        inventory.replan(&both[1], effect);
        assert_eq!(shared(&inventory), [true, false]);
        inventory.entry(&both[1].name).unwrap().use_next_plan();
        assert_eq!(shared(&inventory), [true, false]);
    }
    inventory.mark_removed(&both[0].name);
    inventory.mark_removed(&both[0].name);
    assert_eq!(shared(&inventory), [false, false]);
    inventory.replan(&both[0], Effect::Live);
    assert_eq!(shared(&inventory), [true, false]);
    inventory.add(&both[0]);
    inventory.mark_removed(&both[0].name);
    inventory.remove(&both[0].name);
    assert_eq!(shared(&inventory), [false, false]);
    inventory.add(&both[0]);
    assert_eq!(shared(&inventory), [true, false]);
}
