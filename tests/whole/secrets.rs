//! Secrets: files that a program reads, and that are nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place;
use crate::support::puppet;

const FILE: &str = "/srv/secrets/acme";
const IP: &str = "10.77.0.11";

fn write(text: &str, mode: u32) {
    fs::write(FILE, text).unwrap();
    fs::set_permissions(FILE, fs::Permissions::from_mode(mode)).unwrap();
}

/// What the program of acme reads.
fn token() -> String {
    puppet::tell(
        IP,
        "out = open(os.environ['CREDENTIALS_DIRECTORY'] + '/token').read()",
    )
}

#[test]
fn a_secret_is_in_its_tenant_and_nowhere_else() {
    place::host();
    puppet::make();
    place::folder("/srv/secrets");
    write("opensesame", 0o600);
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = {}\nuser = \"daemon\"\nready.tcp = 80\n\
         secrets = {{ token = \"/srv/secrets/{{tenant}}\" }}\n[tenants]\nacme = {{ ip = \"{IP}\" }}\n",
        puppet::COMMAND
    ));
    assert_eq!(token(), "opensesame");
    let script = "cat $CREDENTIALS_DIRECTORY/token";
    let command = ["exec", "acme", "--", "sh", "-c", script];
    assert_eq!(daemon.tell(&command).expect(0), "opensesame");
    let config = daemon.manifest.to_str().unwrap();
    let ledger = fs::read(format!("/run/tenantd/{}/ledger", daemon.app)).unwrap();
    for said in [
        tenantd(&["plan", "--json", "--config", config]).expect(0),
        daemon.tell(&["status", "--json"]).expect(0),
        String::from_utf8_lossy(&ledger).into_owned(),
    ] {
        assert!(said.contains("acme"), "{said}");
        assert!(!said.contains("opensesame"), "{said}");
    }

    let before = daemon.tenant("acme").pid;
    write("changed", 0o400);
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("acme").pid, before);
    assert_eq!(token(), "opensesame");
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.settles();
    assert_eq!(token(), "changed");

    write("changed", 0o644);
    let open = tenantd(&["check", "--config", config]);
    assert_eq!(open.code, 1, "{open:?}");
    assert!(
        open.out
            .contains("the secret `token` is not for root alone"),
        "{open:?}"
    );
    assert!(open.out.contains("secrets = {"), "its place: {open:?}");

    // Those of each tenant count, also if it is like the one before.
    write("changed", 0o600);
    let other = "/srv/secrets/globex";
    fs::write(other, "other").unwrap();
    fs::set_permissions(other, fs::Permissions::from_mode(0o644)).unwrap();
    let mut text = fs::read_to_string(&daemon.manifest).unwrap();
    text.push_str("globex = { ip = \"10.77.0.12\" }\n");
    fs::write(&daemon.manifest, text).unwrap();
    let open = tenantd(&["check", "--config", config]);
    assert_eq!(open.code, 1, "{open:?}");
    assert!(
        open.out.contains(other) && open.out.contains("mode 0644"),
        "{open:?}"
    );
    fs::set_permissions(other, fs::Permissions::from_mode(0o600)).unwrap();
    let good = tenantd(&["check", "--config", config]);
    assert!(!good.out.contains(other), "{good:?}");
    daemon.end();
}
