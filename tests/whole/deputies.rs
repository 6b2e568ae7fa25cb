//! What groups without root may read and run in tenants: a deputy, a process of root, does it for them.

mod attack;
mod exec;
mod history;
mod logs;

use std::fs;
use std::process::Command;

use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run};
use crate::support::place::{self, folder, script};

/// Two tenants, each with a user of its own.
const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/srv/app", "{tenant}"]
user = "per-tenant"
datastore.path = "/srv/data"
[control]
operators = [
    { group = 4242, rights = ["logs", "exec"], tenants = ["acme"] },
    { group = 4343, rights = ["status"] },
]
[tenants]
acme = { ip = "10.77.0.11" }
bolt = { ip = "10.77.0.12" }
"#;

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", "echo here is $1; exec sleep 1000000");
    let daemon = Daemon::start_settled(MANIFEST);
    for tenant in ["acme", "bolt"] {
        let line = format!("here is {tenant}");
        crate::support::daemon::until("the log has its line", || {
            let log = daemon.tell(&["logs", tenant]);
            log.out.contains(&line).then_some(())
        });
    }
    daemon
}

/// A command of a user without privileges who is in this group.
fn command(daemon: &Daemon, group: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", group]);
    command.args([PROGRAM, "--app", &daemon.app]);
    command.args(arguments);
    command
}

/// What it gets.
fn told(daemon: &Daemon, group: &str, arguments: &[&str]) -> CommandOutput {
    run(&mut command(daemon, group, arguments))
}

/// Python that sends requests as such a user. `ask` returns the reply and the descriptors that came with it.
fn python(daemon: &Daemon, group: &str, text: &str) -> CommandOutput {
    let before = format!(
        "import array, json, os, socket, struct, sys, time\n\
         def connect():\n  s = socket.socket(socket.AF_UNIX)\n  \
         s.connect('/run/tenantd/{}/control')\n  return s\n\
         def ask(s, method, **parameters):\n  \
         call = {{'method': 'io.tenantd.Supervisor.' + method, 'parameters': parameters}}\n  \
         s.sendall(json.dumps(call).encode() + b'\\0')\n  reply, fds = b'', []\n  \
         while not reply.endswith(b'\\0'):\n    \
         piece, more, flags, address = socket.recv_fds(s, 65536, 8)\n    \
         if not piece: break\n    reply += piece; fds += more\n  \
         return reply.rstrip(b'\\0').decode(), fds\n",
        daemon.app
    );
    let mut command = in_time("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", group]);
    run(command.args(["/usr/bin/python3", "-c", &(before + text)]))
}

/// The deputies of an application that run.
fn deputies(daemon: &Daemon) -> Vec<u32> {
    let wanted = format!("tenantd\0deputy\0{}\0", daemon.app);
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(wanted.as_bytes())
    };
    pids.filter(is_one).collect()
}
