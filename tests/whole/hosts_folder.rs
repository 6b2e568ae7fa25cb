//! The names of tenants for the host, by the distribution's dnsmasq.

use std::fs;
use std::process::{Child, Command};

use crate::support::daemon::{Daemon, in_time, run, write_manifest};
use crate::support::place::{self, example};
use crate::support::until;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[tenants]
acme = { ip = "10.77.0.IP" }
beta = { ip = "10.77.0.12", autostart = false }
"#;

/// Asks a name server on this port for an address of a name, without the C library.
const ASK: &str = "import socket, struct, sys
question = b''.join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split('.')) + bytes([0, 0, 1, 0, 1])
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(('127.0.0.1', 5353))
s.send(struct.pack('>6H', 7, 0x100, 1, 0, 0, 0) + question)
answer = s.recv(512)
print(socket.inet_ntoa(answer[-4:]) if struct.unpack('>H', answer[6:8])[0] else 'unknown')";

struct Dnsmasq(Child);

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn ask(name: &str) -> String {
    let said = run(in_time("python3").args(["-c", ASK, name]));
    said.out.trim().to_owned()
}

#[test]
fn dnsmasq_knows_the_tenants_that_are_provisioned() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    // As an administrator makes it at boot: then it stays.
    let folder = "/run/tenantd/.hosts";
    place::folder(folder);
    let manifest = |ip: &str| MANIFEST.replace("IP", ip);
    let hostsdir = format!("--hostsdir={folder}");
    let arguments = [
        "-k",
        "-C",
        "/dev/null",
        "-p",
        "5353",
        "-R",
        "-h",
        "-u",
        "root",
        "-x",
        "/srv/pid",
        &hostsdir,
    ];
    let _dnsmasq = Dnsmasq(Command::new("dnsmasq").args(arguments).spawn().unwrap());
    let daemon = Daemon::start_settled(&manifest("11"));
    let (acme, beta) = (
        format!("acme.{}", daemon.app),
        format!("beta.{}", daemon.app),
    );
    until("dnsmasq answers", || ask(&acme) == "10.77.0.11");
    assert_eq!(ask(&beta), "unknown");
    daemon.tell(&["start", "beta"]).expect(0);
    until("it knows another one", || ask(&beta) == "10.77.0.12");
    let file = format!("{folder}/{acme}");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("10.77.0.11 {acme}\n")
    );
    write_manifest(&daemon.app, &manifest("13"));
    daemon.tell(&["reload"]).expect(0);
    daemon.settles();
    until("it has another address", || ask(&acme) == "10.77.0.13");
    daemon.tell(&["stop", "beta"]).expect(0);
    assert!(!fs::exists(format!("{folder}/{beta}")).unwrap());
    until("it is forgotten", || ask(&beta) == "unknown");
    daemon.end();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}
