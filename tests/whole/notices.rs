//! Notices of programs: only a tenant's own processes are heard as the tenant, and none of them can
//! delay the supervisor.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, PROGRAM, until};
use crate::support::place::{self, INSTALLED, install};
use crate::support::puppet;
use crate::support::visit::accepts;

const ACME: &str = "10.77.0.11";
const BOLT: &str = "10.77.0.12";

/// The limit for what must not wait.
const SOON: Duration = Duration::from_secs(5);

fn manifest(more: &str) -> String {
    let command = puppet::COMMAND;
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = {command}\ndatastore.path = \"/srv/data\"\n{more}\n\
         ready = {{ notify = true, within = \"5m\" }}\n[tenants]\nacme = {{ ip = \"{ACME}\" }}\n\
         bolt = {{ ip = \"{BOLT}\" }}\n"
    )
}

fn host() {
    place::host();
    place::folder("/srv/data");
    puppet::make();
}

/// A supervisor of two tenants that are up and have not sent anything.
fn two(more: &str) -> Daemon {
    host();
    let daemon = Daemon::start(&manifest(more));
    serve();
    daemon
}

fn serve() {
    for ip in [ACME, BOLT] {
        until("it serves", || accepts(ip, 80).then_some(()));
    }
}

#[track_caller]
fn is_ready(daemon: &Daemon, tenant: &str) {
    daemon.until_tenant(tenant, |tenant| tenant.ready == Some(true));
}

fn socket(daemon: &Daemon, tenant: &str) -> String {
    format!("/run/tenantd/{}/tenants/{tenant}/notify/notify", daemon.app)
}

#[test]
fn a_descriptor_that_lingers_delays_nobody() {
    let daemon = two("");
    puppet::tell(
        ACME,
        "there, full = lingers()\nsay('STATUS=x', [full.fileno()])\nfull.close()",
    );
    let begun = Instant::now();
    puppet::tell(BOLT, "say('READY=1')");
    is_ready(&daemon, "bolt");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // It is heard as before, and its barriers are answered.
    let barrier = "r, w = os.pipe()\nsay('READY=1')\nsay('BARRIER=1', [w])\nos.close(w)\n\
                   out = os.read(r, 1) == b''";
    assert_eq!(puppet::tell(ACME, barrier), "True");
    is_ready(&daemon, "acme");
    // Neither is the end delayed by one that waits in a socket.
    daemon.signal(Signal::SIGSTOP);
    puppet::tell(
        ACME,
        "there, full = lingers()\nsay('STATUS=x', [full.fileno()])\nfull.close()",
    );
    daemon.signal(Signal::SIGCONT);
    let begun = Instant::now();
    daemon.end();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn nobody_else_reaches_the_socket_of_a_tenant() {
    let daemon = two("");
    let sender = UnixDatagram::unbound().unwrap();
    let path = format!("/run/tenantd/{}/notify", daemon.app);
    assert!(sender.send_to(b"READY=1", &path).is_err());
    assert!(fs::metadata(&path).is_err(), "it leads nowhere on the host");
    let folder = format!("/run/tenantd/{}/tenants", daemon.app);
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
    // A tenant sees its own, and can neither remove nor replace it.
    let look = "out = sorted(os.listdir(os.path.dirname(os.path.realpath(\
                os.environ['NOTIFY_SOCKET']))))";
    assert_eq!(puppet::tell(ACME, look), "['notify']");
    let remove = "try:\n os.unlink(os.path.realpath(os.environ['NOTIFY_SOCKET']))\n\
                  except OSError as e: out = e.errno";
    assert_eq!(puppet::tell(ACME, remove), libc::EROFS.to_string());
    puppet::tell(BOLT, "say('READY=1')");
    is_ready(&daemon, "bolt");
    assert_eq!(daemon.tenant("acme").ready, Some(false));
    daemon.end();
}

#[test]
fn a_tenant_that_sees_the_hosts_folders_has_a_socket_of_its_own_too() {
    let daemon = two("host = \"writable\"");
    puppet::tell(BOLT, "say('READY=1')");
    is_ready(&daemon, "bolt");
    assert_eq!(daemon.tenant("acme").ready, Some(false));
    puppet::tell(ACME, "say('READY=1')");
    is_ready(&daemon, "acme");
    daemon.end();
}

/// The processor time of a process, in nanoseconds.
fn time_of(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let times = threads.map(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    times.sum()
}

#[test]
fn a_flood_takes_little_time_and_another_tenant_is_heard() {
    let daemon = two("");
    // Four processes, which end with the tenant. Each text is another one, which is recorded.
    let flood = "def flood():\n while True:\n  try: say(f'STATUS={time.time()}' + 'x' * 4000)\n  \
                 except OSError: pass\nout = [apart(flood) for _ in range(4)]";
    puppet::tell(ACME, flood);
    let begun = Instant::now();
    puppet::tell(BOLT, "say('READY=1')");
    is_ready(&daemon, "bolt");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let (begun, before) = (Instant::now(), time_of(daemon.pid()));
    puppet::tell(BOLT, "time.sleep(2)");
    let took = u128::from(time_of(daemon.pid()) - before);
    let share = took * 1000 / begun.elapsed().as_nanos();
    // Without optimization, each message takes several times as long.
    let limit = if cfg!(debug_assertions) { 60 } else { 20 };
    assert!(share <= limit, "{share} ‰ of a core");
    // Its own message gets through too.
    puppet::tell(ACME, "say('READY=1')");
    is_ready(&daemon, "acme");
    daemon.end();
}

#[test]
fn a_running_program_is_heard_by_the_next_supervisor() {
    let mut daemon = two("");
    daemon.kill();
    // Nobody listens: it does not wait, and the message is lost.
    let refused = "try: say('READY=1')\nexcept OSError as e: out = e.errno";
    assert_eq!(puppet::tell(ACME, refused), libc::ECONNREFUSED.to_string());
    daemon.again();
    assert_eq!(daemon.tenant("acme").ready, Some(false));
    puppet::tell(ACME, "say('READY=1')");
    is_ready(&daemon, "acme");
    daemon.end();
}

#[test]
fn an_upgrade_loses_no_message() {
    host();
    install(PROGRAM);
    let daemon = Daemon::start_with(INSTALLED, &manifest(""));
    serve();
    let inode = || fs::metadata(socket(&daemon, "acme")).unwrap().ino();
    let before = inode();
    daemon.tell(&["upgrade"]).expect(0);
    assert_eq!(inode(), before, "the next program has the same socket");
    puppet::tell(ACME, "say('READY=1')");
    is_ready(&daemon, "acme");
    daemon.end();
}

#[test]
fn a_process_that_is_gone_is_heard() {
    let daemon = two("");
    daemon.signal(Signal::SIGSTOP);
    // It is reaped before anybody reads what it sent.
    puppet::tell(
        ACME,
        "child = os.fork()\nif child == 0:\n say('READY=1')\n os._exit(0)\nos.waitpid(child, 0)",
    );
    daemon.signal(Signal::SIGCONT);
    is_ready(&daemon, "acme");
    daemon.end();
}
