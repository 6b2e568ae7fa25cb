//! What tenants are given, and that they keep it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::manifest::Source;
use crate::name::TenantName;
use crate::plan::facts::{ProgramFact, Table, User};

type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// The addresses of the tenants with these names and values of `ip`, with those that are recorded.
fn given(subnets: &str, recorded: &Addresses, tenants: &[(&str, &str)]) -> Addresses {
    let lines = tenants
        .iter()
        .map(|(name, ip)| format!("{name} = {{ ip = {ip} }}\n"));
    let text = format!(
        "[app]\nname = \"wiki\"\nuser = \"root\"\ncommand = [\"/sbin/wiki\"]\n[network]\n{subnets}\n\
         [tenants]\n{}",
        lines.collect::<String>()
    );
    let name = |name: &String| name.parse::<TenantName>().unwrap();
    let recorded = recorded
        .iter()
        .map(|(it, addresses)| (name(it), addresses.clone()));
    let host = Table {
        users: vec![User {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            home: "/root".to_owned(),
        }],
        programs: [(
            "/sbin/wiki".into(),
            ProgramFact::Executable("/sbin/wiki".into()),
        )]
        .into(),
        given: recorded.collect(),
        ..Table::default()
    };
    let source = Source {
        name: "a.toml".to_owned(),
        folder: "/srv".into(),
        text,
    };
    let plan =
        crate::plan::read(&source, &host).unwrap_or_else(|why| panic!("{}", why.render(false)));
    let of = |(name, given): (&TenantName, &crate::plan::address::Addresses)| {
        (name.to_string(), given.iter().collect())
    };
    plan.given.iter().map(of).collect()
}

const BOTH: &str = "subnet6 = \"fd00:77::/64\"";

#[test]
fn what_was_given_is_kept_whatever_comes_and_goes() {
    let names: Vec<String> = (0..200).map(|n| format!("t{n}")).collect();
    let mut recorded = Addresses::new();
    for count in 1..=names.len() {
        // The newest comes first.
        let tenants: Vec<(&str, &str)> = names[..count]
            .iter()
            .rev()
            .map(|name| (name.as_str(), "\"auto\""))
            .collect();
        let now = given(BOTH, &recorded, &tenants);
        for (name, addresses) in &recorded {
            assert_eq!(&now[name], addresses, "{name}");
        }
        recorded = now;
    }
    let mut all: Vec<IpAddr> = recorded.values().flatten().copied().collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 400);
    // One that was removed gets its own again.
    let one = given(BOTH, &recorded, &[("t7", "\"auto\"")]);
    assert_eq!(one["t7"], recorded["t7"]);
    // Without a record, nearly all get the same ones.
    let tenants: Vec<(&str, &str)> = names[..20]
        .iter()
        .map(|it| (it.as_str(), "\"auto\""))
        .collect();
    let again = given(BOTH, &Addresses::new(), &tenants);
    let same = again
        .iter()
        .filter(|(name, addresses)| recorded[*name] == **addresses);
    assert!(same.count() > 15, "{again:?}");
}

#[test]
fn former_tenants_keep_theirs_as_long_as_others_are_free() {
    let subnet = "subnet = \"10.77.0.0/29\"";
    let former: IpAddr = "10.77.0.4".parse().unwrap();
    let mut recorded = Addresses::from([("former".to_owned(), vec![former])]);
    for name in ["a", "b", "c", "d"] {
        let now = given(subnet, &recorded, &[(name, "\"auto\"")]);
        assert_ne!(now[name], [former]);
        recorded.extend(now);
    }
    let all: Vec<(&str, &str)> = ["a", "b", "c", "d", "e"].map(|it| (it, "\"auto\"")).into();
    assert_eq!(given(subnet, &recorded, &all)["e"], [former]);
}

#[test]
fn what_is_written_counts_more() {
    let recorded = Addresses::from([("a".to_owned(), vec!["10.77.0.9".parse().unwrap()])]);
    let tenants = [
        ("a", "[\"10.77.0.5\", \"auto\"]"),
        ("b", "[\"auto\", \"fd00:77::9\"]"),
    ];
    let now = given(BOTH, &recorded, &tenants);
    assert!(
        now["a"].iter().all(IpAddr::is_ipv6) && now["a"].len() == 1,
        "{now:?}"
    );
    assert!(
        now["b"].iter().all(IpAddr::is_ipv4) && now["b"].len() == 1,
        "{now:?}"
    );
    // Another subnet: the record is of no use.
    let now = given("subnet = \"10.78.0.0/24\"", &recorded, &[("a", "\"auto\"")]);
    assert!(now["a"][0].to_string().starts_with("10.78.0."), "{now:?}");
}
