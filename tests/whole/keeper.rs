//! Commands of `exec` that reach the program (`exec_reaches`): the command reaches the program, the program does not
//! reach the command, and neighbours are closed to both; with a shared user, and as root.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, in_time, signal, until};
use crate::support::place::{self, folder, script};

/// A program that executes what it reads from a FIFO in its datastore, and answers in another file.
const PROGRAM: &str = "cd /srv/data || exit 1\n\
    [ -p ask ] || mkfifo ask\n\
    while true; do\n\
      while read -r line; do sh -c \"$line\" >said.new 2>&1; mv said.new said; done <ask\n\
    done";

fn manifest(user: &str, wall: &str) -> String {
    let program = script("program", PROGRAM);
    format!(
        "[network]\nsubnet = \"10.77.0.0/24\"\n[app]\nname = \"APP\"\ncommand = [\"{program}\"]\nuser = \"{user}\"\n\
         datastore.path = \"/srv/data\"\nstop.grace = \"1s\"\nwall = {{ {wall} }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nglobex = {{ ip = \"10.77.0.12\" }}\n"
    )
}

fn start(user: &str, wall: &str) -> Daemon {
    place::host();
    folder("/srv/data");
    Daemon::start_settled(&manifest(user, wall))
}

fn main_pid(daemon: &Daemon, tenant: &str) -> u32 {
    daemon.tenant(tenant).pid.unwrap()
}

/// What can be done to a process, as lines of a shell script.
fn tries(pid: u32) -> String {
    format!(
        "kill -0 {pid} 2>/dev/null && echo signal; readlink /proc/{pid}/cwd >/dev/null 2>&1 && echo cwd; \
         cat /proc/{pid}/environ >/dev/null 2>&1 && echo environ; [ -e /proc/{pid}/stat ] && echo seen; true"
    )
}

const ALL: [&str; 4] = ["signal", "cwd", "environ", "seen"];

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// What a command of `exec` in acme does to a process.
fn by_command(daemon: &Daemon, pid: u32) -> Vec<String> {
    let said = daemon.tell(&["exec", "acme", "--", "/bin/sh", "-c", &tries(pid)]);
    lines(&said.expect(0))
}

/// What the program of acme does to a process.
fn by_program(daemon: &Daemon, pid: u32) -> Vec<String> {
    let data = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let (ask, said) = (format!("{data}/ask"), format!("{data}/said"));
    until("the program reads", || {
        fs::metadata(&ask).is_ok().then_some(())
    });
    let mut asked = fs::File::options().write(true).open(&ask).unwrap();
    writeln!(asked, "{}", tries(pid)).unwrap();
    drop(asked);
    let answer = until("the program answers", || fs::read_to_string(&said).ok());
    fs::remove_file(&said).unwrap();
    lines(&answer)
}

