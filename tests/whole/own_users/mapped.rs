//! Data whose owner on the host is another user than the tenant's: an idmapped mount.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::{host, manifest, recorded, rewrite, uid};
use crate::support::daemon::{Daemon, tenantd};
use crate::support::place::{self, folder, fresh};
use crate::support::visit::redis;

/// A user that the host's file does not have.
const FORMER: u32 = 4242;

const NOBODY: u32 = 65534;

fn owner(path: &str) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

/// A manifest with keys of `[app.datastore]`.
fn with(user: &str, keys: &str) -> String {
    let whole = manifest(user);
    let path = "datastore.path = \"/srv/data\"";
    assert!(whole.contains(path));
    whole.replace(
        path,
        &format!("datastore = {{ path = \"/srv/data\", {keys} }}"),
    )
}

fn inside(daemon: &Daemon, command: &str) -> String {
    let said = daemon.tell(&["exec", "acme", "--", "/bin/sh", "-c", command]);
    said.expect(0)
}

/// A datastore of acme as a former user has left it.
fn former(app: &str) -> String {
    let data = format!("/var/lib/tenantd/{app}/acme");
    folder(&data);
    fs::write(format!("{data}/old"), "old\n").unwrap();
    fs::write(format!("{data}/roots"), "root's\n").unwrap();
    for path in [&data, &format!("{data}/old")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(path, Some(FORMER), Some(FORMER)).unwrap();
    }
    data
}

/// What `ls` says of the owner of a file in acme.
fn seen(daemon: &Daemon, file: &str) -> String {
    inside(daemon, &format!("stat -c %u:%g {file}"))
        .trim()
        .to_owned()
}

#[test]
fn data_of_a_former_user_is_the_tenants_without_a_change_on_disk() {
    host();
    let app = format!("map{}", std::process::id());
    let data = former(&app);
    let (before, roots) = (
        fs::metadata(format!("{data}/old")).unwrap(),
        owner(&format!("{data}/roots")),
    );

    // Without a map, the program cannot read it, and the way out is named.
    let daemon = Daemon::spawn_named(&app, &manifest("per-tenant"));
    daemon.settles();
    let cannot = daemon.tell(&["exec", "acme", "--", "cat", "/srv/data/old"]);
    assert_ne!(cannot.code, 0, "{cannot:?}");
    let check = tenantd(&["check", "--config", &daemon.manifest.display().to_string()]);
    assert!(
        check.out.contains("`owner = 4242` in [app.datastore]"),
        "{check:?}"
    );
    daemon.end();

    let owned = format!("owner = {FORMER}");
    let daemon = Daemon::spawn_named(&app, &with("per-tenant", &owned));
    daemon.settles();
    assert_eq!(uid(&daemon, "acme"), 70000);
    assert_eq!(inside(&daemon, "cat /srv/data/old"), "old\n");
    assert_eq!(seen(&daemon, "/srv/data/old"), "70000:70000");
    assert_eq!(seen(&daemon, "/srv/data/roots"), "0:0");
    inside(
        &daemon,
        "echo new >/srv/data/new && mkdir /srv/data/sub && mv /srv/data/new /srv/data/sub/",
    );
    assert_eq!(owner(&format!("{data}/sub/new")), (FORMER, FORMER));
    let after = fs::metadata(format!("{data}/old")).unwrap();
    let times = |it: &fs::Metadata| (it.uid(), it.ctime(), it.ctime_nsec(), it.ino());
    assert_eq!(times(&after), times(&before));
    assert_eq!(owner(&format!("{data}/roots")), roots);
    daemon.tell(&["verify"]).expect(0);
    let leaks = daemon.tell(&["leak-test", "acme", "globex", "--json"]);
    assert!(
        [0, 1].contains(&leaks.code) && !leaks.out.contains("4242"),
        "{leaks:?}"
    );
    same_namespaces(&daemon);
    daemon.end();
}

/// Only two namespaces are the tenant's own: none of them is that of the map.
fn same_namespaces(daemon: &Daemon) {
    let pid = daemon.tenant("acme").pid.unwrap();
    let link = |of: u32, name: &str| fs::read_link(format!("/proc/{of}/ns/{name}")).unwrap();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let differs = link(pid, name) != link(daemon.pid(), name);
        assert_eq!(differs, ["mnt", "net"].contains(&name), "{name}");
    }
}

