//! Programs that listen on their loopback addresses only, with `expose_loopback`.

use std::net::TcpStream;

use crate::support::daemon::{Daemon, PROGRAM, in_time, run, write_manifest};
use crate::support::place::{self, folder};
use crate::support::visit::{accepts, redis};

const REDIS: &str = r#"
[app]
name = "APP"
command = [
    "/usr/bin/redis-server", "--bind", "127.0.0.1", "-::1", "--dir", "/var/lib/redis", "--save", "",
    "--protected-mode", "no",
]
user = "redis"
datastore.path = "/var/lib/redis"
ready.tcp = 6379
[network]
subnet6 = "fd00:77::/64"
[defaults]
EXPOSE
[tenants]
acme = { ip = ["10.77.0.11", "fd00:77::11"], publish = ["6379 -> 6379"] }
globex = { ip = "10.77.0.12" }
"#;

fn manifest(expose: &str) -> String {
    REDIS.replace("EXPOSE", expose)
}

fn inside(pid: u32, words: &str) {
    let mut command = in_time("nsenter");
    command.args(["-t", &pid.to_string(), "-n"]);
    run(command.args(words.split(' '))).expect(0);
}

#[test]
fn a_redis_server_on_the_loopback_addresses_is_ready_and_reached() {
    place::host();
    folder("/var/lib/redis");
    let mut daemon = Daemon::start_settled(&manifest("expose_loopback = [6379]"));
    let addresses = ["10.77.0.11", "10.77.0.12", "fd00:77::11", "127.0.0.1"];
    for at in addresses {
        assert_eq!(redis(at, &["PING"]), "+PONG", "{at}");
    }
    let mut plan = in_time(PROGRAM);
    plan.args(["plan", "acme", "--config"])
        .arg(&daemon.manifest);
    let plan = run(&mut plan).expect(0);
    assert!(plan.contains("loopback port 6379/tcp"), "{plan}");
    daemon.tell(&["verify"]).expect(0);
    let before = daemon.tenant("acme");
    // The supervisor dies: nothing changes. The next one adopts, and a reload takes the port away and gives it again.
    daemon.kill();
    assert_eq!(redis("10.77.0.11", &["PING"]), "+PONG");
    daemon.again();
    daemon.settles();
    assert_eq!(redis("10.77.0.11", &["PING"]), "+PONG");
    daemon.tell(&["verify"]).expect(0);
    for (expose, is_open) in [("", false), ("expose_loopback = [6379]", true)] {
        write_manifest(&daemon.app, &manifest(expose));
        let said = daemon.tell(&["diff"]);
        assert!(
            said.out.contains("the firewall, without a restart"),
            "{said:?}"
        );
        daemon.tell(&["reload"]).expect(0);
        crate::support::until("the port is as planned", || {
            accepts("10.77.0.11", 6379) == is_open && accepts("fd00:77::11", 6379) == is_open
        });
        daemon.tell(&["verify"]).expect(0);
    }
    assert_eq!(daemon.tenant("acme").pid, before.pid);
    daemon.end();
}

#[test]
fn what_is_changed_of_exposed_ports_is_told_and_mended() {
    place::host();
    folder("/var/lib/redis");
    let daemon = Daemon::start_settled(&manifest("expose_loopback = [6379]"));
    let acme = daemon.tenant("acme").pid.unwrap();
    for words in [
        "nft flush ruleset",
        "nft flush chain inet tenantd to_loopback",
        "sysctl -q -w net.ipv4.conf.eth0.route_localnet=0",
        "ip -6 route del local ::1 dev eth0 table local",
    ] {
        inside(acme, words);
        let said = daemon.tell(&["verify", "acme"]);
        assert_eq!(said.code, 1, "{words}: {said:?}");
        let said = daemon.tell(&["verify", "--repair", "acme"]);
        assert_eq!(said.code, 0, "{words}: {said:?}");
        for at in ["10.77.0.11", "fd00:77::11"] {
            assert_eq!(redis(at, &["PING"]), "+PONG", "{words}: {at}");
        }
    }
    daemon.end();
}

#[test]
fn a_program_cannot_change_what_it_exposes() {
    place::host();
    folder("/var/lib/redis");
    let manifest =
        manifest("expose_loopback = [6379]").replace("user = \"redis\"", "user = \"root\"");
    let daemon = Daemon::start_settled(&manifest);
    let said = daemon.tell(&["exec", "acme", "nft", "flush", "ruleset"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.contains("not permitted"), "{said:?}");
    assert_eq!(redis("10.77.0.11", &["PING"]), "+PONG");
    daemon.end();
}

/// With the defaults of PostgreSQL: `listen_addresses = 'localhost'`.
const POSTGRESQL: &str = r#"
[app]
name = "APP"
command = ["/usr/lib/postgresql/15/bin/postgres", "-D", "/srv/data", "-c", "unix_socket_directories="]
user = "postgres"
datastore.path = "/srv/data"
init.command = ["/usr/lib/postgresql/15/bin/initdb", "-D", "/srv/data", "--auth=trust"]
ready.tcp = 5432
ready.within = "1m"
stop.signal = "SIGINT"
[defaults]
expose_loopback = [5432]
[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
"#;

#[test]
fn postgresql_with_its_defaults_is_reached() {
    place::host();
    folder("/srv/data");
    let daemon = Daemon::start_settled(POSTGRESQL);
    for at in ["10.77.0.11", "10.77.0.12"] {
        assert!(TcpStream::connect((at, 5432)).is_ok());
        let mut command = in_time("psql");
        command.args(["-h", at, "-U", "postgres", "-c", "select 1"]);
        // It is the server that answers, and it sees who asks.
        let said = run(&mut command);
        let wanted = "no pg_hba.conf entry for host \"10.77.0.1\"";
        assert!(said.err.contains(wanted), "{said:?}");
    }
    daemon.end();
}
