//! The main process of programs that put themselves into the background: its end is the end of the
//! program, also if others are left.

use std::fs;

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::support::daemon::{Daemon, LIMIT, ends, pidfd, signal, until};
use crate::support::place::{self, folder, script};
use crate::support::puppet;
use crate::support::visit::{accepts, get};

const ACME: &str = "10.77.0.11";

fn manifest(command: &str, more: &str) -> String {
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = {command}\ndatastore.path = \"/srv/data\"\n{more}\n\
         restart.delay = \"10ms\"\n[tenants]\nacme = {{ ip = \"{ACME}\" }}\n"
    )
}

fn nginx(more: &str) -> Daemon {
    place::host();
    folder("/var/lib/nginx");
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/usr/sbin/nginx\"]\ndaemonizes = true\n{more}\n\
         private = [\"/run\", \"/var/log/nginx\", \"/var/lib/nginx\"]\n\
         datastore = {{ path = \"/var/www/html\", mode = \"0755\" }}\nready.tcp = 80\n\
         restart.delay = \"10ms\"\nstop = {{ signal = \"SIGQUIT\", grace = \"5s\" }}\n\
         [tenants]\nacme = {{ ip = \"{ACME}\" }}\n"
    ));
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    fs::write(format!("{store}/index.html"), "a page").unwrap();
    daemon
}

/// A program may name another main process as often as it likes.
#[test]
fn former_main_processes_cost_the_supervisor_nothing() {
    let daemon = puppet();
    let sleeper = || -> u32 {
        let pid = puppet::tell(ACME, "out = apart(lambda: time.sleep(600))");
        pid.parse().unwrap()
    };
    let first = daemon.tenant("acme").pid.unwrap();
    let pids = [sleeper(), sleeper(), first];
    let name = |pid: u32| {
        puppet::tell(ACME, &format!("say('MAINPID={pid}')"));
        daemon.until_tenant("acme", |acme| acme.pid == Some(pid));
    };
    let descriptors = || {
        let folder = format!("/proc/{}/fd", daemon.pid());
        fs::read_dir(folder).unwrap().count()
    };
    pids.into_iter().for_each(name);
    let before = descriptors();
    for _ in 0..5 {
        pids.into_iter().for_each(name);
    }
    until("no more are open", || {
        (descriptors() <= before).then_some(())
    });
    // The end of a former one is nothing; that of the first one is the end of the launch.
    signal(pids[0], Signal::SIGKILL);
    name(pids[1]);
    name(first);
    assert_eq!(daemon.tenant("acme").restarts, 0);
    signal(first, Signal::SIGKILL);
    daemon.until_tenant("acme", |acme| acme.restarts == 1);
    daemon.end();
}

/// The tenant once its main process is known in this way.
#[track_caller]
fn known(daemon: &Daemon, how: &str) -> TenantStatus {
    daemon.until_tenant("acme", |acme| acme.main.as_deref() == Some(how))
}

fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Kills the master of nginx, and waits until it is started again.
fn is_restarted(daemon: &Daemon, how: &str) {
    let before = known(daemon, how);
    let master = before.pid.unwrap();
    let all = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    let workers: Vec<u32> = processes(&all)
        .into_iter()
        .filter(|pid| *pid != master)
        .collect();
    assert!(!workers.is_empty());
    assert!(workers.iter().all(|worker| parent(*worker) == master));
    signal(master, Signal::SIGKILL);
    let after = daemon.until_tenant("acme", |acme| {
        acme.restarts == 1 && acme.is_as_wanted() && acme.main.as_deref() == Some(how)
    });
    assert_ne!(after.pid, before.pid);
    assert_eq!(get(ACME, "/").1, "a page");
}

