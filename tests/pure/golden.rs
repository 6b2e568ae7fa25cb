//! Golden files: `tests/golden/NAME.toml` has the output `NAME.plan` if it is valid, and
//! `NAME.problems` otherwise, and so has each of `tests/golden/mistakes`. `tests/golden/changes/NAME.toml` has the outputs `NAME.changes` and
//! `NAME.json`, and
//! `tests/golden/fingerprints/NAME.toml` the lines of `pinned` that begin with NAME.
//!
//! `UPDATE=1 cargo test --test pure golden` updates the files; then read the diff.

mod cluster;
mod fingerprints;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tenantd_core::manifest::{self, Source, problem::Problems};
use tenantd_core::plan::facts::{
    Bridge, Ceilings, Claim, Claimant, HostAddress, Parent, ParentKind, ProgramFact, Table,
    TextFact, User,
};
use tenantd_core::plan::{
    self, diff,
    model::{Bound, Plan},
};

/// A network that the host routes to another link.
fn claim(network: &str) -> Claim {
    Claim {
        network: network.parse().unwrap(),
        by: Claimant::Route {
            interface: Some("wg0".to_owned()),
            table: 254,
            mark: None,
            is_first: false,
        },
    }
}

/// A host that is the same on every machine.
fn host() -> Table {
    let user = |name: &str, uid, home: &str| User {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: home.to_owned(),
    };
    let executable = |path: &str| (path.into(), ProgramFact::Executable(path.into()));
    let address = |interface: &str, network: &str| HostAddress {
        interface: interface.to_owned(),
        network: network.parse().unwrap(),
    };
    Table {
        users: vec![
            user("root", 0, "/root"),
            user("nobody", 65534, "/nonexistent"),
            user("www-data", 33, "/var/www"),
            user("redis", 106, "/var/lib/redis"),
        ],
        groups: vec![("www-data".to_owned(), 33), ("ssl-cert".to_owned(), 110)],
        memberships: vec![("www-data".to_owned(), 110)],
        programs: [
            executable("/srv/app/target/release/examples/guestbook"),
            executable("/opt/guestbook/guestbook"),
            executable("/usr/bin/redis-server"),
            // As on distributions where /sbin is a symbolic link.
            (
                "/sbin/wiki".into(),
                ProgramFact::Executable("/usr/sbin/wiki".into()),
            ),
            ("/etc/passwd".into(), ProgramFact::NotExecutable),
            ("/usr/bin".into(), ProgramFact::NoFile),
        ]
        .into(),
        mtu: None,
        given: [("kept", "10.77.0.99"), ("former", "10.77.0.98")]
            .map(|(name, address)| (name.parse().unwrap(), vec![address.parse().unwrap()]))
            .into(),
        texts: templates(),
        ceilings: Ceilings {
            open_files: Bound::Number(1_048_576),
            locked_memory: Bound::Number(1 << 30),
            ..Ceilings::default()
        },
        parents: parents(),
        claims: ["10.90.0.0/16", "fd00:91::/48"].map(claim).into(),
        addresses: vec![
            address("lo", "127.0.0.1/8"),
            address("wan0", "192.0.2.10/24"),
            address("lan0", "10.20.0.5/16"),
            address("br0", "10.31.0.1/16"),
            address("lan0", "fd00:91::5/80"),
            // Another application's hub, and this one's own from an earlier run.
            address("tg0123456789ab", "10.99.0.1/24"),
            address("tg257df4793555", "10.78.0.1/24"),
        ],
    }
}

/// Files of this host that are templates.
fn templates() -> BTreeMap<PathBuf, TextFact> {
    let text = |name: &str, text: &str| {
        let path = Path::new("/srv/app").join(name);
        (path, TextFact::Text(text.to_owned()))
    };
    let nginx = "server {\n    listen {ip}:80;\n    location ~ ^/[a-z]{1,3}$ { root ${HOME}; }\n}\n\
                 # {vars.colour} of {{tenant}} {}\n";
    [
        text("nginx.conf.in", nginx),
        text(
            "wrong.in",
            "ü {tennant}\n{vars.colour}{vars.none} {vars.A}\n  {gatewai}",
        ),
        ("/srv/app/folder".into(), TextFact::NoFile),
        ("/srv/app/large".into(), TextFact::TooLarge),
        ("/srv/app/latin1".into(), TextFact::NotUtf8 { line: 7 }),
        (
            "/srv/app/secret".into(),
            TextFact::Unknown(nix::errno::Errno::EACCES),
        ),
    ]
    .into()
}

