//! Who may give orders: no process inside a tenant, whatever its user is and however it got at the control
//! socket. The tenant here runs as root.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run, until};
use crate::support::place::{self, folder};

/// A folder of the host through which the tenant reaches the control socket.
const DOOR: &str = "/srv/door";

const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/usr/bin/python3", "/srv/program.py"]
user = "root"
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11", autostart = false }
bolt = { ip = "10.77.0.12" }
"#;

/// `ask` sends a request and returns the reply.
const ASK: &str = "import json, os, socket, sys, time
def ask(s, method, **parameters):
    call = {'method': 'io.tenantd.Supervisor.' + method, 'parameters': parameters}
    reply = b''
    try: s.sendall(json.dumps(call).encode() + b'\\0')
    # It may have been refused before it has asked: the reply is there then.
    except BrokenPipeError: pass
    try:
        while not reply.endswith(b'\\0'):
            piece = s.recv(65536)
            if not piece: break
            reply += piece
    except OSError as error: reply = str(error).encode()
    return reply.rstrip(b'\\0').decode()
def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s
";

/// What a tenant's program does once it sees the socket: it asks for the state, and has the other tenant stopped.
const INSIDE: &str = "while not os.path.exists('/srv/door/control'): time.sleep(0.01)
replies = [ask(connect('/srv/door/control'), 'Status'),
    ask(connect('/srv/door/control'), 'Stop', tenants=['bolt'])]
with open('/srv/data/new', 'w') as f: f.write('\\n'.join(replies))
os.rename('/srv/data/new', '/srv/data/replies')
while True: time.sleep(1000)
";

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    folder(DOOR);
    fs::write("/srv/program.py", format!("{ASK}{INSIDE}")).unwrap();
    let daemon = Daemon::start_settled(MANIFEST);
    let runtime = format!("/run/tenantd/{}", daemon.app);
    let none: Option<&str> = None;
    mount(Some(&*runtime), DOOR, none, MsFlags::MS_BIND, none).unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
    daemon
}

fn end(daemon: Daemon) {
    daemon.tell(&["stop", "acme"]).expect(0);
    umount2(DOOR, MntFlags::MNT_DETACH).unwrap();
    daemon.end();
}

fn python(text: &str) -> Command {
    let mut command = in_time("/usr/bin/python3");
    command.args(["-c", &format!("{ASK}{text}")]);
    command
}

/// Python that moves itself into the tenant's cgroup.
fn enter(daemon: &Daemon) -> String {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme/program", daemon.app);
    format!("open('{leaf}/cgroup.procs', 'w').write('0')\n")
}

#[track_caller]
fn is_refused(reply: &str, why: &str) {
    let is = reply.contains("io.tenantd.Supervisor.WrongPlace") && reply.contains(why);
    assert!(is, "{reply}");
}

#[test]
fn a_program_that_reaches_the_socket_is_refused() {
    let daemon = start();
    let path = format!("/var/lib/tenantd/{}/acme/replies", daemon.app);
    let replies = until("it has asked", || fs::read_to_string(&path).ok());
    for reply in replies.lines() {
        is_refused(reply, &format!("inside the tenant {}/acme", daemon.app));
    }
    assert!(daemon.tenant("bolt").pid.is_some());
    end(daemon);
}

/// The connection was made on the host, and passed into the tenant as standard input.
#[test]
fn a_connection_that_was_passed_into_a_tenant_is_worth_nothing() {
    let daemon = start();
    let stream = UnixStream::connect(format!("/run/tenantd/{}/control", daemon.app)).unwrap();
    let text = format!("{ASK}print(ask(socket.socket(fileno=0), 'Status'))");
    let mut command = in_time(PROGRAM);
    command.args(["--app", &daemon.app, "exec", "acme", "--"]);
    command.args(["/usr/bin/python3", "-c", &text]);
    let output = command.stdin(Stdio::from(OwnedFd::from(stream))).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    is_refused(&said, "sent on the connection of process");
    end(daemon);
}

#[test]
fn a_process_is_judged_by_cgroup_and_by_network_namespace() {
    let daemon = start();
    let status = |before: &mut Command| -> CommandOutput {
        run(before.args([PROGRAM, "--app", &daemon.app, "stop", "bolt"]))
    };
    let pid = daemon.tenant("acme").pid.unwrap();
    // It has left the tenant's cgroup, or never was in it.
    let net = format!("--net=/proc/{pid}/ns/net");
    let refused = status(in_time("nsenter").arg(net));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("is in another network namespace"),
        "{refused:?}"
    );
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    for part in ["", "/program", "/visitors"] {
        fs::create_dir_all(format!("{leaf}{part}")).unwrap();
        let enter = format!("echo $$ > {leaf}{part}/cgroup.procs && exec \"$@\"");
        let refused = status(in_time("sh").args(["-c", &enter, "sh"]));
        assert_eq!(refused.code, 1, "{part}: {refused:?}");
        let why = format!("is inside the tenant {}/acme", daemon.app);
        assert!(refused.err.contains(&why), "{part}: {refused:?}");
    }
    assert!(daemon.tenant("bolt").pid.is_some());
    end(daemon);
}

/// Each request counts, not the moment of the connection.
#[test]
fn a_process_is_judged_again_with_each_request() {
    let daemon = start();
    let connect = format!("s = connect('/run/tenantd/{}/control')\n", daemon.app);
    let entered = enter(&daemon);
    let text = format!("{connect}print(ask(s, 'Manifest'))\n{entered}print(ask(s, 'Manifest'))");
    let said = run(&mut python(&text)).expect(0);
    let (first, second) = said.split_once('\n').unwrap();
    assert!(first.contains("\"path\""), "{said}");
    is_refused(second, "is inside the tenant");
    // A child has the connection, and its parent is in no tenant.
    let text = format!(
        "{connect}if os.fork() == 0:\n  {entered}  print(ask(s, 'Manifest'), flush=True)\n  os._exit(0)\nos.wait()"
    );
    is_refused(
        &run(&mut python(&text)).expect(0),
        "sent on the connection of process",
    );
    // The process that connected, and was accepted, has ended, and its number is free for another.
    let text = format!(
        "r, w = os.pipe()\n{connect}ask(s, 'Manifest')\nif os.fork() == 0:\n  os.close(w); os.read(r, 1)\n  \
         print(ask(s, 'Manifest'), flush=True)\n"
    );
    let said = run(&mut python(&text)).expect(0);
    is_refused(&said, "sent on the connection of process");
    end(daemon);
}
