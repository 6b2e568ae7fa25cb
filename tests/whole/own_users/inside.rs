//! What a tenant's own user is called inside, and what its processes leave in the kernel.

use std::fs;

use super::{host, manifest, rewrite};
use crate::support::daemon::{Daemon, until};
use crate::support::place::unmount;

/// Runs a Python program as acme's user.
#[track_caller]
fn python(daemon: &Daemon, text: &str) -> String {
    let said = daemon.tell(&["exec", "acme", "--", "/usr/bin/python3", "-I", "-c", text]);
    said.expect(0)
}

const WHO: &str = "import os, pwd, grp; user = pwd.getpwuid(os.getuid()); \
                   print(user.pw_name, user.pw_dir, grp.getgrgid(os.getgid()).gr_name)";

#[test]
fn programs_find_the_name_and_the_home_of_their_user() {
    host();
    let daemon = Daemon::start_settled(&manifest("per-tenant"));
    let name = format!("{}-acme", daemon.app);
    assert_eq!(python(&daemon, WHO), format!("{name} /srv/data {name}\n"));
    let passwd = daemon
        .tell(&["exec", "acme", "--", "cat", "/etc/passwd"])
        .expect(0);
    let own = passwd
        .strip_prefix(&fs::read_to_string("/etc/passwd").unwrap())
        .unwrap();
    let home = "/srv/data:/usr/sbin/nologin\n";
    assert_eq!(
        own,
        format!("{name}:x:70000:70000:tenant {}/acme:{home}", daemon.app)
    );
    let write = "open('/etc/passwd', 'a')";
    let refused = daemon.tell(&[
        "exec",
        "--user",
        "root",
        "acme",
        "--",
        "/usr/bin/python3",
        "-c",
        write,
    ]);
    assert!(refused.err.contains("Read-only file system"), "{refused:?}");
    // Another launch has the host's file as it is then.
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(python(&daemon, WHO), format!("{name} /srv/data {name}\n"));
    daemon.end();
}

#[test]
fn placeholders_stand_for_the_user() {
    host();
    let text = manifest("per-tenant").replace(
        "[tenants]",
        "environment = { WHO = \"{user} {uid} {gid}\" }\n[tenants]",
    );
    let daemon = Daemon::start_settled(&text);
    let said = daemon
        .tell(&["exec", "acme", "--", "sh", "-c", "echo $WHO"])
        .expect(0);
    assert_eq!(said, format!("{}-acme 70000 70000\n", daemon.app));
    daemon.end();
}

/// Makes one object of each kind, which stays.
const MAKE: &str = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); \
    librt = ctypes.CDLL('librt.so.1', use_errno=True); \
    print(libc.shmget(0, 64, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600), \
          [librt.mq_open(name, 0o102, 0o600, None) for name in (b'/QUEUE', b'/.QUEUE')])";

/// The lines of objects that a user has made.
fn left(uid: u32) -> Vec<String> {
    let all = ["shm", "sem", "msg"].iter().flat_map(|kind| {
        let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
        let mut lines = text.lines();
        let heads: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        let at = heads.iter().position(|head| *head == "cuid").unwrap();
        let id = heads.iter().position(|head| head.ends_with("id")).unwrap();
        let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let own = lines.filter(|line| line[at] == uid.to_string());
        let own: Vec<String> = own.map(|line| format!("{kind} {}", line[id])).collect();
        own
    });
    all.collect()
}

/// Whether there is a queue of this name, or with a dot before it.
fn queues(name: &str) -> bool {
    fs::create_dir_all("/srv/mqueue").unwrap();
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("test"), "/srv/mqueue", Some("mqueue"), flags, none).unwrap();
    let paths = [name.to_owned(), format!(".{name}")].map(|name| format!("/srv/mqueue/{name}"));
    let found = paths.iter().any(|path| fs::metadata(path).is_ok());
    unmount("/srv/mqueue");
    found
}

/// Lets acme make objects, and stops it. Returns its user.
fn made_and_stopped(range: &str, uid: u32) -> String {
    host();
    let text = manifest("per-tenant");
    let text = text.replace("[tenants]", &format!("uids.range = \"{range}\"\n[tenants]"));
    let daemon = Daemon::start_settled(&text);
    assert_eq!(super::uid(&daemon, "acme"), uid);
    let queue = format!("tenantd-{}-{uid}", std::process::id());
    let said = python(&daemon, &MAKE.replace("QUEUE", &queue));
    assert!(!said.contains("-1"), "{said}");
    assert_eq!(left(uid).len(), 3, "{:?}", left(uid));
    assert!(queues(&queue));
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(left(uid).len(), 3, "they survive a restart");
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.end();
    queue
}

#[test]
fn what_a_user_of_its_own_leaves_in_the_kernel_is_removed() {
    let queue = made_and_stopped("71000-71010", 71000);
    assert_eq!(left(71000), [""; 0]);
    assert!(!queues(&queue));
}

#[test]
fn what_a_shared_user_leaves_stays() {
    host();
    let text =
        manifest("per-tenant").replace("[tenants]", "uids.range = \"71100-71110\"\n[tenants]");
    let daemon = Daemon::start_settled(&text);
    let queue = format!("tenantd-{}-71100", std::process::id());
    // The number, but not as the user of one tenant alone.
    let own = "acme = { ip = \"10.77.0.11\" }";
    let fixed = "acme = { ip = \"10.77.0.11\", user = 71100, group = 71100 }";
    rewrite(&daemon, own, fixed);
    daemon.tell(&["reload"]).expect(0);
    python(&daemon, &MAKE.replace("QUEUE", &queue));
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(left(71100).len(), 3, "{:?}", left(71100));
    assert!(queues(&queue));
    rewrite(&daemon, fixed, own);
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    until("they are gone", || {
        (left(71100).is_empty() && !queues(&queue)).then_some(())
    });
    daemon.end();
}