fn read(name: &str, text: String) -> Result<Plan, Problems> {
    let source = Source {
        name: name.to_owned(),
        folder: "/srv/app".into(),
        text,
    };
    plan::read(&source, &host())
}

/// Compares with the file, or updates it. Returns whether it differed.
fn differs(path: &Path, said: &str) -> bool {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, said).unwrap();
        return false;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == said {
        return false;
    }
    eprintln!(
        "--- {} says\n{expected}\n--- now it is\n{said}",
        path.display()
    );
    true
}

/// The interfaces that a parent or a bridge may name.
fn parents() -> std::collections::BTreeMap<String, Parent> {
    [
        ("lan0", 9000, ParentKind::Ethernet),
        ("wg0", 1420, ParentKind::Other),
        ("wlan0", 1500, ParentKind::Wireless),
        ("eth1", 1500, ParentKind::Port("br0".to_owned())),
        ("br0", 1500, bridge(2, Some(1))),
        ("br1", 1500, bridge(2, Some(0))),
        ("br2", 1500, bridge(1022, None)),
    ]
    .map(|(name, mtu, kind)| (name.to_owned(), Parent { mtu, kind }))
    .into()
}

/// A bridge with ports of others, and one of a tenant that runs.
fn bridge(others: usize, vlan: Option<u16>) -> ParentKind {
    let mut ports = vec![String::new(); others];
    ports.push("tenantd:wiki/acme".to_owned());
    ParentKind::Bridge(Bridge { ports, vlan })
}

/// The manifests of a folder below `tests/golden`.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut manifests: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    manifests.sort();
    manifests
}

