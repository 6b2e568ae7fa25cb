//! Several folders per tenant, with the distribution's redis-server: its data, and its configuration,
//! which it writes itself (`CONFIG REWRITE`).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place::{self, folder, fresh};
use crate::support::visit::redis;

const HEAD: &str = r#"
[app]
name = "APP"
command = [
    "/usr/bin/redis-server", "/etc/redis/redis.conf",
    "--bind", "{ip}", "--protected-mode", "no", "--daemonize", "no", "--supervised", "systemd",
]
user = "redis"
private = ["/run/redis", "/var/log/redis"]
ready.notify = true

[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }

[app.datastore]
"#;

/// What a client of one tenant writes, in its data and in its configuration.
const MARK: &str = "written-by-acme";

/// A test host with a copy of the distribution's `/etc/redis`, which a tenant could change.
fn host() {
    let conf = fs::read("/etc/redis/redis.conf").unwrap();
    let owner = fs::metadata("/etc/redis").unwrap();
    place::host();
    folder("/run/redis");
    folder("/var/lib/redis");
    fresh("/etc/redis", "mode=2770");
    fs::write("/etc/redis/redis.conf", conf).unwrap();
    for path in ["/var/lib/redis", "/etc/redis", "/etc/redis/redis.conf"] {
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

/// Writes as a client of acme, and lets the server write its data and configuration.
fn write(ip: &str) {
    assert_eq!(redis(ip, &["SET", "mark", MARK]), "+OK");
    assert_eq!(redis(ip, &["SAVE"]), "+OK");
    assert_eq!(redis(ip, &["CONFIG", "SET", "masterauth", MARK]), "+OK");
    assert_eq!(redis(ip, &["CONFIG", "REWRITE"]), "+OK");
}

/// The files below a folder that contain the mark.
fn marked(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(kind) = fs::symlink_metadata(&path) else {
            continue;
        };
        if kind.is_dir() {
            marked(&path, found);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            let mut parts = bytes.windows(MARK.len());
            if parts.any(|part| part == MARK.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
}

fn all_marked() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["/etc/redis", "/var/lib", "/srv", "/run/redis"] {
        marked(Path::new(folder), &mut found);
    }
    found.sort();
    found
}

#[test]
fn what_a_tenant_writes_is_in_its_own_datastore_alone() {
    host();
    let folders = "folders = [\"/var/lib/redis\", \"/etc/redis\"]\n";
    let daemon = Daemon::start_settled(&format!("{HEAD}{folders}"));
    write("10.77.0.11");
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let own = [
        format!("{store}/etc/redis/redis.conf"),
        format!("{store}/var/lib/redis/dump.rdb"),
    ];
    assert_eq!(all_marked(), own);
    assert_eq!(redis("10.77.0.12", &["DBSIZE"]), ":0");
    // It has both after a restart.
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(redis("10.77.0.11", &["GET", "mark"]), MARK);
    assert_eq!(redis("10.77.0.12", &["DBSIZE"]), ":0");
    assert_eq!(all_marked(), own);
}

/// The hole: with one folder and the host as it was before, the configuration is that of all.
#[test]
fn with_one_folder_and_a_writable_host_tenants_share_what_they_write() {
    host();
    let manifest = HEAD.replace("user =", "host = \"writable\"\nuser =");
    let daemon = Daemon::start_settled(&format!("{manifest}path = \"/var/lib/redis\"\n"));
    write("10.77.0.11");
    let store = format!("/var/lib/tenantd/{}/acme/dump.rdb", daemon.app);
    assert_eq!(all_marked(), ["/etc/redis/redis.conf", &store]);
}

#[test]
fn a_reload_converts_a_datastore_and_says_what_becomes_of_it() {
    host();
    let mut daemon = Daemon::start_settled(&format!("{HEAD}path = \"/var/lib/redis\"\n"));
    assert_eq!(redis("10.77.0.11", &["SET", "mark", MARK]), "+OK");
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    // `folders` instead of `path`: where the data belongs is remembered.
    let several = text.replace(
        "path = \"/var/lib/redis\"",
        "folders = [\"/etc/redis\", \"/var/lib/redis\"]",
    );
    fs::write(&daemon.manifest, several).unwrap();
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let diff = daemon.tell(&["diff"]).expect(3);
    for line in [
        "bound at          - /var/lib/redis (kept, and mounted by `folders`)".to_owned(),
        format!("folder /etc/redis + {store}/etc/redis"),
        "if new /etc/redis + copied from the host's".to_owned(),
    ] {
        assert!(diff.contains(&line), "{line}: {diff}");
    }
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(redis("10.77.0.11", &["GET", "mark"]), MARK);
    assert!(fs::metadata(format!("{store}/var/lib/redis/dump.rdb")).is_ok());
    // The old manifest has its data in the same place.
    fs::write(&daemon.manifest, text).unwrap();
    let diff = daemon.tell(&["diff"]).expect(3);
    let kept = format!("folder /etc/redis - {store}/etc/redis (kept, but no longer mounted)");
    assert!(diff.contains(&kept), "{diff}");
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(redis("10.77.0.11", &["GET", "mark"]), MARK);
    daemon.kill();
    daemon.again();
    daemon.settles();
    assert_eq!(redis("10.77.0.11", &["GET", "mark"]), MARK);
}

#[test]
fn plan_and_check_say_which_datastores_are_new_missing_or_not_writable() {
    host();
    let daemon = Daemon::start_settled(&format!("{HEAD}path = \"/var/lib/redis\"\n"));
    let config = daemon.manifest.to_str().unwrap().to_owned();
    let said = tenantd(&["check", "--config", &config]).expect(0);
    assert!(said.contains("host: datastores: good: 2 exist\n"), "{said}");
    let text = fs::read_to_string(&config).unwrap();
    let more = text.replace("[tenants]", "[tenants]\nhooli = { ip = \"10.77.0.13\" }");
    fs::write(&config, more).unwrap();
    let said = tenantd(&["check", "--config", &config]).expect(0);
    let new = "host: datastores: good: 2 exist, 1 to be made at the first start\n";
    assert!(said.contains(new), "{said}");
    let said = tenantd(&["plan", "--config", &config]).err;
    assert_eq!(said, "datastores to be made at the first start: hooli\n");

    // Another user, whose datastores are still those of the old one.
    let other = text.replace("user = \"redis\"", "user = \"nobody\"\ngroup = \"nogroup\"");
    fs::write(&config, other).unwrap();
    let said = tenantd(&["check", "--config", &config]).expect(0);
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let belongs = format!("host: datastore: weak: acme: {store} belongs to");
    assert!(said.contains(&belongs), "{said}");
    let misfit = "so user nobody cannot write to it: `tenantd chown` gives it 65534:65534";
    assert!(
        said.contains(&format!("{misfit} while the tenant is down, and `owner = ")),
        "{said}"
    );

    // Another application with the same folder.
    folder("/var/lib/tenantd/.datastores/crm");
    let record = "/var/lib/tenantd/.datastores/crm/initech";
    fs::write(record, format!("{{\"source\":\"{store}\"}}")).unwrap();
    let said = tenantd(&["check", "--config", &config]).expect(0);
    let meets = format!("weak: acme: {store} meets {store}, the datastore of crm/initech");
    assert!(said.contains(&meets), "{said}");
    fs::remove_file(record).unwrap();

    // As without the data disk.
    fs::write(&config, &text).unwrap();
    daemon.tell(&["stop", "acme"]).expect(0);
    fs::rename(&store, "/var/lib/away").unwrap();
    let said = tenantd(&["check", "--config", &config]).expect(1);
    let gone = format!("bad: acme: {store} was there before and is missing");
    assert!(said.contains(&gone), "{said}");
    let start = daemon.tell(&["start", "acme"]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(!Path::new(&store).exists());
    fs::rename("/var/lib/away", &store).unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn diff_and_plan_name_the_files_of_an_overlay_that_hide_the_hosts() {
    place::host();
    folder("/srv/conf");
    fs::write("/srv/conf/gone", "").unwrap();
    fs::write("/srv/conf/kept", "").unwrap();
    let program = place::script("program", "rm -f /srv/conf/gone; exec sleep infinity");
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = [{program:?}]\nuser = \"root\"\nready.lived = \"300ms\"\n\
         [app.datastore]\nfolders = [{{ path = \"/srv/conf\", seed = \"overlay\" }}]\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ));
    let manifest = daemon.manifest.to_str().unwrap();
    let hidden = "acme: /srv/conf hides files of the host\n  deleted  gone\n";
    let shown = daemon.tell(&["diff"]).expect(0);
    assert!(shown.ends_with(&format!("\n\n{hidden}")), "{shown}");
    let listed = tenantd(&["plan", "--config", manifest, "--files"]).expect(0);
    assert_eq!(listed, hidden);
    let json = tenantd(&["plan", "--config", manifest, "--files", "--json", "acme"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let files = &json["tenants"][0]["folders"][0]["files"];
    let one = serde_json::json!([{ "path": "gone", "change": "deleted", "newer": false }]);
    assert_eq!(*files, one);
    let planned = tenantd(&["plan", "--config", manifest, "acme"]);
    assert!(planned.err.contains(hidden), "{planned:?}");
    daemon.end();
}
