//! What was seen of a program, and the manifest that follows.

use std::fs;
use std::path::Path;

use tenantd_core::learn::{Findings, OnHost, Program, Seen, manifest};

use crate::units::problems;

const GOLDEN: &str = "tests/fixtures/learned.toml";

/// What the host has. The folders of `/etc` and of the database have something in them.
fn host(path: &Path) -> OnHost {
    match path.to_str() {
        Some("/etc/prog" | "/var/lib/prog" | "/var/log/prog" | "/run/prog") => OnHost::Full,
        Some("/var/spool/prog") => OnHost::Empty,
        _ => OnHost::Missing,
    }
}

fn seen() -> Seen {
    let write = |path: &str, what: &str| {
        format!(
            "{{\"path\":\"{path}\",\"what\":\"{what}\",\"is_folder\":false,\"beside_host\":true}}"
        )
    };
    let writes = [
        write("/etc/prog/a/b/conf", "changed"),
        write("/etc/printcap", "new"),
        write("/var/lib/prog/deep/er/data", "new"),
        write("/var/spool/prog/x", "new"),
        write("/var/log/prog/error.log", "opened"),
        write("/run/prog/pid", "new"),
        write("/run/other/pid", "new"),
        write("/run/prog.pid", "new"),
    ];
    let text = format!(
        "{{\"writes\":[{}],\"made\":{{\"/run/other\":\"daemon\"}},\"refused\":[],\"ports\":[\
         {{\"number\":631,\"is_tcp\":true,\"address\":\"127.0.0.1\"}}],\"sockets\":[],\
         \"host_sockets\":[\"/run/dbus/system_bus_socket\"],\"users\":[\"root\"],\"set_id\":[],\
         \"privileged\":[],\"syslog\":false,\"notified\":false,\"daemonized\":true,\"ready\":true,\
         \"ended\":null,\"output\":[],\"client\":null}}",
        writes.join(",")
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_was_seen_gives_a_manifest() {
    let program = Program {
        name: "prog".to_owned(),
        command: ["/usr/sbin/prog", "--listen", "{ip}", "{literal}"]
            .map(str::to_owned)
            .into(),
        user: None,
        subnet: "10.77.0.0/24".parse().unwrap(),
    };
    let seen = seen();
    let findings = Findings::of(&seen, "root", &host);
    let said = manifest(&program, &seen, &findings, None);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(GOLDEN, &said).unwrap();
    }
    assert_eq!(fs::read_to_string(GOLDEN).unwrap_or_default(), said);
    let with_tenant = manifest(&program, &seen, &findings, Some("acme"));
    assert_eq!(problems(&with_tenant), "");
    assert!(
        said.lines().all(|line| line.chars().count() <= 80),
        "{said}"
    );
}
