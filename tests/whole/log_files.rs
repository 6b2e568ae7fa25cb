//! Log files that programs write themselves are followed into their tenant's log: through rotations of
//! each kind, and supervisors and collectors that die.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, script};
use crate::syslog::{found_collector, logged};

const TWO: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
logs = ["/srv/data/log/*.log", "{datastore}/top.txt"]
[tenants]
acme = { ip = "10.77.0.11" }
bolt = { ip = "10.77.0.12" }
"#;

fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("idle", "exec sleep 600");
    Daemon::start_settled(TWO)
}

/// The datastore of a tenant.
fn data(daemon: &Daemon, tenant: &str) -> PathBuf {
    format!("/var/lib/tenantd/{}/{tenant}", daemon.app).into()
}

fn append(path: &Path) -> File {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
}

fn lines(from: usize, to: usize) -> String {
    (from..to)
        .map(|number| format!("number {number}\n"))
        .collect()
}

fn expected(file: &str, to: usize) -> Vec<String> {
    (0..to)
        .map(|number| format!("{file}: number {number}"))
        .collect()
}

#[track_caller]
fn has(daemon: &Daemon, tenant: &str, wanted: &[String]) {
    until("the lines are logged", || {
        let found = logged(daemon, tenant, "file");
        assert!(found.len() <= wanted.len(), "{:?}", &found[wanted.len()..]);
        (found == wanted).then_some(())
    });
}

/// Waits until it is stored that a file was read to its end: a kill before that repeats its last lines.
fn is_stored(daemon: &Daemon, path: &Path) {
    let stored = format!("/run/tenantd/{}/tenants/acme/positions", daemon.app);
    let wanted = format!("\"offset\":{},", fs::metadata(path).unwrap().len());
    until("it is stored how far it was read", || {
        fs::read_to_string(&stored)
            .unwrap()
            .contains(&wanted)
            .then_some(())
    });
}

#[test]
fn files_are_followed_through_rotations() {
    let daemon = start();
    let folder = data(&daemon, "acme").join("log");
    // Neither the folder nor the file existed as the tenant was started.
    fs::create_dir(&folder).unwrap();
    let at = |name: &str| folder.join(name);
    let mut file = append(&at("a.log"));
    file.write_all(lines(0, 100).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 100));
    // Renamed; the program still writes to the old one for a while.
    fs::rename(at("a.log"), at("a.log.1")).unwrap();
    file.write_all(lines(100, 150).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 150));
    file = append(&at("a.log"));
    file.write_all(lines(150, 200).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 200));
    // Copied and truncated.
    fs::copy(at("a.log"), at("a.log.2")).unwrap();
    file.set_len(0).unwrap();
    file.write_all(lines(200, 300).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 300));
    // Removed and made again, with lines written in between.
    fs::remove_file(at("a.log")).unwrap();
    file.write_all(lines(300, 350).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 350));
    file = append(&at("a.log"));
    file.write_all(lines(350, 400).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 400));
    // Replaced at once.
    fs::write(at("new"), lines(400, 450)).unwrap();
    fs::rename(at("new"), at("a.log")).unwrap();
    has(&daemon, "acme", &expected("a.log", 450));
    // The folder too.
    fs::rename(&folder, folder.with_extension("old")).unwrap();
    fs::create_dir(&folder).unwrap();
    append(&at("a.log"))
        .write_all(lines(450, 500).as_bytes())
        .unwrap();
    has(&daemon, "acme", &expected("a.log", 500));
    // What does not match is not there, nor is anything in the log of the other tenant.
    append(&at("other.txt")).write_all(b"other\n").unwrap();
    append(&data(&daemon, "acme").join("top.txt"))
        .write_all(b"top\nwithout an end")
        .unwrap();
    let mut all = expected("a.log", 500);
    all.push("top.txt: top".into());
    has(&daemon, "acme", &all);
    daemon.tell(&["stop", "acme"]).expect(0);
    all.push("top.txt: without an end".into());
    has(&daemon, "acme", &all);
    assert!(logged(&daemon, "bolt", "file").is_empty());
    let shown = daemon.tell(&["logs", "acme", "-n", "3"]).expect(0);
    assert!(shown.contains(" file    top.txt: top\n"), "{shown}");
    daemon.end();
}

#[test]
fn no_line_is_lost_or_doubled_over_killed_supervisors_and_collectors() {
    let mut daemon = start();
    let folder = data(&daemon, "acme").join("log");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("a.log");
    append(&path).write_all(lines(0, 100).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 100));
    daemon.kill();
    append(&path).write_all(lines(100, 200).as_bytes()).unwrap();
    fs::rename(&path, folder.join("a.log.1")).unwrap();
    append(&path).write_all(lines(200, 300).as_bytes()).unwrap();
    daemon.again();
    has(&daemon, "acme", &expected("a.log", 300));
    is_stored(&daemon, &path);
    let collector = found_collector(&daemon).unwrap();
    kill(Pid::from_raw(collector), Signal::SIGKILL).unwrap();
    append(&path).write_all(lines(300, 400).as_bytes()).unwrap();
    has(&daemon, "acme", &expected("a.log", 400));
    is_stored(&daemon, &path);
    // Both, and a file that is new since.
    daemon.kill();
    let collector = found_collector(&daemon).unwrap();
    kill(Pid::from_raw(collector), Signal::SIGKILL).unwrap();
    append(&path).write_all(lines(400, 450).as_bytes()).unwrap();
    fs::write(folder.join("b.log"), "new\n").unwrap();
    daemon.again();
    let mut all = expected("a.log", 450);
    all.push("b.log: new".into());
    has(&daemon, "acme", &all);
    daemon.end();
}

