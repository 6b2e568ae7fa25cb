//! The ways on the host, outside of tenants: the code of each, with the objects of another process, as root. There
//! no guard is, so each is open, and a way that is closed in all tenants is not one that cannot be open.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{DEFAULT, ONE_USER, manifest};
use crate::support::daemon::{Daemon, PROGRAM, in_time, run};
use crate::support::place;
use crate::support::terminal::Terminal;

/// What is not on the host as it is in a tenant: the socket of a tenant, which a tenant without guards reaches.
pub(super) const NOT_THERE: [&str; 1] = ["send to its notify socket"];

/// What not each machine has, with its errors then: its kernel has no such call or device, or the tests run in a
/// machine whose root lacks CAP_SYS_RESOURCE.
const OF_MACHINE: [(&str, &[&str]); 7] = [
    ("never be killed for memory", &["EACCES"]),
    (
        "open the memory of the host (/dev/mem)",
        &["ENOENT", "ENXIO"],
    ),
    ("load a module (init_module)", &["ENOSYS"]),
    ("load a kernel (kexec_load)", &["ENOSYS"]),
    ("handle page faults (userfaultfd)", &["ENOSYS"]),
    ("use io_uring", &["ENOSYS", "EPERM"]),
    ("measure the kernel (perf_event_open)", &["ENOSYS"]),
];

/// What needs a terminal.
const TYPES: &str = "type on the operator's terminal";

/// What starts in the folder that a symbolic link of the tenant leads to.
const ENTERS: &str = "lead `exec` out by a symbolic link";

const TASK: &str = "TENANTD_LEAK_TASK";

/// A process that has placed objects on the host.
struct Placed {
    child: Child,
    said: Value,
}

impl Placed {
    fn place(number: u32, link: Option<&str>) -> Self {
        let id = format!(".leak-on-host-{}-{number}", std::process::id());
        let task = json!({ "Place": {
            "id": id,
            "key": (std::process::id() & 0x003f_ffff) << 8 | (0x80 + number),
            "within": "/srv",
            "on_host": format!("/srv/{id}"),
            "runtime": format!("/run/{id}"),
            "open": true,
            "link": link,
        }});
        let mut command = Command::new(PROGRAM);
        command.env(TASK, task.to_string()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let mut said: Value = serde_json::from_str(&line).unwrap();
        said["addresses"] = json!(["127.0.0.1"]);
        Self { child, said }
    }

    /// It removes what it has placed when its standard input ends.
    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// A cgroup, since the root of the tree has no limits.
struct Group(PathBuf);

impl Group {
    fn make() -> Self {
        let name = format!("leak-on-host-{}", std::process::id());
        let path = Path::new("/sys/fs/cgroup").join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Each of its processes has ended and was waited for.
        fs::remove_dir(&self.0).unwrap();
    }
}

/// What became of the way at this place of the list, as the process says it.
fn tried(number: usize, name: &str, aim: &Value, group: &Group) -> Value {
    let task = json!({ "Try": { "way": number, "aim": aim } }).to_string();
    let join = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.0.display());
    let task = format!("{TASK}={task}");
    let arguments = ["-c", &join, "sh", "env", &task, PROGRAM];
    if name == TYPES {
        let mut terminal = Terminal::start(200, "/bin/sh", &arguments, false);
        assert!(terminal.end().success());
        let raw = String::from_utf8(terminal.raw).unwrap();
        return serde_json::from_str(raw.trim_matches(['\0', '^', '@', '\r', '\n'])).unwrap();
    }
    let mut command = in_time("/bin/sh");
    command.args(arguments);
    if name == ENTERS {
        command.current_dir(Path::new(aim["own"]["folder"].as_str().unwrap()).join("link"));
    }
    let said = run(&mut command).expect(0);
    serde_json::from_str(&said).unwrap()
}

/// The names of all ways, in their order.
fn names(daemon: &Daemon) -> Vec<String> {
    let said = daemon.tell(&["leak-test", "--json"]).expect(0);
    let json: Value = serde_json::from_str(&said).unwrap();
    let groups = json["groups"].as_array().unwrap().iter();
    let ways = groups.flat_map(|group| group["ways"].as_array().unwrap());
    let name = |way: &Value| way["way"].as_str().unwrap().to_owned();
    ways.map(name).collect()
}

#[test]
fn each_way_is_open_outside_of_tenants() {
    place::host();
    place::folder("/var/lib/store");
    let daemon = Daemon::start_settled(&manifest("nobody", DEFAULT, "routed", ONE_USER));
    let names = names(&daemon);
    let to = Placed::place(1, None);
    let own = Placed::place(2, Some(&format!("/proc/{}/root", to.said["pid"])));
    let group = Group::make();
    let aim = json!({
        "own": own.said,
        "to": to.said,
        "app": daemon.app,
        "gateway": "127.0.0.1",
    });
    let mut closed = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let result = tried(number, name, &aim, &group);
        if result == json!({ "Ok": null }) {
            continue;
        }
        let error = result["Err"]["Refused"].as_str().unwrap_or_default();
        let mut of_machine = OF_MACHINE.iter();
        let is_of_machine = of_machine.any(|(way, errors)| way == name && errors.contains(&error));
        if !is_of_machine && !NOT_THERE.contains(&name.as_str()) {
            closed.push(format!("{name}: {result}"));
        }
    }
    assert!(closed.is_empty(), "{closed:#?}");
    own.end();
    to.end();
    drop(group);
    daemon.end();
}
