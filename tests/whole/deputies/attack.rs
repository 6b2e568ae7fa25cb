//! An operator with the rights `exec` and `logs` for one tenant, who is hostile: what it reaches of another tenant, of
//! the supervisor and of the host.

use std::fs;

use super::{MANIFEST, command, deputies, python, start, told};
use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, folder, script};

/// Python that asks for a command in acme, and gives the deputy descriptors.
const EXEC: &str = "def exec_(*words, terminal=None, fds=None, more=True):
  reply, ends = ask(connect(), 'Exec', tenant='acme', command=words)
  assert ends, reply
  s = socket.socket(fileno=ends[0])
  if fds is None: return s
  data = json.dumps({'terminal': terminal}).encode()
  try: socket.send_fds(s, [data], fds)
  except OSError as error: print('not sent', error)
  return s
def end(s):
  try: return s.recv(65536).decode()
  except OSError as error: return str(error)
";

fn fds_of(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .count()
}

fn attack(daemon: &Daemon, text: &str) -> String {
    python(daemon, "4242", &format!("{EXEC}{text}")).expect(0)
}

fn all_end(daemon: &Daemon) {
    until("the deputies end", || {
        deputies(daemon).is_empty().then_some(())
    });
}

/// A folder of the host or a socket, through which one comes, would lead a command out of its mount namespace.
#[test]
fn only_pipes_and_a_terminal_reach_a_command() {
    let daemon = start();
    fs::write("/srv/readable", "text").unwrap();
    let said = attack(
        &daemon,
        "import pty\n\
         r, w = os.pipe()\n\
         master, slave = os.openpty()\n\
         a, b = socket.socketpair()\n\
         only = os.open(os.ttyname(slave), os.O_WRONLY | os.O_NOCTTY)\n\
         bad = {'folder': os.open('/', os.O_RDONLY), 'path': os.open('/', os.O_PATH),\n\
           'file': os.open('/srv/readable', os.O_RDONLY), 'socket': a.fileno(), 'null': os.open('/dev/null', os.O_RDWR),\n\
           'master': master, 'slave': slave, 'memory': os.open('/proc/self/mem', os.O_RDWR), 'writable': only}\n\
         for name, fd in bad.items():\n  for at in range(3):\n    fds = [r, w, w]; fds[at] = fd\n    \
         said = end(exec_('echo', 'ran', fds=fds))\n    assert 'neither a pipe' in said, (name, at, said)\n\
         for at in (0, 3, -1, 1 << 40, 'x'):\n  \
         said = end(exec_('echo', 'ran', terminal=at, fds=[r, w, w])); assert '\"error\":null' not in said, said\n\
         said = end(exec_('echo', 'ran', terminal=0, fds=[only, w, w])); assert 'neither' in said, said\n\
         for fds in ([], [r], [r, w], [r, w, w, w], [w] * 250):\n  \
         said = end(exec_('echo', 'ran', fds=fds)); assert '\"error\":null' not in said, said\n\
         said = end(exec_('echo', 'ran', terminal=0, fds=[slave, slave, w])); assert '\"error\":null' in said, said\n\
         said = end(exec_('echo', 'ran', fds=[r, w, w])); assert '\"error\":null' in said, said\n\
         print(os.read(r, 100), os.read(master, 100))",
    );
    assert_eq!(said, "b'ran\\n' b'ran\\r\\n'\n");
    all_end(&daemon);
    daemon.end();
}

/// A socket with SO_LINGER blocks the process that closes it last. It is none of the supervisor's.
#[test]
fn descriptors_that_block_neither_hang_nor_fill_the_supervisor() {
    let daemon = start();
    told(&daemon, "4242", &["status"]).expect(0);
    let before = fds_of(&daemon);
    let said = attack(
        &daemon,
        "def lingering():\n  l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(1)\n  \
         s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)\n  \
         s.connect(l.getsockname()); a = l.accept()[0]\n  \
         a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 300))\n  a.setblocking(False)\n  \
         try:\n    while True: a.send(b'x' * 65536)\n  except BlockingIOError: pass\n  return a, s\n\
         kept = []\n\
         for n in range(8):\n  a, s = lingering(); kept.append(s)\n  \
         c = exec_('true', fds=[a.fileno()] * 3); fd = a.detach(); os.close(fd) if False else kept.append(fd)\n  \
         for more in range(3):\n    try: socket.send_fds(c, [b'x'], [fd] * 200)\n    except OSError: pass\n  kept.append(c)\n\
         begun = time.monotonic()\n\
         reply, fds = ask(connect(), 'Status')\n\
         assert 'acme' in reply and time.monotonic() - begun < 5\n\
         # The control socket takes none.\n\
         s = connect()\n\
         try: socket.send_fds(s, [b'{\"method\":\"io.tenantd.Supervisor.Status\"}\\0'], [kept[1]] * 100)\n\
         except PermissionError: print('refused')",
    );
    assert!(said.is_empty() || said == "refused\n", "{said}");
    all_end(&daemon);
    daemon.tell(&["status"]).expect(0);
    until("the supervisor has as many descriptors as before", || {
        (fds_of(&daemon) <= before).then_some(())
    });
    daemon.end();
}

