//! A MAC address that the manifest sets.

use std::fs;

use crate::support::daemon::{Daemon, write_manifest};
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
[tenants]
acme = { ip = "10.77.0.11" MAC, peers = ["beta"] }
beta = { ip = "10.77.0.12", peers = ["acme"] }
"#;

/// The MAC address of a tenant, as its program reads it.
fn mac(daemon: &Daemon) -> String {
    let path = "/sys/class/net/eth0/address";
    let said = daemon.tell(&["exec", "acme", "cat", path]).expect(0);
    said.trim().to_owned()
}

#[test]
fn a_tenant_has_the_mac_address_of_its_line_and_is_reached() {
    for mode in ["routed", "bridge"] {
        place::host();
        place::folder("/srv/data");
        example("idle");
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let manifest = |mac: &str| {
            let text = MANIFEST.replace("MODE", mode);
            text.replace("MAC", mac)
        };
        let daemon = Daemon::start_settled(&manifest(""));
        let derived = mac(&daemon);
        let before = daemon.tenant("beta").pid;
        for own in ["02:00:00:12:34:56", "00:16:3e:00:00:01"] {
            write_manifest(&daemon.app, &manifest(&format!(", mac = \"{own}\"")));
            let said = daemon.tell(&["diff"]);
            assert!(said.out.contains("reprovision"), "{said:?}");
            daemon.tell(&["reload"]).expect(0);
            daemon.settles();
            assert_eq!(mac(&daemon), own);
            // From the host, and through the guard of the firewall.
            assert!(accepts("10.77.0.11", 80), "{mode}");
            let connect = "exec 3<>/dev/tcp/10.77.0.12/80";
            let reach = daemon.tell(&["exec", "acme", "timeout", "5", "bash", "-c", connect]);
            assert!(mode == "bridge" || reach.code == 0, "{reach:?}");
            daemon.tell(&["verify"]).expect(0);
        }
        assert_eq!(daemon.tenant("beta").pid, before);
        write_manifest(&daemon.app, &manifest(""));
        daemon.tell(&["reload"]).expect(0);
        daemon.settles();
        assert_eq!(mac(&daemon), derived);
        daemon.end();
    }
}