/// The processes of a cgroup and those below it.
fn processes(leaf: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for folder in [leaf.to_owned(), format!("{leaf}/program")] {
        let text = fs::read_to_string(format!("{folder}/cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().map(|line| line.parse::<u32>().unwrap()));
    }
    pids
}

#[test]
fn nginx_whose_master_is_killed_is_restarted() {
    let daemon = nginx("pid_file = \"/run/nginx.pid\"");
    is_restarted(&daemon, "pid file");
    daemon.end();
}

/// Has this master of nginx replaced by a new one, whose number is returned.
fn upgrade(old: u32) -> u32 {
    signal(old, Signal::SIGUSR2);
    let new = until("there is a new master", || {
        let text = fs::read_to_string(format!("/proc/{old}/root/run/nginx.pid")).ok()?;
        text.trim().parse().ok().filter(|pid| *pid != old)
    });
    signal(old, Signal::SIGQUIT);
    new
}

/// The operator upgrades nginx: a new master takes over, as its pid file says.
#[test]
fn nginx_is_upgraded() {
    let mut daemon = nginx("pid_file = \"/run/nginx.pid\"");
    let old = known(&daemon, "pid file").pid.unwrap();
    let new = upgrade(old);
    let acme = daemon.until_tenant("acme", |acme| acme.pid == Some(new));
    assert_eq!((acme.restarts, acme.main.as_deref()), (0, Some("pid file")));
    assert_eq!(get(ACME, "/").1, "a page");
    // Also while no supervisor runs.
    daemon.kill();
    let process = pidfd(new);
    let newest = upgrade(new);
    assert!(ends(&process, LIMIT));
    daemon.again();
    let acme = daemon.until_tenant("acme", |acme| acme.pid == Some(newest));
    assert_eq!((acme.restarts, acme.main.as_deref()), (0, Some("pid file")));
    is_restarted(&daemon, "pid file");
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(daemon.tenant("acme").killed.is_none());
    daemon.end();
}

#[test]
fn the_master_of_nginx_is_guessed() {
    let mut daemon = nginx("");
    let before = known(&daemon, "guessed");
    let said = daemon.tell(&["status", "acme"]).expect(0);
    let line = format!("  MAIN {}, guessed", before.pid.unwrap());
    assert!(said.contains(&line), "{said}");
    // The next supervisor knows it too.
    daemon.kill();
    daemon.again();
    let after = daemon.tenant("acme");
    assert_eq!((after.pid, after.main), (before.pid, before.main));
    is_restarted(&daemon, "guessed");
    daemon.end();
}

/// Two processes without a parent in the tenant: neither can be guessed.
#[test]
fn without_a_main_process_the_oldest_is_shown() {
    place::host();
    folder("/srv/data");
    let program = script("app", "setsid sleep 1001 & setsid sleep 1002 & exit 0");
    let command = format!("[\"{program}\"]");
    let daemon = Daemon::start_settled(&manifest(&command, "daemonizes = true"));
    let acme = known(&daemon, "oldest");
    let pid = acme.pid.unwrap();
    let processes = processes(&format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app));
    assert_eq!(processes.len(), 2);
    let started = |pid: &u32| tenantd_host::process::start_ticks(i32::try_from(*pid).unwrap());
    assert_eq!(started(&pid), processes.iter().filter_map(started).min());
    let said = daemon.tell(&["status", "acme"]).expect(0);
    let line = format!("  MAIN not known, {pid} is the oldest process; see `pid_file`");
    assert!(said.contains(&line), "{said}");
    daemon.end();
}

#[test]
fn a_main_process_that_ended_without_a_supervisor_is_noticed() {
    let mut daemon = nginx("pid_file = \"/run/nginx.pid\"");
    let master = known(&daemon, "pid file").pid.unwrap();
    daemon.kill();
    let process = pidfd(master);
    signal(master, Signal::SIGKILL);
    assert!(ends(&process, LIMIT));
    daemon.again();
    daemon.until_tenant("acme", |acme| acme.restarts == 1 && acme.is_as_wanted());
    daemon.end();
}

/// A program that leaves its first process. Its two other processes each ignore the end of the other.
const LEAVES: &str = "import os, sys, time\n\
     if os.fork(): os._exit(0)\n\
     os.setsid()\n\
     helper = os.fork()\n\
     if helper == 0:\n    os.setsid()\n    os.execvp('sleep', ['sleep', '600'])\n\
     def say(pid):\n    open('/run/new', 'w').write(f'{pid}\\n')\n    os.rename('/run/new', '/run/it.pid')\n";

/// The tenant's processes but its main one.
fn others(daemon: &Daemon, main: u32) -> Vec<u32> {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    let all = processes(&leaf).into_iter();
    all.filter(|pid| *pid != main).collect()
}

fn python(text: &str, more: &str) -> Daemon {
    place::host();
    folder("/srv/data");
    fs::write("/srv/leaves.py", format!("{LEAVES}{text}")).unwrap();
    let command = "[\"/usr/bin/python3\", \"/srv/leaves.py\"]";
    Daemon::start_settled(&manifest(command, more))
}

#[test]
fn what_is_left_is_stopped_and_the_restart_policy_decides() {
    let daemon = python(
        "say(os.getpid())\ntime.sleep(600)\n",
        "daemonizes = true\npid_file = \"/run/it.pid\"\nrestart.when = \"never\"",
    );
    let main = known(&daemon, "pid file").pid.unwrap();
    let left = others(&daemon, main);
    assert_eq!(left.len(), 1);
    let left = pidfd(left[0]);
    signal(main, Signal::SIGKILL);
    assert!(ends(&left, LIMIT));
    let failed = daemon.until_state("acme", tenantd_api::wire::StateWord::Failed);
    assert_eq!((failed.restarts, failed.main), (0, None));
    daemon.end();
}

#[test]
fn a_stop_asks_the_main_process_first() {
    let daemon = python(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: (os.kill(helper, 0), \
         open('/srv/data/alive', 'w').close(), os._exit(0)))\nsay(os.getpid())\n\
         while True: time.sleep(600)\n",
        "daemonizes = true\npid_file = \"/run/it.pid\"",
    );
    known(&daemon, "pid file");
    daemon.tell(&["stop", "acme"]).expect(0);
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    assert!(fs::exists(format!("{store}/alive")).unwrap());
    daemon.end();
}

