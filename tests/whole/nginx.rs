//! The distribution's nginx, unchanged: four tenants on port 80 with its stock configuration, in
//! the foreground and, as by default, as a daemon.

use std::fs;

use crate::support::daemon::Daemon;
use crate::support::place::{self, folder};
use crate::support::visit::{accepts, get};

const TENANTS: [(&str, &str); 4] = [
    ("acme", "10.77.0.11"),
    ("globex", "10.77.0.12"),
    ("initech", "10.77.0.13"),
    ("umbrella", "10.77.0.14"),
];

fn manifest(command: &str, more: &str) -> String {
    let tenants: String = TENANTS
        .iter()
        .map(|(name, ip)| format!("{name} = {{ ip = \"{ip}\" }}\n"))
        .collect();
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = {command}\n{more}\n\
         private = [\"/run\", \"/var/log/nginx\", \"/var/lib/nginx\"]\n\
         datastore = {{ path = \"/var/www/html\", mode = \"0755\" }}\nready.tcp = 80\n\
         stop = {{ signal = \"SIGQUIT\", grace = \"5s\" }}\n[tenants]\n{tenants}"
    )
}

fn four(manifest: &str) -> Daemon {
    place::host();
    folder("/var/lib/nginx");
    let daemon = Daemon::start_settled(manifest);
    for (name, ip) in TENANTS {
        let store = format!("/var/lib/tenantd/{}/{name}", daemon.app);
        fs::write(format!("{store}/index.html"), format!("the page of {name}")).unwrap();
        assert_eq!(get(ip, "/"), (200, format!("the page of {name}")));
    }
    daemon
}

#[test]
fn four_stock_nginx_in_the_foreground_serve_their_own_pages() {
    let command = r#"["/usr/sbin/nginx", "-g", "daemon off;"]"#;
    let daemon = four(&manifest(command, ""));
    // Its workers end with its master; otherwise they would keep the port.
    let globex = daemon.kill_tenant("globex");
    assert_eq!(globex.restarts, 1);
    assert_eq!(get("10.77.0.12", "/").1, "the page of globex");
    assert_eq!(get("10.77.0.11", "/").1, "the page of acme");
}

#[test]
fn four_stock_nginx_that_daemonise_are_tracked_and_ended() {
    let daemon = four(&manifest(r#"["/usr/sbin/nginx"]"#, "daemonizes = true"));
    assert!(
        daemon
            .status()
            .tenants
            .iter()
            .all(|tenant| tenant.restarts == 0)
    );
    daemon.tell(&["stop", "acme"]).expect(0);
    let leaf = format!("/sys/fs/cgroup/tenantd/{}", daemon.app);
    assert!(fs::metadata(format!("{leaf}/acme")).is_err());
    let daemons = fs::read_to_string(format!("{leaf}/globex/program/cgroup.procs")).unwrap();
    assert!(daemons.lines().count() >= 2, "a master and its workers");
    daemon.tell(&["start", "acme"]).expect(0);
    assert!(accepts("10.77.0.11", 80));
    assert_eq!(get("10.77.0.11", "/").1, "the page of acme");

    // It has ended when all of its processes have, and it is restarted.
    fs::write(format!("{leaf}/globex/cgroup.kill"), "1").unwrap();
    daemon.until_tenant("globex", |globex| {
        globex.restarts == 1 && globex.is_as_wanted()
    });
    assert_eq!(get("10.77.0.12", "/").1, "the page of globex");
}
