//! Mode bridge: all tenants are ports of one bridge, and each reaches only listed services of the gateway.

use std::net::TcpListener;

use crate::support::daemon::Daemon;
use crate::support::place::{self, example};
use crate::support::visit::accepts;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[network]
mode = "MODE"
[defaults]
host_services = ["4000/tcp"]
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
"#;

fn reaches(daemon: &Daemon, ip: &str, port: u16) -> bool {
    let script = format!("exec 3<>/dev/tcp/{ip}/{port}");
    let arguments = ["exec", "acme", "--", "timeout", "2", "bash", "-c", &script];
    daemon.tell(&arguments).code == 0
}

fn with_mode(mode: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let daemon = Daemon::start_settled(&MANIFEST.replace("MODE", mode));
    for ip in ["10.77.0.11", "10.77.0.12"] {
        assert!(accepts(ip, 80), "the host reaches {ip}");
    }
    let _services = [4000, 4001].map(|port| TcpListener::bind(("10.77.0.1", port)).unwrap());
    assert!(
        reaches(&daemon, "10.77.0.1", 4000),
        "a tenant reaches the gateway"
    );
    assert!(
        !reaches(&daemon, "10.77.0.1", 4001),
        "and no service there that is not listed"
    );
    assert!(reaches(&daemon, "127.0.0.1", 80), "its own loopback is up");
    daemon
}

#[test]
fn tenants_on_a_bridge_reach_the_gateway_and_not_each_other() {
    let daemon = with_mode("bridge");
    assert!(
        !reaches(&daemon, "10.77.0.12", 80),
        "a port is isolated from the others"
    );
    daemon.kill_tenant("acme");
    assert!(accepts("10.77.0.11", 80));
}

#[test]
fn routed_tenants_reach_the_gateway_and_not_each_other() {
    let daemon = with_mode("routed");
    let links = [
        "exec", "acme", "--", "ip", "-br", "-4", "addr", "show", "eth0",
    ];
    let own = daemon.tell(&links).expect(0);
    assert!(own.contains("10.77.0.11/32"), "{own}");
}
