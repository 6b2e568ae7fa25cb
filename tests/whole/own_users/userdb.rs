//! The names of tenants' own users on the host, by its user database.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{host, manifest};
use crate::support::daemon::{Daemon, LIMIT, PROGRAM, run, until};
use crate::support::place::{fresh, unmount};

const SOCKET: &str = "/run/systemd/userdb/io.tenantd";

/// A running provider.
struct Provider(Child);

impl Provider {
    fn start() -> Self {
        let child = Command::new(PROGRAM)
            .arg("userdb")
            .stdin(Stdio::null())
            .spawn();
        let provider = Self(child.unwrap());
        until("it answers", || UnixStream::connect(SOCKET).ok());
        provider
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn ask(method: &str, parameters: &Value) -> Value {
    let mut socket = UnixStream::connect(SOCKET).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let call =
        json!({ "method": format!("io.systemd.UserDatabase.{method}"), "parameters": parameters });
    socket.write_all(format!("{call}\0").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(&[0]) {
        let mut part = [0; 512];
        let len = socket.read(&mut part).unwrap();
        assert_ne!(len, 0, "no answer");
        bytes.extend_from_slice(&part[..len]);
    }
    serde_json::from_slice(&bytes[..bytes.len() - 1]).unwrap()
}

#[test]
fn the_host_finds_the_names_of_the_users() {
    host();
    fs::create_dir_all("/run/systemd").unwrap();
    fresh("/run/systemd", "mode=755");
    fs::create_dir("/run/systemd/userdb").unwrap();
    let _provider = Provider::start();
    let no_record = "io.systemd.UserDatabase.NoRecordFound";
    assert_eq!(
        ask("GetUserRecord", &json!({ "uid": 70001 }))["error"],
        no_record
    );
    let daemon = Daemon::start_settled(&manifest("per-tenant"));
    let name = format!("{}-globex", daemon.app);
    let found = ask(
        "GetUserRecord",
        &json!({ "uid": 70001, "service": "io.tenantd" }),
    );
    assert_eq!(found["parameters"]["record"]["userName"], name, "{found}");
    let found = ask("GetGroupRecord", &json!({ "groupName": name }));
    assert_eq!(found["parameters"]["record"]["gid"], 70001, "{found}");
    assert_eq!(
        ask("GetUserRecord", &json!({ "uid": 70002 }))["error"],
        no_record
    );

    // As programs ask.
    fs::write(
        "/srv/nsswitch.conf",
        "passwd: files systemd\ngroup: files systemd\n",
    )
    .unwrap();
    let none: Option<&str> = None;
    mount(
        Some("/srv/nsswitch.conf"),
        "/etc/nsswitch.conf",
        none,
        MsFlags::MS_BIND,
        none,
    )
    .unwrap();
    let said = run(Command::new("getent").args(["passwd", "70001"]));
    assert!(said.out.starts_with(&format!("{name}:")), "{said:?}");
    let said = run(Command::new("getent").args(["group", &name]));
    assert!(said.out.contains(":70001:"), "{said:?}");
    // What it says itself is no collision.
    let config = daemon.manifest.display().to_string();
    let check = crate::support::daemon::tenantd(&["check", "--config", &config]).out;
    assert!(
        check.contains("2 of 2 tenants have a user of their own"),
        "{check}"
    );
    unmount("/etc/nsswitch.conf");
    daemon.end();
}

/// Look-ups of the host fail while a socket is there at which nobody listens.
#[test]
fn it_removes_its_socket_unless_that_is_anothers() {
    host();
    fs::create_dir_all("/run/systemd").unwrap();
    fresh("/run/systemd", "mode=755");
    let ends = |mut provider: Provider, which| {
        crate::support::daemon::signal(provider.0.id(), which);
        provider.0.wait().unwrap()
    };
    for which in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        ends(Provider::start(), which);
        assert!(!fs::exists(SOCKET).unwrap(), "{which}");
    }
    let first = Provider::start();
    let inode = || fs::metadata(SOCKET).map(|it| it.ino());
    let old = inode().unwrap();
    let _second = Provider::start();
    until("the second one has replaced it", || {
        inode().ok().filter(|now| *now != old)
    });
    ends(first, Signal::SIGTERM);
    UnixStream::connect(SOCKET).unwrap();
}

#[test]
fn clients_that_say_nothing_keep_nobody_from_an_answer() {
    host();
    fs::create_dir_all("/run/systemd").unwrap();
    fresh("/run/systemd", "mode=755");
    fs::create_dir("/run/systemd/userdb").unwrap();
    let _provider = Provider::start();
    let mut silent: Vec<UnixStream> = (0..20)
        .map(|_| UnixStream::connect(SOCKET).unwrap())
        .collect();
    let found = ask("GetUserRecord", &json!({ "uid": 70001 }));
    assert_eq!(found["error"], "io.systemd.UserDatabase.NoRecordFound");
    // One has a limit.
    silent[0]
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
    // And too many are not kept waiting.
    let many: Vec<UnixStream> = (0..100)
        .map(|_| UnixStream::connect(SOCKET).unwrap())
        .collect();
    let mut last = many.last().unwrap();
    // Less than a silent one is kept for.
    last.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap(), 0);
}