/// Clients that ask and then say nothing, and more than a user may have.
#[test]
fn clients_that_say_nothing_leave_nothing_and_delay_nobody() {
    let daemon = start();
    told(&daemon, "4242", &["status"]).expect(0);
    let before = fds_of(&daemon);
    attack(
        &daemon,
        "held = [exec_('true') for n in range(8)]\n\
         reply, ends = ask(connect(), 'Exec', tenant='acme', command=['true'])\n\
         assert not ends and 'of this user are open' in reply, reply\n\
         for s in held: s.close()\n\
         # A reply with a descriptor that is never read.\n\
         s = connect()\n\
         s.sendall(b'{\"method\":\"io.tenantd.Supervisor.Exec\",\"parameters\":{\"tenant\":\"acme\",\"command\":[\"true\"]}}\\0' * 4)\n\
         reply, ends = ask(connect(), 'Status'); assert 'acme' in reply\n\
         for words in ([], [''], ['\\0'], ['x' * 100000], ['a'] * 20000):\n  \
         end_ = time.monotonic() + 30\n  \
         while True:\n    reply, ends = ask(connect(), 'Exec', tenant='acme', command=words)\n    \
         if ends or 'are open' not in reply: break\n    assert time.monotonic() < end_, reply\n  \
         if not ends: continue\n  \
         r, w = os.pipe(); c = socket.socket(fileno=ends[0])\n  \
         socket.send_fds(c, [b'{\"terminal\":null}'], [r, w, w])\n  assert b'\"error\":null' not in c.recv(65536), words",
    );
    all_end(&daemon);
    until("the supervisor has as many descriptors as before", || {
        (fds_of(&daemon) <= before).then_some(())
    });
    daemon.end();
}

#[test]
fn a_command_reaches_neither_another_tenant_nor_the_supervisor() {
    let daemon = start();
    fs::write(
        format!("/var/lib/tenantd/{}/bolt/secret", daemon.app),
        "of bolt",
    )
    .unwrap();
    let bolt = daemon.tenant("bolt").pid.unwrap();
    let (app, supervisor) = (daemon.app.clone(), daemon.pid());
    let script = format!(
        "cat /var/lib/tenantd/{app}/bolt/secret /proc/{bolt}/root/srv/data/secret /proc/{bolt}/environ\n\
         cat /var/log/tenantd/{app}/bolt.log /var/log/tenantd/{app}.audit\n\
         for pid in {bolt} {supervisor} $PPID; do for signal in 0 STOP KILL; do\n\
         kill -$signal $pid && echo reached $signal $pid; done\n\
         ls /proc/$pid/fd/ && echo fds $pid; head -c1 /proc/$pid/mem && echo memory $pid\n\
         prlimit --pid $pid --nofile=1:1 && echo limits $pid; done\n\
         ls /run/tenantd/{app}; echo 1 > /run/tenantd/{app}/control\n\
         {program} --app {app} stop bolt && echo stopped\n\
         su -c 'echo root' root; setpriv --reuid 0 id; nsenter --target 1 --mount id; unshare --mount id\n\
         echo ended",
        program = crate::support::daemon::PROGRAM
    );
    let said = told(
        &daemon,
        "4242",
        &["exec", "acme", "--", "sh", "-c", &script],
    )
    .expect(0);
    assert_eq!(said, "ended\n");
    assert_eq!(daemon.tenant("bolt").pid, Some(bolt));
    // The operator has no way to its deputy.
    let (mut child, mut lines) = waiting(&daemon);
    let deputy = deputies(&daemon)[0];
    let text = format!(
        "for signal in 0, 9, 19:\n  try: os.kill({deputy}, signal); print('reached')\n  except PermissionError: pass\n\
         for path in 'fd', 'mem', 'environ', 'root', 'cwd':\n  \
         try: (os.listdir if path == 'fd' else open)('/proc/{deputy}/' + path); print('read', path)\n  \
         except PermissionError: pass\n\
         for tenant in 'bolt', '../acme', '':\n  \
         reply, ends = ask(connect(), 'Exec', tenant=tenant, command=['true']); assert not ends, tenant\n\
         for method, more in ('Enter', {{'tenant': 'acme'}}), ('ExecOffline', {{'tenant': 'acme', 'command': 'x'}}), \
         ('Diff', {{}}), ('Detach', {{}}):\n  reply, ends = ask(connect(), method, **more); assert 'ReadOnly' in reply, reply"
    );
    assert_eq!(attack(&daemon, &text), "");
    child.kill().unwrap();
    child.wait().unwrap();
    lines.clear();
    all_end(&daemon);
    daemon.end();
}

fn waiting(daemon: &Daemon) -> (std::process::Child, Vec<u8>) {
    use std::io::Read;
    told(
        daemon,
        "4242",
        &["exec", "acme", "--", "mkfifo", "/srv/data/never"],
    )
    .expect(0);
    let script = "echo; read line < /srv/data/never";
    let mut command = command(daemon, "4242", &["exec", "acme", "--", "sh", "-c", script]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = vec![0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    (child, first)
}

/// With a shared user, a command could set limits of the other's program, and as root send it signals.
#[test]
fn no_command_runs_as_root_or_with_the_user_of_another_tenant() {
    for (user, why) in [
        ("root", "runs as root"),
        ("games", "other tenants have the same user"),
    ] {
        place::host();
        folder("/srv/data");
        script("app", "exec sleep 1000000");
        let manifest = MANIFEST.replace("\"per-tenant\"", &format!("\"{user}\""));
        let all = "operators = [{ group = 4444, rights = [\"exec\"] },";
        let daemon = Daemon::start_settled(&manifest.replace("operators = [", all));
        let refused = told(&daemon, "4242", &["exec", "acme", "--", "id"]);
        assert_eq!((refused.code, &*refused.out), (125, ""), "{refused:?}");
        assert!(refused.err.contains(why), "{refused:?}");
        daemon.tell(&["exec", "acme", "--", "id"]).expect(0);
        // Who may run commands in all of them reaches all of them.
        let code = told(&daemon, "4444", &["exec", "acme", "--", "id"]).code;
        assert_eq!(code == 0, user == "games");
        daemon.end();
    }
}