#[test]
fn manifests_give_plans_or_problems() {
    let mut manifests = manifests("tests/golden");
    assert!(manifests.len() > 5);
    // Each of these is a mistake of a person who writes the first manifest.
    let mistakes = self::manifests("tests/golden/mistakes");
    assert!(mistakes.len() >= 30);
    manifests.extend(mistakes);
    let mut wrong = Vec::new();
    for path in &manifests {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let (said, extension, other) = match read(name, text) {
            Ok(plan) => (plan::render::text(&plan), "plan", "problems"),
            Err(problems) => (problems.render(false), "problems", "plan"),
        };
        assert!(
            !path.with_extension(other).exists(),
            "{name} now gives a .{extension}: remove its .{other}\n{said}"
        );
        if differs(&path.with_extension(extension), &said) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
}

/// A line that is no TOML causes no problem in other lines: what it may have said is not known.
#[test]
fn a_line_that_cannot_be_parsed_causes_no_problem_elsewhere() {
    let mut damaged = 0;
    let example = include_str!("../../tenants.example.toml");
    for base in [example, include_str!("../golden/full.toml")] {
        for (at, _) in base.char_indices().step_by(3) {
            let mut text = base.to_owned();
            text.remove(at);
            let problems = read("test.toml", text).err();
            let is_syntax = |message: &str| message.starts_with("invalid TOML: ");
            let Some(problems) = problems.filter(|p| p.iter().any(|p| is_syntax(&p.message)))
            else {
                continue;
            };
            damaged += 1;
            let line = 1 + base[..at].matches('\n').count();
            for problem in problems.iter().filter(|p| !is_syntax(&p.message)) {
                assert!(problem.line.abs_diff(line) <= 1, "{at}: {problems}");
            }
        }
    }
    assert!(damaged > 100, "{damaged}");
}

#[test]
fn pairs_of_manifests_give_changes() {
    assert!(compare_with_before("tests/golden/changes") > 8);
}

#[test]
fn changes_of_folders_say_what_becomes_of_each() {
    assert!(compare_with_before("tests/golden/changes-of-folders") > 5);
}

#[test]
fn changes_of_files_show_the_difference() {
    assert!(compare_with_before("tests/golden/changes-of-files") > 5);
}

/// Compares each manifest of the folder with `before.toml`. Returns how many there are.
fn compare_with_before(folder: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let plan = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        read(name, text).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let before = plan("before.toml");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".toml") {
            continue;
        }
        count += 1;
        let changes = diff::diff(&before, &plan(&name));
        let said = plan::changes::text(&changes);
        let json = serde_json::to_string_pretty(&plan::changes::json(&changes)).unwrap() + "\n";
        let path = folder.join(&name);
        let text_differs = differs(&path.with_extension("changes"), &said);
        if differs(&path.with_extension("json"), &json) || text_differs {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not as expected: {wrong:?}");
    count
}

/// A plan's JSON has the names of the manifest's keys.
#[test]
fn the_json_of_a_plan_has_the_keys_of_the_manifest() {
    use manifest::reference::{Key, Table};
    let text = include_str!("../golden/full.toml");
    let plan = read("full.toml", text.to_owned()).unwrap();
    let json = plan::data::plan(&plan);
    assert_eq!(json["total"]["pids"]["max"], 10_000);
    let tenant = &json["tenants"][0];
    // A tenant is ready by one of these; `arguments` are part of `command`; a datastore has only
    // the folder that is made.
    // `uids` says which numbers are recorded for `user`; `uid` and `gid` of a datastore are those of `owner`, which
    // may be seen as others. Only mode macvlan has a `parent`, and only mode routed an `uplink`. `total` is beside the
    // tenants.
    let alternatives = [
        "parent",
        "bridge",
        "uplink",
        "total",
        "tcp",
        "notify",
        "lived",
        "arguments",
        "root",
        "name",
        "uids",
        "owner",
        "seen_as",
    ];
    for (table, object) in [
        (Table::App, tenant),
        (Table::Datastore, &tenant["datastore"]),
        (Table::Init, &tenant["init"]),
        (Table::Before, &tenant["before"]),
        (Table::Stop, &tenant["stop"]),
        (Table::Restart, &tenant["restart"]),
        (Table::Ready, &tenant["ready"]),
        (Table::Alive, &tenant["alive"]),
        (Table::Reload, &tenant["reload"]),
        (Table::Limits, &tenant["limits"]),
        (Table::Wall, &tenant["wall"]),
        (Table::Network, &json["network"]),
        (Table::Defaults, tenant),
        (Table::Tenant, tenant),
    ] {
        let is_alternative = |key: &Key| {
            let of_alive = table == Table::Alive && key.name == "command";
            let of_reload = table == Table::Reload && key.name == "signal";
            of_alive || of_reload || alternatives.contains(&key.name)
        };
        for key in Key::of(table).filter(|key| !is_alternative(key)) {
            assert!(
                !object[key.name].is_null(),
                "{} {}",
                table.header(),
                key.name
            );
        }
    }
}

#[test]
fn the_example_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tenants.example.toml")).unwrap();
    let plan = read("tenants.example.toml", text).unwrap_or_else(|p| panic!("{p}"));
    let said = plan::render::text(&plan);
    assert!(!differs(&root.join("tests/golden/example.plan"), &said));
    let json = plan::data::plan(&plan);
    let tenant = &json["tenants"][1];
    assert_eq!(tenant["ip"], "10.77.0.12");
    assert_eq!(tenant["addresses"], serde_json::json!(["10.77.0.12"]));
    let json = serde_json::to_string_pretty(&json).unwrap() + "\n";
    assert!(!differs(&root.join("tests/golden/example.json"), &json));
}

#[test]
fn the_reference_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stale = differs(&root.join("docs/manifest.md"), &manifest::markdown());
    assert!(!stale, "UPDATE=1 cargo test --test pure golden");
}
