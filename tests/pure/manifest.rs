//! Properties of the manifest reader: it never panics, its cost is linear in the size of the
//! manifest, and it accepts exactly what the reference describes.

use std::fmt::Write;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use tenantd_core::manifest::{self, Source, problem::Problems, reference};
use tenantd_core::plan::facts::{ProgramFact, Table, User};
use tenantd_core::plan::{self, model::Plan};

const EXAMPLE: &str = include_str!("../../tenants.example.toml");
const FULL: &str = include_str!("../golden/full.toml");

fn read(text: &str) -> Result<Plan, Problems> {
    let program = "/opt/guestbook/guestbook";
    let host = Table {
        users: ["root", "nobody"]
            .map(|name| User {
                name: name.to_owned(),
                uid: 65534,
                gid: 65534,
                home: "/".to_owned(),
            })
            .into(),
        programs: [(program.into(), ProgramFact::Executable(program.into()))].into(),
        ..Table::default()
    };
    let source = Source {
        name: "test.toml".to_owned(),
        folder: "/srv/app".into(),
        text: text.to_owned(),
    };
    plan::read(&source, &host)
}

fn messages(text: &str) -> Vec<String> {
    let problems = read(text).err();
    let problems = problems.iter().flatten();
    problems.map(|problem| problem.message.clone()).collect()
}

/// The example manifest with other tenants.
fn with_tenants(count: u32, mut line: impl FnMut(u32) -> String) -> String {
    let (head, _) = EXAMPLE.split_once("[tenants]").unwrap();
    let mut text = head.replace("10.77.0.0/24", "10.64.0.0/10");
    text.push_str("[tenants]\n");
    for number in 0..count {
        let _ = writeln!(text, "{}", line(number));
    }
    text
}

fn address(number: u32) -> std::net::Ipv4Addr {
    (u32::from(std::net::Ipv4Addr::new(10, 64, 0, 2)) + number).into()
}

/// With each of these, a program leaves its tenant.
const DANGEROUS: [&str; 17] = [
    "audit_control",
    "audit_read",
    "bpf",
    "checkpoint_restore",
    "dac_read_search",
    "ipc_owner",
    "mac_admin",
    "mac_override",
    "mknod",
    "net_admin",
    "perfmon",
    "sys_admin",
    "sys_boot",
    "sys_module",
    "sys_ptrace",
    "sys_rawio",
    "sys_time",
];

#[test]
fn a_dangerous_capability_is_refused() {
    for name in DANGEROUS {
        let text = EXAMPLE.replace(
            "[app]",
            &format!("[app]\nwall.capabilities = [\"chown\", \"{name}\"]"),
        );
        let refused = format!("no tenant can have CAP_{}", name.to_uppercase());
        assert_eq!(messages(&text), [refused], "{name}");
        let allowed = text.replace(&format!(", \"{name}\""), "");
        assert_eq!(messages(&allowed), [""; 0]);
    }
}

#[test]
fn a_manifest_of_ten_thousand_tenants_is_read() {
    let text = with_tenants(10_000, |n| format!("t{n} = {{ ip = \"{}\" }}", address(n)));
    let plan = read(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan.tenants.len(), 10_000);
    assert_eq!(plan.tenants[9_999].name.as_str(), "t9999");
}

