//! What a launch fails on is found in the manifest.

use tenantd_core::manifest::Source;
use tenantd_core::plan::diff::{Changes, Unlaunchable};
use tenantd_core::plan::facts::{ProgramFact, Table, User};
use tenantd_core::plan::places::Places;
use tenantd_core::plan::{self, changes, model::Plan};
use tenantd_core::stage::{Failure, Stage};

const MANIFEST: &str = r#"[app]
name = "wiki"
command = ["/opt/wiki/wiki", "--port", "80"]
user = "nobody"
working_directory = "/srv/{app}"
private = ["/var/cache/wiki", "/var/spool/wiki"]
shared = ["/srv/shared"]
visible = ["/run/mysqld"]
[app.datastore]
path = "/var/lib/wiki"
folders = ["/etc/wiki", { path = "/var/lib/{app}-plugins", template = "{manifest_dir}/plugins" }]
[network]
mode = "routed"
subnet = "10.77.0.0/24"
[tenants]
acme = { ip = "10.77.0.11" }
bolt = { ip = "10.77.0.12", datastore = "/disk/wiki/bolt", user = "root" }
"#;

fn source() -> Source {
    Source {
        name: "wiki.toml".to_owned(),
        folder: "/srv/app".into(),
        text: MANIFEST.to_owned(),
    }
}

fn plan() -> Plan {
    let program = "/opt/wiki/wiki";
    let user = |name: &str, uid| User {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: "/".to_owned(),
    };
    let host = Table {
        users: vec![user("root", 0), user("nobody", 65534)],
        programs: [(program.into(), ProgramFact::Executable(program.into()))].into(),
        ..Table::default()
    };
    plan::read(&source(), &host).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The text that is underlined for a failure of a tenant.
fn found(tenant: &str, stage: Stage, object: &str) -> String {
    let plan = plan();
    let tenant = plan.tenants.iter().find(|it| it.name.as_str() == tenant);
    let failure = Failure::errno(stage, object, libc::ENOENT);
    let Some(place) = Places::of(&source()).find(tenant.unwrap(), &failure) else {
        return "-".to_owned();
    };
    let line = place.excerpt.lines().last().unwrap();
    let length = line.chars().filter(|char| *char == '^').count();
    let text = MANIFEST.lines().nth(place.line as usize - 1).unwrap();
    text.chars()
        .skip(place.column as usize - 1)
        .take(length)
        .collect()
}

/// A tenant, the stage and object of its failure, and what is underlined.
const TABLE: &[(&str, Stage, &str, &str)] = &[
    (
        "acme",
        Stage::Program,
        "/opt/wiki/wiki",
        "\"/opt/wiki/wiki\"",
    ),
    ("acme", Stage::Exec, "/opt/wiki/wiki", "\"/opt/wiki/wiki\""),
    (
        "acme",
        Stage::WorkingDirectory,
        "/srv/wiki",
        "\"/srv/{app}\"",
    ),
    (
        "acme",
        Stage::Private,
        "/var/spool/wiki",
        "\"/var/spool/wiki\"",
    ),
    ("acme", Stage::Shared, "/srv/shared", "\"/srv/shared\""),
    ("acme", Stage::Visible, "/run/mysqld", "\"/run/mysqld\""),
    ("acme", Stage::Missing, "/var/spool", "\"/var/spool/wiki\""),
    ("acme", Stage::Attach, "/var/lib/wiki", "\"/var/lib/wiki\""),
    (
        "acme",
        Stage::Attach,
        "/var/lib/wiki-plugins",
        "\"/var/lib/{app}-plugins\"",
    ),
    ("acme", Stage::Tree, "/etc/wiki", "\"/etc/wiki\""),
    (
        "acme",
        Stage::Datastore,
        "/srv/app/plugins",
        "\"{manifest_dir}/plugins\"",
    ),
    (
        "acme",
        Stage::Datastore,
        "/var/lib/tenantd/wiki/acme/etc/wiki",
        "\"/etc/wiki\"",
    ),
    (
        "acme",
        Stage::Datastore,
        "/var/lib/tenantd/wiki/acme",
        "acme",
    ),
    (
        "bolt",
        Stage::Datastore,
        "/disk/wiki/bolt",
        "\"/disk/wiki/bolt\"",
    ),
    ("bolt", Stage::Datastore, "/disk", "\"/disk/wiki/bolt\""),
    // Another tenant's datastore is what has to be hidden.
    ("acme", Stage::Hide, "/disk/wiki", "\"/disk/wiki/bolt\""),
    ("acme", Stage::User, "nobody", "\"nobody\""),
    ("bolt", Stage::Groups, "0", "\"root\""),
    ("acme", Stage::Clone, "", "-"),
    ("acme", Stage::Netns, "", "-"),
];

#[test]
fn each_stage_leads_to_its_key() {
    for &(tenant, stage, object, expected) in TABLE {
        assert_eq!(found(tenant, stage, object), expected, "{stage} {object}");
    }
}

#[test]
fn a_place_is_shown_once_for_all_tenants() {
    let plan = plan();
    let places = Places::of(&source());
    let failure = Failure::errno(Stage::Exec, "/opt/wiki/wiki", libc::ENOEXEC);
    let failed = plan.tenants.iter();
    let failed = failed.map(|tenant| Unlaunchable::new(tenant, &failure, &places));
    let changes = Changes {
        unlaunchable: failed.collect(),
        ..Changes::default()
    };
    let why = "could not be launched: cannot execute the program /opt/wiki/wiki: Exec format error \
               (ENOEXEC) [the file is not a program: a script needs #! in its first line]";
    assert_eq!(
        changes::unlaunchable(&changes),
        format!(
            "acme {why}
 --> wiki.toml:3:12
  |
3 | command = [\"/opt/wiki/wiki\", \"--port\", \"80\"]
  |            ^^^^^^^^^^^^^^^^
bolt {why}"
        )
    );
}
