//! The names of tenants for systemd-resolved, by a client that speaks its protocol: the distribution has no
//! systemd-resolved that asks hooks.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, until};
use crate::support::place::{self, example, fresh};

const SOCKET: &str = "/run/systemd/resolve.hook/io.tenantd";

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
[network]
subnet6 = "fd00:77::/64"
[tenants]
acme = { ip = ["10.77.0.11", "fd00:77::11"] }
"#;

/// A process that ends with this.
struct Hook(Child);

impl Hook {
    fn start() -> Self {
        let child = Command::new(PROGRAM)
            .arg("resolve-hook")
            .stdin(Stdio::null())
            .spawn();
        let hook = Self(child.unwrap());
        until("it answers", || UnixStream::connect(SOCKET).ok());
        hook
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A connection that is used again, as systemd-resolved uses it.
struct Client(UnixStream);

impl Client {
    fn new() -> Self {
        let socket = UnixStream::connect(SOCKET).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    fn call(&mut self, method: &str, parameters: &Value, more: bool) -> Value {
        let method = format!("io.systemd.Resolve.Hook.{method}");
        let call = json!({ "method": method, "parameters": parameters, "more": more });
        self.0.write_all(format!("{call}\0").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(&[0]) {
            let mut part = [0; 512];
            let len = self.0.read(&mut part).unwrap();
            assert_ne!(len, 0, "no answer");
            bytes.extend_from_slice(&part[..len]);
        }
        serde_json::from_slice(&bytes[..bytes.len() - 1]).unwrap()
    }

    /// Asks for both families at once, as getaddrinfo(3) does.
    fn resolve(&mut self, name: &str) -> Value {
        let key = |kind: u16| json!({ "key": { "class": 1, "type": kind, "name": name } });
        let question = json!({ "question": [key(1), key(28)] });
        self.call("ResolveRecord", &question, false)["parameters"].clone()
    }
}

#[test]
fn a_tenant_is_found_by_its_name_while_it_has_a_network() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    fs::create_dir_all("/run/systemd").unwrap();
    fresh("/run/systemd", "mode=755");
    let _hook = Hook::start();
    let mut filter = Client::new();
    let said = filter.call("QueryFilter", &json!({}), true);
    let wanted = json!({ "filterLabelsMin": 2, "filterLabelsMax": 2 });
    assert_eq!(said, json!({ "parameters": wanted, "continues": true }));
    let daemon = Daemon::start_settled(MANIFEST);
    let (mut client, name) = (Client::new(), format!("acme.{}", daemon.app));
    let found = client.resolve(&name);
    assert_eq!(found["rcode"], 0, "{found}");
    assert_eq!(found["answer"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(client.resolve("example.org"), json!({}));
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(client.resolve(&name), json!({}));
    daemon.tell(&["start", "acme"]).expect(0);
    assert_eq!(client.resolve(&name), found);
    daemon.end();
}

/// Holds 32 connections of each of some users, and says so.
const HOLD: &str = r#"
import os, socket, sys, time
held = []
for user in range(60000, 60009):
    os.seteuid(user)
    for _ in range(32):
        one = socket.socket(socket.AF_UNIX)
        one.connect("/run/systemd/resolve.hook/io.tenantd")
        held.append(one)
    os.seteuid(0)
print(flush=True)
time.sleep(1000)
"#;

#[test]
fn users_who_say_nothing_do_not_keep_systemd_resolved_out() {
    place::host();
    fs::create_dir_all("/run/systemd").unwrap();
    fresh("/run/systemd", "mode=755");
    fs::create_dir_all("/srv").unwrap();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let mut lines: Vec<&str> = passwd.lines().collect();
    lines.retain(|line| !line.starts_with("systemd-resolve:"));
    lines.push("systemd-resolve:x:59999:59999::/:/usr/sbin/nologin\n");
    fs::write("/srv/passwd", lines.join("\n")).unwrap();
    rustix::mount::mount_bind("/srv/passwd", "/etc/passwd").unwrap();
    let _hook = Hook::start();
    let mut holder = Hook(
        Command::new("python3")
            .args(["-c", HOLD])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = [0];
    holder
        .0
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    // All of those places are taken.
    let ask = |user: &str| {
        let script = "import os, socket, sys; os.seteuid(int(sys.argv[1])); \
            one = socket.socket(socket.AF_UNIX); \
            one.connect(\"/run/systemd/resolve.hook/io.tenantd\"); \
            one.sendall(b'{\"method\":\"io.systemd.Resolve.Hook.QueryFilter\"}\\0'); \
            sys.exit(not one.recv(100))";
        let mut command = Command::new("python3");
        let command = command.args(["-c", script, user]).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    assert!(!ask("60100"));
    assert!(ask("59999"));
}