#[test]
fn variables_of_ten_thousand_tenants_are_checked() {
    // As below: comparing each tenant with each would take much longer.
    let start = std::time::Instant::now();
    let text = |missing: u32| {
        with_tenants(10_000, |n| {
            let vars = match n < missing {
                true => "",
                false => ", vars = { own = \"x\" }",
            };
            let ip = address(n);
            format!("t{n} = {{ ip = \"{ip}\", environment = {{ A = \"{{vars.own}}\" }}{vars} }}")
        })
    };
    let plan = read(&text(0)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan.tenants[9_999].vars["own"], "x");
    assert_eq!(messages(&text(5_000)).len(), 5_000);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn problems_of_ten_thousand_tenants_are_reported() {
    // All share one datastore, every second one an address; all of it is reported and can be
    // rendered. The limit of time is a hundred times what is needed, and a hundredth of what
    // comparing each with each would take.
    let start = std::time::Instant::now();
    let text = with_tenants(10_000, |n| {
        format!(
            "t{n} = {{ ip = \"{}\", datastore = \"one\" }}",
            address(n / 2)
        )
    });
    let problems = read(&text).unwrap_err();
    assert_eq!(problems.len(), 9_999 + 5_000);
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert!(lines.is_sorted());
    assert!(problems.render(false).ends_with("14999 problems\n"));
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn tenants_beyond_the_ports_of_a_bridge_are_refused() {
    let bridge = |count| {
        let text = with_tenants(count, |n| format!("t{n} = {{ ip = \"{}\" }}", address(n)));
        messages(&text.replace("[network]", "[network]\nmode = \"bridge\""))
    };
    assert_eq!(bridge(1_023), Vec::<String>::new());
    assert_eq!(
        bridge(1_024),
        ["a bridge has room for 1023 tenants, not 1024"]
    );
}

/// A manifest with only one key of the reference, set to its example.
fn with_key(key: &reference::Key) -> String {
    let usage = key.usage();
    match key.table {
        reference::Table::Top => usage,
        reference::Table::Tenant => format!("[tenants.acme]\n{usage}"),
        table => format!("{}\n{usage}", table.header()),
    }
}

#[test]
fn every_key_of_the_reference_is_read_and_has_a_valid_example() {
    for key in reference::Key::all() {
        let said = messages(&with_key(key)).join("\n");
        let other = with_key(key).replace(key.example, "2001-01-01");
        let wrong = messages(&other).join("\n");
        assert!(!said.contains("unknown key"), "{}: {said}", key.name);
        assert!(!said.contains("must be a"), "{}: {said}", key.name);
        assert!(!said.contains("must be between"), "{}: {said}", key.name);
        assert!(wrong.contains("not a date"), "{}: {wrong}", key.name);
    }
}

#[test]
fn the_schema_has_every_key() {
    let schema = manifest::schema();
    for key in reference::Key::all() {
        let mut table = &schema;
        if key.table == reference::Table::Tenant {
            table = &schema["properties"]["tenants"]["additionalProperties"];
        } else if key.table != reference::Table::Top {
            for part in key.table.header().trim_matches(['[', ']']).split('.') {
                table = &table["properties"][part];
            }
            if [reference::Table::Folder, reference::Table::Private].contains(&key.table) {
                table = &table["items"]["anyOf"][1];
            } else if [reference::Table::File, reference::Table::Operator].contains(&key.table) {
                table = &table["items"];
            }
        }
        let property = &table["properties"][key.name];
        assert_eq!(property["description"], key.doc, "{}", key.name);
        if let reference::Fallback::Value(text) = key.fallback {
            let stated: toml::Table = toml::from_str(&format!("value = {text}")).unwrap();
            let stated = serde_json::to_value(&stated["value"]).unwrap();
            assert_eq!(property["default"], stated, "{}", key.name);
        }
        assert_eq!(table["additionalProperties"], false);
    }
}

#[test]
fn explicit_defaults_give_the_same_plan() {
    let least = "[app]\nname = \"wiki\"\nuser = \"root\"\ncommand = \
                 [\"/opt/guestbook/guestbook\"]\n[app.datastore]\npath = \"/d\"\n";
    let tenant = "[tenants]\na = { ip = \"10.77.0.11\" }\n";
    let mut whole: toml::Table = toml::from_str(&format!("{least}{tenant}")).unwrap();
    for key in reference::Key::all() {
        let reference::Fallback::Value(text) = key.fallback else {
            continue;
        };
        let stated: toml::Table = toml::from_str(&format!("value = {text}")).unwrap();
        let mut table = &mut whole;
        if key.table != reference::Table::Top {
            for part in key.table.header().trim_matches(['[', ']']).split('.') {
                let empty = toml::Value::Table(toml::Table::new());
                let part = table.entry(part).or_insert(empty);
                table = part.as_table_mut().unwrap();
            }
        }
        table.entry(key.name).or_insert(stated["value"].clone());
    }
    let said = read(&whole.to_string()).unwrap_or_else(|problems| panic!("{problems}"));
    let unsaid = read(&format!("{least}{tenant}")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(said, unsaid);
}

/// A manifest with a few random changes: text removed, repeated, or replaced by something likely to
/// cause an error.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\"".to_owned()),
        Just("{".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("\n".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("..".to_owned()),
        Just("\u{feff}\u{0}ü\r".to_owned()),
        Just("999999999999999999999999".to_owned()),
        Just("{tenant}".to_owned()),
        Just("[app.datastore]".to_owned()),
        any::<String>(),
    ];
    let changes = proptest::collection::vec((any::<u16>(), 0..40_usize, piece), 0..6);
    let base = prop_oneof![Just(EXAMPLE), Just(FULL), Just("")];
    (base, changes).prop_map(|(base, changes)| {
        let mut text = base.to_owned();
        for (at, len, piece) in changes {
            let start = text.floor_char_boundary(usize::from(at) % (text.len() + 1));
            let end = text.floor_char_boundary((start + len).min(text.len()));
            text.replace_range(start..end.max(start), &piece);
        }
        text
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in damaged()) {
        match read(&text) {
            Ok(plan) => assert!(!plan::render::text(&plan).is_empty()),
            Err(problems) => {
                assert!(!problems.is_empty());
                assert!(!problems.render(true).is_empty());
            }
        }
    }
}