#[test]
fn a_program_hands_over_to_a_new_main_process() {
    let daemon = python(
        "say(os.getpid())\nwhile not os.path.exists('/srv/data/go'): time.sleep(0.01)\n\
         say(helper)\nos._exit(0)\n",
        "daemonizes = true\npid_file = \"/run/it.pid\"",
    );
    let before = known(&daemon, "pid file").pid;
    fs::write(format!("/var/lib/tenantd/{}/acme/go", daemon.app), "").unwrap();
    let after = daemon.until_tenant("acme", |acme| acme.pid.is_some() && acme.pid != before);
    assert_eq!(
        (after.restarts, after.main.as_deref()),
        (0, Some("pid file"))
    );
    daemon.end();
}

#[test]
fn a_pid_file_is_not_believed() {
    place::host();
    folder("/srv/data");
    // The supervisor's own number, as the tenant sees it.
    script(
        "liar",
        "sleep 600 &\nsleep 600 &\necho $PPID > /run/it.pid\nexit 0",
    );
    let more = "daemonizes = true\npid_file = \"/run/it.pid\"";
    let daemon = Daemon::start_settled(&manifest("[\"/srv/liar\"]", more));
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    until("it has left", || {
        (processes(&leaf).len() == 2).then_some(())
    });
    assert_eq!(daemon.tenant("acme").main.as_deref(), Some("oldest"));
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(daemon.is_running());
    daemon.end();
}

fn puppet() -> Daemon {
    place::host();
    folder("/srv/data");
    puppet::make();
    let more = "ready = { notify = true, within = \"5m\" }";
    let daemon = Daemon::start(&manifest(puppet::COMMAND, more));
    until("it serves", || accepts(ACME, 80).then_some(()));
    puppet::tell(ACME, "say('READY=1\\nSTATUS=\x1b[1mserves')");
    daemon.until_tenant("acme", |acme| acme.ready == Some(true));
    daemon
}

#[test]
fn a_notice_names_the_main_process_and_says_what_it_does() {
    let daemon = puppet();
    let acme = daemon.until_tenant("acme", |acme| acme.status_text.is_some());
    assert_eq!(acme.status_text.unwrap(), "\\x1b[1mserves");
    let said = daemon.tell(&["status", "acme"]).expect(0);
    assert!(said.contains("  SAYS \\x1b[1mserves\n"), "{said}");
    // A process of no tenant is not believed.
    puppet::tell(ACME, "say('MAINPID=1')");
    let child: u32 = puppet::tell(ACME, "out = apart(lambda: time.sleep(600))")
        .parse()
        .unwrap();
    puppet::tell(ACME, &format!("say('MAINPID={child}')"));
    let named = known(&daemon, "notified");
    assert_eq!(named.pid, Some(child));
    let said = daemon.output();
    assert!(
        said.contains("1 is its main process, which is no process of the tenant"),
        "{said}"
    );
    signal(child, Signal::SIGKILL);
    daemon.until_tenant("acme", |acme| acme.restarts == 1 && acme.main.is_none());
    daemon.end();
}
