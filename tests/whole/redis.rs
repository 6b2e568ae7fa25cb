//! The distribution's redis-server, unchanged: four tenants on one port, with its stock
//! configuration and what the manifest adds.

use std::fs;

use crate::support::daemon::Daemon;
use crate::support::place::{self, folder};
use crate::support::visit::redis;

const MANIFEST: &str = r#"
[app]
name = "APP"
command = [
    "/usr/bin/redis-server", "/etc/redis/redis.conf",
    "--bind", "{ip}", "--protected-mode", "no", "--daemonize", "no", "--supervised", "systemd",
    "--appendonly", "yes", "--appendfsync", "always",
]
user = "redis"
private = ["/run/redis", "/var/log/redis"]
datastore.path = "/var/lib/redis"
ready.notify = true

[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
initech = { ip = "10.77.0.13" }
umbrella = { ip = "10.77.0.14" }
"#;

const TENANTS: [(&str, &str); 4] = [
    ("acme", "10.77.0.11"),
    ("globex", "10.77.0.12"),
    ("initech", "10.77.0.13"),
    ("umbrella", "10.77.0.14"),
];

#[test]
fn four_stock_redis_servers_keep_separate_data_over_a_kill() {
    place::host();
    folder("/run/redis");
    folder("/var/lib/redis");
    let daemon = Daemon::start_settled(MANIFEST);
    for (name, ip) in TENANTS {
        assert_eq!(redis(ip, &["SET", "whose", name]), "+OK");
    }
    for (name, ip) in TENANTS {
        assert_eq!(redis(ip, &["GET", "whose"]), name);
        assert_eq!(redis(ip, &["DBSIZE"]), ":1");
    }
    let acme = daemon.kill_tenant("acme");
    assert_eq!(acme.restarts, 1);
    assert_eq!(redis("10.77.0.11", &["GET", "whose"]), "acme");
    for (name, _) in TENANTS {
        let store = format!("/var/lib/tenantd/{}/{name}/appendonlydir", daemon.app);
        let held = fs::read_dir(&store)
            .unwrap()
            .map(|file| fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| {
                bytes
                    .windows(name.len())
                    .any(|part| part == name.as_bytes())
            });
        assert!(held, "{store} holds what was written for {name}");
    }
    assert_eq!(fs::read_dir("/var/lib/redis").unwrap().count(), 0);

    let app = daemon.app.clone();
    daemon.end();
    // redis writes its data when it gets SIGTERM, so it was not killed.
    let dump = format!("/var/lib/tenantd/{app}/globex/dump.rdb");
    assert!(fs::metadata(&dump).is_ok(), "{dump}");
}