/// A command of `exec` in acme that stays, and its number.
fn stays(daemon: &Daemon) -> (Child, u32) {
    let mut child = in_time(crate::support::daemon::PROGRAM)
        .args(["exec", "--app", daemon.app.as_str(), "acme"])
        .args(["/bin/sh", "-c", "echo $$; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.as_mut().unwrap());
    said.read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

fn keeper(daemon: &Daemon, tenant: &str) -> Option<u32> {
    let group = format!(
        "/sys/fs/cgroup/tenantd/{}/{tenant}/visitors/keeper/cgroup.procs",
        daemon.app
    );
    let pids = fs::read_to_string(group).ok()?;
    pids.lines().next().and_then(|pid| pid.parse().ok())
}

fn directions(user: &str) {
    let daemon = start(user, "exec_reaches = true");
    let (program, neighbour) = (main_pid(&daemon, "acme"), main_pid(&daemon, "globex"));
    let served = until("a keeper", || keeper(&daemon, "acme"));
    let neighbours = until("a keeper", || keeper(&daemon, "globex"));
    assert_eq!(by_command(&daemon, program), ALL);
    let (mut shell, command) = stays(&daemon);
    assert_eq!(by_program(&daemon, command), [""; 0], "the command");
    assert_eq!(by_command(&daemon, command), ALL, "another command");
    for (what, pid) in [
        ("the neighbour", neighbour),
        ("its keeper", neighbours),
        ("the supervisor", daemon.pid()),
    ] {
        assert_eq!(by_command(&daemon, pid), [""; 0], "{what}");
        assert_eq!(by_program(&daemon, pid), [""; 0], "{what}");
    }
    assert_eq!(by_program(&daemon, served), [""; 0], "the keeper");
    let own = by_command(&daemon, served);
    // A command that is root may signal it, and no more.
    assert!(
        own.iter().all(|way| user == "root" && way == "signal"),
        "{own:?}"
    );
    drop(shell.stdin.take());
    assert!(shell.wait().unwrap().success());
    daemon.end();
}

#[test]
fn with_a_shared_user() {
    directions("nobody");
}

#[test]
fn as_root() {
    directions("root");
}

#[test]
fn without_it_a_command_neither_sees_nor_signals_the_program() {
    for user in ["nobody", "root"] {
        let daemon = start(user, "");
        assert_eq!(keeper(&daemon, "acme"), None);
        assert_eq!(
            by_command(&daemon, main_pid(&daemon, "acme")),
            [""; 0],
            "{user}"
        );
        daemon.end();
    }
}

#[test]
fn a_command_has_its_streams_its_exit_code_and_ends_with_its_client() {
    let daemon = start("nobody", "exec_reaches = true");
    until("a keeper", || keeper(&daemon, "acme"));
    let said = daemon.tell(&[
        "exec",
        "acme",
        "--",
        "/bin/sh",
        "-c",
        "echo out; echo err >&2; id -un; exit 7",
    ]);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (7, "out\nnobody\n", "err\n")
    );
    let said = daemon.tell(&["exec", "acme", "--", "/no/such/command"]);
    assert_eq!(said.code, 127, "{said:?}");
    let said = daemon.tell(&["exec", "acme", "--", "/bin/sh", "-c", "kill -9 $$"]);
    assert_eq!(said.code, 128 + 9, "{said:?}");

    let (mut shell, command) = stays(&daemon);
    let held = crate::support::daemon::pidfd(command);
    signal(shell.id(), Signal::SIGKILL);
    shell.wait().unwrap();
    assert!(crate::support::daemon::ends(
        &held,
        std::time::Duration::from_secs(10)
    ));
    daemon.end();
}

/// The keeper may have reaped it before its client looks.
#[test]
fn a_command_may_end_at_once() {
    let daemon = start("nobody", "exec_reaches = true");
    until("a keeper", || keeper(&daemon, "acme"));
    let several = || {
        for _ in 0..20 {
            let said = daemon.tell(&["exec", "acme", "--", "/bin/sh", "-c", "exit 3"]);
            assert_eq!((said.code, said.err.as_str()), (3, ""));
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(several))));
    daemon.end();
}

#[test]
fn the_next_supervisor_and_the_next_launch_have_one_too() {
    let mut daemon = start("nobody", "exec_reaches = true");
    let before = until("a keeper", || keeper(&daemon, "acme"));
    daemon.kill();
    daemon.again();
    daemon.settles();
    assert_eq!(keeper(&daemon, "acme"), Some(before));
    assert_eq!(by_command(&daemon, main_pid(&daemon, "acme")), ALL);
    daemon.tell(&["restart", "acme"]).expect(0);
    let after = until("another keeper", || {
        keeper(&daemon, "acme").filter(|it| *it != before)
    });
    assert_eq!(by_command(&daemon, main_pid(&daemon, "acme")), ALL);

    // One that does not answer is not waited for: the command is confined more.
    for (stopped, limit) in [(Signal::SIGSTOP, 30), (Signal::SIGKILL, 5)] {
        signal(after, stopped);
        let begun = std::time::Instant::now();
        let said = daemon.tell(&[
            "exec",
            "acme",
            "--",
            "/bin/sh",
            "-c",
            &tries(main_pid(&daemon, "acme")),
        ]);
        assert!(begun.elapsed().as_secs() < limit, "{said:?}");
        assert_eq!(said.out, "", "{said:?}");
        assert!(
            said.err.contains("`tenantd restart acme` starts another"),
            "{said:?}"
        );
    }
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_client_that_is_not_roots_or_lives_in_a_tenant_gets_nothing() {
    let daemon = start("root", "exec_reaches = true");
    until("a keeper", || keeper(&daemon, "acme"));
    let socket = format!("/run/tenantd/{}/tenants/acme/keeper", daemon.app);
    let client = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('{socket}'); print(len(s.recv(4)))"
    );
    let ask = |user: &[&str]| {
        let mut command = Command::new("setpriv");
        let output = command
            .args(user)
            .args(["python3", "-c", &client])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask(&[]), "4\n");
    assert_eq!(
        ask(&["--reuid=65534", "--clear-groups"]),
        "",
        "the folder is root's"
    );
    // A process of the tenant's, which somehow sees the host's files.
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/globex/visitors", daemon.app);
    fs::create_dir_all(&leaf).unwrap();
    let inside = format!("echo $$ >{leaf}/cgroup.procs && exec python3 -c \"$0\"");
    let output = Command::new("sh")
        .args(["-c", &inside, &client])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "0\n",
        "{:?}",
        output.stderr
    );
    daemon.end();
}

/// A process that ends is stopped at its exit for a tracer that has asked for that, also after SIGKILL.
#[test]
fn a_command_that_traces_the_program_does_not_keep_it() {
    let daemon = start("root", "exec_reaches = true");
    until("a keeper", || keeper(&daemon, "acme"));
    let pid = main_pid(&daemon, "acme");
    // PTRACE_SEIZE with PTRACE_O_TRACEEXIT.
    let traces = format!(
        "$| = 1; $SIG{{$_}} = 'IGNORE' for 'HUP', 'TERM'; my $pid = {pid}; \
         print syscall({}, 0x4206, $pid, 0, 0x40) == 0 ? \"traced\\n\" : \"no: $!\\n\"; sleep;",
        libc::SYS_ptrace
    );
    let mut tracer = in_time(crate::support::daemon::PROGRAM)
        .args(["exec", "--app", daemon.app.as_str(), "acme", "perl", "-e"])
        .arg(traces)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(tracer.stdout.as_mut().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "traced\n");
    daemon.tell(&["stop", "acme"]).expect(0);
    tracer.wait().unwrap();
    daemon.end();
}