#[test]
fn a_new_start_reads_what_is_new_only() {
    let daemon = start();
    let top = data(&daemon, "acme").join("top.txt");
    daemon.tell(&["stop", "acme"]).expect(0);
    fs::write(&top, "of before\n").unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    append(&top).write_all(b"of now\n").unwrap();
    has(&daemon, "acme", &["top.txt: of now".into()]);
    // A reload follows others, without a relaunch.
    let pid = daemon.tenant("acme").pid;
    fs::create_dir(data(&daemon, "acme").join("log")).unwrap();
    let more = data(&daemon, "acme").join("more.txt");
    fs::write(&more, "of before\n").unwrap();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let manifest = manifest.replace("{datastore}/top.txt", "{datastore}/more.txt");
    fs::write(&daemon.manifest, manifest).unwrap();
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("acme").pid, pid);
    until("the other file is followed", || {
        append(&more).write_all(b"of now\n").unwrap();
        logged(&daemon, "acme", "file")
            .contains(&"more.txt: of now".into())
            .then_some(())
    });
    append(&top).write_all(b"not followed\n").unwrap();
    append(&more).write_all(b"last\n").unwrap();
    until("the last line is logged", || {
        logged(&daemon, "acme", "file")
            .contains(&"more.txt: last".into())
            .then_some(())
    });
    let lines = logged(&daemon, "acme", "file");
    assert!(
        lines
            .iter()
            .all(|line| !line.contains("before") && !line.contains("not")),
        "{lines:?}"
    );
    daemon.end();
}

#[test]
fn games_with_files_do_nothing() {
    let daemon = start();
    let folder = data(&daemon, "acme").join("log");
    fs::create_dir(&folder).unwrap();
    let at = |name: &str| folder.join(name);
    let secret = data(&daemon, "bolt").join("secret");
    fs::write(&secret, "of bolt\n").unwrap();
    symlink(&secret, at("link.log")).unwrap();
    fs::hard_link(&secret, at("hard.log")).unwrap();
    fs::create_dir(at("folder.log")).unwrap();
    for arguments in [["fifo.log", "p"].as_slice(), &["zero.log", "c", "1", "5"]] {
        let mut mknod = Command::new("mknod");
        assert!(
            mknod
                .current_dir(&folder)
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    }
    let mut reader = File::options();
    reader.read(true).custom_flags(libc::O_NONBLOCK);
    let _reader = reader.open(at("fifo.log")).unwrap();
    // Far more than is followed, and a hole that no disk has room for.
    for number in 0..200 {
        fs::write(at(&format!("{number:03}.log")), "").unwrap();
    }
    append(&at("000.log")).set_len(1 << 40).unwrap();
    append(&secret).write_all(b"more of bolt\n").unwrap();
    let top = data(&daemon, "bolt").join("top.txt");
    append(&top).write_all(b"unharmed\n").unwrap();
    has(&daemon, "bolt", &["top.txt: unharmed".into()]);
    until("it is said", || {
        let said = logged(&daemon, "acme", "tenantd");
        let skipped = said
            .iter()
            .any(|line| line.contains("MiB of it were skipped"));
        let many = said
            .iter()
            .any(|line| line.starts_with("too many log files"));
        (skipped && many).then_some(())
    });
    // The log folder becomes a link to that of the neighbour.
    fs::rename(&folder, folder.with_extension("old")).unwrap();
    fs::write(data(&daemon, "bolt").join("x.log"), "of bolt\n").unwrap();
    symlink(data(&daemon, "bolt"), &folder).unwrap();
    append(&data(&daemon, "acme").join("top.txt"))
        .write_all(b"last\n")
        .unwrap();
    until("the last line is logged", || {
        logged(&daemon, "acme", "file")
            .contains(&"top.txt: last".into())
            .then_some(())
    });
    let lines = logged(&daemon, "acme", "file");
    assert!(lines.iter().all(|line| !line.contains("bolt")));
    daemon.end();
}

#[test]
fn files_in_a_datastore_with_several_folders_are_followed() {
    place::host();
    place::folder("/srv/data");
    place::folder("/srv/log");
    script("idle", "echo from inside >>/srv/log/a.log\nexec sleep 600");
    let manifest = TWO
        .replace(
            "datastore.path = \"/srv/data\"",
            "datastore.folders = [\"/srv/data\", \"/srv/log\"]",
        )
        .replace(
            "\"/srv/data/log/*.log\", \"{datastore}/top.txt\"",
            "\"/srv/log/*.log\"",
        );
    let daemon = Daemon::start_settled(&manifest);
    for tenant in ["acme", "bolt"] {
        has(&daemon, tenant, &["a.log: from inside".into()]);
        let path = data(&daemon, tenant).join("srv/log/a.log");
        append(&path).write_all(b"more\n").unwrap();
        has(
            &daemon,
            tenant,
            &["a.log: from inside".into(), "a.log: more".into()],
        );
    }
    daemon.end();
}

#[test]
fn a_changed_list_of_log_files_is_changed_live() {
    let daemon = start();
    let pid = daemon.tenant("acme").pid;
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let more = text.replace("logs = [", "logs = [\"{datastore}/later.txt\", ");
    fs::write(&daemon.manifest, more).unwrap();
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(said.contains("acme: changed live: logs"), "{said}");
    append(&data(&daemon, "acme").join("later.txt"))
        .write_all(b"now\n")
        .unwrap();
    has(&daemon, "acme", &["later.txt: now".into()]);
    assert_eq!(daemon.tenant("acme").pid, pid);
    daemon.end();
}