#[test]
fn programs_with_one_user_have_data_of_a_user_for_each() {
    host();
    let mut daemon = Daemon::start_settled(&with("nobody", "owner = \"per-tenant\""));
    assert_eq!([uid(&daemon, "acme"), uid(&daemon, "globex")], [NOBODY; 2]);
    assert_eq!(
        [recorded(&daemon, "acme"), recorded(&daemon, "globex")],
        [70000, 70001]
    );
    inside(&daemon, "echo mine >/srv/data/file");
    let file = format!("/var/lib/tenantd/{}/acme/file", daemon.app);
    assert_eq!(owner(&file), (70000, 70000));
    assert_eq!(
        seen(&daemon, "/srv/data/file"),
        format!("{NOBODY}:{NOBODY}")
    );
    // It does not count as a user of its own for the processes.
    assert_ne!(daemon.tenant("acme").confined.as_deref(), Some("uid"));
    daemon.kill();
    daemon.again();
    daemon.settles();
    let plan = daemon.tell(&["diff"]);
    assert_eq!(plan.code, 0, "{plan:?}");
    // Without it, the data would be another user's.
    rewrite(&daemon, "owner = \"per-tenant\"", "mode = \"0750\"");
    let refused = daemon.tell(&["reload"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    daemon.end();
}

#[test]
fn what_a_program_of_root_becomes_has_the_files_of_the_owner() {
    host();
    let keys = "seen_as = \"nobody\", owner = \"per-tenant\"";
    let whole = with("root", keys);
    let user = "user = \"root\"\n";
    let init = "init = { command = [\"/bin/sh\", \"-c\", \
                \"mkdir /srv/data/sub && echo root >/srv/data/roots && chown nobody:nogroup /srv/data/sub\"] }\n";
    let whole = whole.replacen(user, &format!("{user}{init}"), 1);
    let daemon = Daemon::start_settled(&whole);
    let data = format!("/var/lib/tenantd/{}/acme", daemon.app);
    assert_eq!(owner(&format!("{data}/sub")), (70000, 70000));
    assert_eq!(owner(&format!("{data}/roots")), (0, 0));
    let nobodys = format!("{NOBODY}:{NOBODY}");
    assert_eq!(seen(&daemon, "/srv/data/sub"), nobodys);
    assert_eq!(seen(&daemon, "/srv/data/roots"), "0:0");
    daemon.end();
}

#[test]
fn a_file_system_that_cannot_is_refused_before_anything_stops() {
    host();
    for name in ["lower", "upper", "work"] {
        folder(&format!("/srv/{name}"));
    }
    folder("/var/lib/other");
    let options = "lowerdir=/srv/lower,upperdir=/srv/upper,workdir=/srv/work";
    let (from, kind) = (Some("test"), Some("overlay"));
    mount(
        from,
        "/var/lib/other",
        kind,
        MsFlags::empty(),
        Some(options),
    )
    .unwrap();
    let daemon = Daemon::start_settled(&manifest("per-tenant"));
    let pid = daemon.tenant("acme").pid;
    let keys = "path = \"/srv/data\", root = \"/var/lib/other/{app}\", owner = 4242";
    rewrite(
        &daemon,
        "datastore.path = \"/srv/data\"",
        &format!("datastore = {{ {keys} }}"),
    );
    let config = daemon.manifest.display().to_string();
    for refused in [
        tenantd(&["check", "--config", &config]),
        daemon.tell(&["reload"]),
    ] {
        assert_eq!(refused.code, 1, "{refused:?}");
        let said = refused.out + &refused.err;
        assert!(
            said.contains("cannot show files as another user's"),
            "{said}"
        );
    }
    assert_eq!(daemon.tenant("acme").pid, pid);
    daemon.end();
}

const REDIS: &str = r#"
[app]
name = "APP"
command = [
    "/usr/bin/redis-server", "/etc/redis/redis.conf",
    "--bind", "{ip}", "--protected-mode", "no", "--daemonize", "no", "--supervised", "systemd",
]
user = "redis"
private = ["/run/redis", "/var/log/redis"]
ready.notify = true
datastore = { path = "/var/lib/redis", folders = [{ path = "/etc/redis", seed = "overlay" }] }

[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
"#;

/// A test host whose `/etc/redis` only redis can read.
fn redis_host() -> u32 {
    let conf = fs::read("/etc/redis/redis.conf").unwrap();
    let user = fs::metadata("/etc/redis").unwrap().uid();
    place::host();
    folder("/run/redis");
    folder("/var/lib/redis");
    fresh("/etc/redis", "mode=2770");
    fs::write("/etc/redis/redis.conf", conf).unwrap();
    let group = fs::metadata("/etc/redis").unwrap().gid();
    for path in ["/var/lib/redis", "/etc/redis", "/etc/redis/redis.conf"] {
        chown(path, Some(user), Some(group)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    user
}

#[test]
fn several_folders_and_overlays_of_a_former_user_are_the_tenants() {
    let redis_user = redis_host();
    assert_ne!(redis_user, 0);
    let daemon = Daemon::start_settled(REDIS);
    let write = |ip: &str, value: &str| {
        assert_eq!(redis(ip, &["SET", "mark", value]), "+OK");
        assert_eq!(redis(ip, &["SAVE"]), "+OK");
        assert_eq!(redis(ip, &["CONFIG", "SET", "masterauth", value]), "+OK");
        assert_eq!(redis(ip, &["CONFIG", "REWRITE"]), "+OK");
    };
    write("10.77.0.11", "before");
    daemon.tell(&["stop", "--all"]).expect(0);
    rewrite(&daemon, "user = \"redis\"", "user = \"per-tenant\"");
    rewrite(&daemon, "folders =", "owner = \"redis\", folders =");
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["start", "--all"]).expect(0);
    assert_eq!(
        [uid(&daemon, "acme"), uid(&daemon, "globex")],
        [70000, 70001]
    );
    assert!(redis("10.77.0.11", &["GET", "mark"]).contains("before"));
    let conf = daemon
        .tell(&["exec", "acme", "--", "cat", "/etc/redis/redis.conf"])
        .expect(0);
    assert!(conf.contains("masterauth \"before\""), "{conf}");
    // The host's file below the overlay is the tenant's too: it is copied when it is written.
    write("10.77.0.12", "after");
    for (tenant, path) in [
        ("acme", "var/lib/redis/dump.rdb"),
        ("acme", "etc/redis/redis.conf"),
        ("globex", "var/lib/redis/dump.rdb"),
        ("globex", "etc/redis/redis.conf"),
    ] {
        let path = format!("/var/lib/tenantd/{}/{tenant}/{path}", daemon.app);
        assert_eq!(owner(&path).0, redis_user, "{path}");
    }
    assert_eq!(owner("/etc/redis/redis.conf").0, redis_user);
    assert!(Path::new("/etc/redis/redis.conf").exists());
    daemon.tell(&["verify"]).expect(0);
    daemon.tell(&["restart", "--all"]).expect(0);
    assert!(redis("10.77.0.12", &["GET", "mark"]).contains("after"));
    daemon.end();
}
