//! The longer help texts of the commands on tenants.

mod ocf;
mod pause;

pub(super) use ocf::OCF;
pub(super) use pause::{HIBERNATE, PAUSE, RESUME};

/// Of `start`.
pub(super) const START: &str = "EXAMPLES
  tenantd start acme beta
  tenantd start 'shop-*'             all tenants with such a name; quote the pattern
  tenantd start --all --no-wait
  tenantd start acme --permanent     also after a reboot
  tenantd start acme --takeover      although another host has its data, which must not use it
  tenantd start --all --json | jq -r '.tenants[] | select(.outcome == \"failed\") | .tenant'

Waits until the first attempt to start each tenant is decided: it is up and ready, or has
failed. The supervisor may try again after that, see `restart` in tenantd.toml(5).

A datastore has a record of the host that uses it. If that is another one, the start fails: use
--takeover only if that host is switched off, or will never use the data again.

OUTPUT
  On a terminal: one line of progress, failures at once, a summary, and what to type next. Up
  to ten tenants have a line each. In a pipe: a line per tenant as soon as it is decided, and
  the summary. With --json, one object: app, verb, ok, and tenants, each with tenant, outcome
  (done, failed, refused, no-change, pending or removed), state, ready, pid, addresses and
  reason.

EXIT CODES
  0 all are up and ready   1 a tenant was refused or has failed   2 usage error
  12 another host has the datastore of a tenant
  130 Ctrl-C ended the waiting: the supervisor continues, and the output says what is left";

/// Of `stop`.
pub(super) const STOP: &str = "EXAMPLES
  tenantd stop acme
  tenantd stop 'shop-*'              all tenants with such a name; quote the pattern
  tenantd stop --all --quiet
  tenantd stop acme --permanent      also after a reboot

Waits until each tenant is proved down. Exit code 0 means that nothing of it remains except
its datastore. The output is as that of `tenantd start`.

EXIT CODES
  0 all are down   1 a tenant was refused or is not down   2 usage error
  130 Ctrl-C ended the waiting: the supervisor continues, and the output says what is left";

/// Of `restart`.
pub(super) const RESTART: &str = "EXAMPLES
  tenantd restart acme
  tenantd restart 'shop-*'           all tenants with such a name; quote the pattern
  tenantd restart --all --no-wait
  tenantd restart --all --rolling --batch 5

Waits until the first attempt to start each tenant again is decided: it is up and ready, or
has failed. The output is as that of `tenantd start`.

With --rolling, the command halts after the first batch with a failure. After the first Ctrl-C
it halts after the batch that is under way, after the second at once. It then prints which
tenants run which program.

EXIT CODES
  0 all are up and ready   1 a tenant was refused or has failed   2 usage error
  130 Ctrl-C ended the waiting, or halted the batches";

/// Of `kill`.
pub(super) const KILL: &str = "EXAMPLES
  tenantd kill -s HUP --main acme    many programs read their configuration again
  tenantd kill -s USR1 'shop-*'      all tenants with such a name; quote the pattern
  tenantd kill -s 10 --all --quiet
  tenantd kill -s TERM acme --json | jq -r '.tenants[].outcome'

Sends the signal, SIGTERM unless another is named, to every process of a tenant's program, but
not to commands of `tenantd exec`. With --main, only the main process gets it. Its number is
in the column PID of `tenantd status`.

A signal that ends the program is not a stop: the tenant stays wanted up, and `restart` in
tenantd.toml(5) decides whether it is started again. A stopped or frozen process handles the
signal when it continues. Nothing is sent to a tenant whose program does not run.

The output is as that of `tenantd start`. With --json, the outcome of a tenant is done or
refused, and pid is the main process, if only that one got the signal.

EXIT CODES
  0 the signal was sent to all of them   1 a tenant was refused   2 usage error";

/// Of `reload-app`.
pub(super) const RELOAD_APP: &str = "EXAMPLES
  tenantd reload-app acme
  tenantd reload-app 'shop-*'        all tenants with such a name; quote the pattern
  tenantd reload-app --all --json | jq -e '.ok'

Does what [app.reload] of the manifest says: sends a signal to the main process, or runs a
command in the tenant. A signal is done when it is sent. A command is waited for; its output is
in the tenant's log. The tenant must be up and ready.

`tenantd reload` is something else: it reads the manifest of tenantd again.

The output is as that of `tenantd start`, with the outcomes done, failed and refused.

EXIT CODES
  0 done for all of them   1 a tenant was refused or it failed   2 usage error";

/// Of `status`.
pub(super) const STATUS: &str = "EXAMPLES
  tenantd status
  tenantd status --failed            only tenants that are not as wanted
  tenantd status 'shop-*'            only tenants with such a name; quote the pattern
  tenantd status --state failed,waiting --sort since
  tenantd status acme --json | jq -r '.tenants[0].state'
  tenantd status --app wiki >/dev/null || echo 'wiki needs an operator'
  tenantd status --watch

A tenant is as wanted if it is up and ready, or down, and no live change was refused. For
others, further lines say WHY, the last line of STDERR (of a tenant that is shown alone, five
of its last launch), and what to type NEXT. The last line of the output counts the named
tenants. A terminal that is too narrow shows fewer columns; a pipe gets all.

COLUMNS
  WANT      what an operator or `autostart` wants: up or down; in brackets the `engine` that decides
            it, if that is not tenantd. `(permanent)` also holds after a reboot, see
            --permanent of `start` and `stop`; `(permanent: up)` is what a reboot
            brings back, if that differs
  PID       the main process; a line MAIN says how it is known, if it is not the first one
  RESTARTS  how often the program was started again by the restart policy
  SINCE     how long the tenant has been in its state
  READY     whether the program is ready, as `ready` in the manifest defines it
  PROGRAM   current: it runs the file on disk; older: that file was replaced after the start, as
            by an upgrade of its package, and `tenantd restart` runs the new one

A tenant that is shown alone has lines MEMORY, CPU, PIDS and IO with what it uses and has used since
its cgroup was made, its limits as the kernel has them, and how often one was reached. NOT COUNTED
says what the host cannot tell, and why. With --json and NAME, `usage` has the same.

--sort: by name; by state, those that need an operator first; by restarts, the most first; by
since, the last change first; by address. Patterns: * is any text, ? one character.

With --watch the command runs until it is interrupted. On a terminal it draws the table again
after each event; otherwise it prints the table once, and then a line per event like `tenantd
events --follow`. It continues across an upgrade of the supervisor. If the supervisor ends,
the exit code is 1.

EXIT CODES
  0 all named tenants are as wanted, shown or not, and so is the network that all share
  1 one is not   2 usage error";

/// Of `import-unit`.
pub(super) const IMPORT_UNIT: &str = "EXAMPLES
  tenantd import-unit redis-server > /etc/tenantd/redis.toml
  tenantd import-unit postgresql@15-main
  tenantd import-unit ./nginx.service

Reads the unit of a service with its drop-ins, its environment files, and the folders that
tmpfiles.d(5) makes for it, as they are now: the manifest does not follow later changes. A
name is looked up where systemd does. Nothing is changed.

Command, user, environment, limits, signals and times become keys of the manifest. Folders
that the service writes to become the tenant's own. What a manifest cannot say becomes a
comment, and what you have to decide a comment that begins with DECIDE.

Exit code 1: there is no such unit, or its program cannot be a tenant's. A script in
/etc/init.d is no unit.";

/// Of `exec`.
pub(super) const EXEC: &str = "EXAMPLES
  tenantd exec acme sh
  tenantd exec acme curl -s http://127.0.0.1/
  tenantd exec --app wiki acme ls -l /var/lib/wiki
  tenantd exec --user root acme chown -R www-data /var/lib/wiki
  tenantd exec --offline acme initdb -D /var/lib/postgresql/data

What follows COMMAND belongs to it. Options of tenantd stand before it; `--` before
COMMAND is allowed. The command gets the resource limits of the tenant too.

The command never gets the terminal of the caller. If standard input and output are a
terminal, it gets one of its own, and keys, size and output are passed on; a terminal on
only one side is written to, but not read: use `cat | tenantd exec ... > FILE` to type.
What is no terminal is passed as it is. All that the command has started ends with it.

The command does not count as the program. When the program ends, also for a restart, the
command and its children get SIGHUP, and SIGKILL a second later.

With --user, the command has the groups and the home of that user, a default PATH, and no
variable of the tenant. It stays in the tenant's namespaces: the host is read-only for it
where it is for the tenant, and other datastores are hidden. As root it has the
capabilities of a tenant that runs as root: it can change any file that the tenant sees
and may write to.
Do not let it execute what the tenant has written: programs, scripts and configuration in
the datastore.

The command is in a Landlock domain of its own, unless the manifest has wall.landlock = false:
it can neither see nor signal the program (Linux 6.12). Use `tenantd kill` for that.

Without root, a group with the right `exec` of `operators` in the manifest runs commands in
its tenants, as their users and without --user and --offline; not in a tenant of root, nor in
one whose user other tenants have for which it has not the right. Standard input, output and
error are copied, so some input may be read that the command does not take.

With --offline, the tenant must be down, exited or failed. The command gets what a launch of
the program would have: network, mounts, user, limits and the claim of the datastore. All of
it is made for the command and removed after it. Nothing else is started in the tenant
meanwhile: `start` is refused and names the command. `stop`, the end of this tenantd, even by
SIGKILL, and the end of the supervisor with all its tenants end the command; an upgrade, a
detachment or a crash of the supervisor does not. Afterwards the tenant is as it was: a failed
one is started again by `tenantd start`, or when the command ends, if the manifest was
reloaded meanwhile with a change that would have started it.

EXIT CODES
  125        tenantd could not run the command: no supervisor, no such tenant, the tenant
             is down (with --offline: it is not), or it cannot be joined
  126        the command cannot be executed
  127        the command was not found in the tenant
  otherwise  that of the command; if a signal ends it, a shell shows 128 and the
             number of the signal, as 130 after Ctrl-C";

/// Of `upgrade`.
pub(super) const UPGRADE: &str = "EXAMPLES
  tenantd upgrade
  systemctl reload tenantd@wiki      does the same

The new program is executed in the supervisor's process, and applies what has changed in the
manifest since the last reload. If that would interrupt a tenant, nothing is done and the
exit code is 1: `tenantd reload` first, or add --apply. A preflight checks whether the new
program would run. If the preflight fails, for example because the manifest has problems, or
if the new program fails before it is ready, the old one continues, and the command prints
the reason.";

/// Of `detach`.
pub(super) const DETACH: &str = "EXAMPLES
  tenantd detach
  tenantd detach --app wiki --if-restarting tenantd@wiki.service

Waits until the supervisor has ended. Until the next one runs, `tenantd list` shows the
application as detached, and a tenant that ends is not restarted. To end the tenants
too, stop the supervisor: `systemctl stop tenantd@wiki`.";

/// Of `leak-test`.
pub(super) const LEAK_TEST: &str = "EXAMPLES
  tenantd leak-test                  the first two tenants that run
  tenantd leak-test acme             acme, with every other tenant that runs
  tenantd leak-test acme globex
  tenantd leak-test --json | jq '.groups[].ways[] | select(.result == \"leak\")'

Enters a tenant with exactly the rights of its program, and tries one by one what would read,
change, signal, trace, imitate or starve a neighbour, the supervisor or the host, or outlive a
stop. Nothing of others is touched: each attempt is on objects and processes that the command
places for it, in both datastores (a folder .tenantd-leak-test-PID-NUMBER), in /var/lib and
in /run, and removes at the end. A process of root outside of all tenants stands for the
supervisor. A tenant that is hostile already can forge the results: try it before.

OUTPUT
  closed  by the guard that is named, or by the kernel with this error
  open    the manifest has no guard against it: needs the key that is named; or by design, as
          SECURITY.md lists it
  LEAK    open although the manifest has this guard: please report it
  ?       could not be tried

With --json, one object: app, tenant, ok, and groups with neighbour and ways; a way has way,
against, gain, result (closed, open, by-design, leak or untried), by, remedies and error.

EXIT CODES
  0 all is closed that the manifest has a guard against   1 it is not, or was not tried
  2 usage error";

pub(super) const DOCTOR: &str = "EXAMPLES
  tenantd doctor
  tenantd doctor --tenants 5000
  tenantd doctor --json | jq -r '.findings[].fix | values'

Compares what the kernel allows on the whole host with what all its tenants need together:
processes, watches, mounts, namespaces, keyrings, neighbours; how much is used of connection
tracking, asynchronous I/O and open files; forwarding, router advertisements, iptables on
bridges; the settings of uplinks; and whether a program that configures links leaves those of
tenants alone. The tenants are those of the applications that run and of the manifests in
/etc/tenantd. It changes nothing: below what is weak is a command that mends it until the next
boot; a file in /etc/sysctl.d keeps it, see sysctl.d(5). `tenantd check` examines the host for one
manifest.

With --json, one object: tenants and findings, a list of objects with subject, grade (good, weak,
bad), found and fix.

EXIT CODES
  0 tenants can run   1 they cannot: a finding is bad   2 usage error";

pub(super) const VERIFY: &str = "EXAMPLES
  tenantd verify
  tenantd verify acme
  tenantd verify --json | jq '.tenants[] | select(.drifts != [])'
  tenantd verify --repair

Reads from the kernel what each running tenant has, and compares it with the plan: both ends of
its link (state, MAC address, MTU, mark), its addresses, the routes on both sides and its entry
among the host's neighbours; what the firewall has of it, and the guard on its link; the namespaces
of its program, its user, privileges, capabilities, filter of system calls, cgroup and limits; and
whether the folders of its datastore and its own folders are mounted where the program looks. Of
what all tenants share: the hub with its address, and the tables and chains of the firewall, and
whether another process could change them. It changes nothing. It needs root, and a manifest that
is applied: `tenantd diff` says whether it is.

With --repair the supervisor mends the network, the firewall and the limits, which interrupts no
program; then all is compared again. Of what is left, each line says if a restart mends it.

With --json, one object: app, drifts, mended and error of what all tenants share, and tenants, a
list of objects with tenant, drifts (what, planned, found, and needs: repair or restart), mended
(the same), and error, why it could not be verified or mended, or null.

EXIT CODES
  0 all is as planned   1 something is not, or could not be verified   2 usage error";

/// Of `learn`.
pub(super) const LEARN: &str = "EXAMPLES
  tenantd learn -- /usr/sbin/cupsd -f
  tenantd learn --run 'redis-cli ping' --user redis -- redis-server /etc/redis/redis.conf
  tenantd learn --for 30s --output /etc/tenantd/cups.toml -- /usr/sbin/cupsd -f
  tenantd learn --manifest /etc/tenantd/cups.toml --for 30s acme

Runs the program as a tenant with a copy of the host in which all writes succeed and none
reaches the host. It lists what was written and where, ports and sockets, users, set-user-ID
programs, and the capabilities that follow; prints a manifest that gives a tenant each of that;
and runs the program again as a tenant of this manifest. Use the program meanwhile: what it is
not asked to do cannot be learned. --run starts a shell command in the tenant once the program
has started, and again in the second run. In COMMAND, {ip} is the tenant's address, and
{gateway}, {app} and {tenant} are known too.

With --manifest, the program is that of the manifest and its first tenant, or of TENANT. The
result says what it wrote to that its tenants do not have.

The folders are kept beside the manifest, with --output and with --manifest, in NAME.learned.
`tenantd check` warns of those that the manifest does not give.

Nothing of it stays on the host. It needs root and a cgroup tree of version 2.

Exit code 1: the program or the command of --run failed, or the second run was not good.";

pub(super) const CHOWN: &str = "EXAMPLES
  tenantd chown --config /etc/tenantd/wiki.toml --dry-run acme
  tenantd chown --config /etc/tenantd/wiki.toml acme globex

After `user` was changed, the data of a tenant still belongs to the user before. The tenant
must be down: stop it, give its data away, reload the manifest, start it. The datastore is
claimed meanwhile, so the tenant cannot be started.

Everything in the datastore gets the tenant's user and group, but what tenantd keeps there
itself, and folders with `user` or `group` of their own, which get these. Root's folders stay
as they are. For a tenant that runs as root, use chown(1). No link is followed. Left are files that have another name outside of the datastore
too, and filesystems that are mounted in it; then the exit code is 1. If the command is
interrupted, the same command continues. Set-user-ID bits and capabilities of files go.";

pub(super) const USERDB: &str = "EXAMPLES
  systemctl enable --now tenantd-userdb
  tenantd userdb
  getent passwd 70000

Answers look-ups of users and groups that tenants have of their own, for all applications of
the host, at /run/systemd/userdb/io.tenantd. Programs ask there if /etc/nsswitch.conf has
`systemd` in the lines `passwd` and `group` (package libnss-systemd). A tenant needs neither:
it finds its own user in /etc/passwd.";

pub(super) const RESOLVE_HOOK: &str = "EXAMPLES
  systemctl enable --now tenantd-resolve-hook
  tenantd resolve-hook
  resolvectl query acme.wiki

Tells systemd-resolved the addresses of tenants that have a network, for all applications of
the host, by the name TENANT.APP. It needs a systemd-resolved that asks the hooks in
/run/systemd/resolve.hook. Look-ups of other names go on as before.";

/// Of `events`.
pub(super) const EVENTS: &str = "EXAMPLES\n  \
    tenantd events -f\n  \
    tenantd events -f acme 'shop-*'    quote patterns\n  \
    tenantd events -f --json | jq -r 'select(.exit.signal) | .tenant'\n\n\
    Prints one line per tenant: its state, and since when. With --follow it then prints one\n\
    line per event as it happens: transitions between states with their reason, `ready`,\n\
    `added` and `removed` (by a reload), and `changed` (what is wanted, or the\n\
    result of a live change). The supervisor does not keep past events; its log has them:\n\
    `journalctl -u tenantd@wiki`.\n\n\
    For root it also prints a line per request that changes something in these tenants or\n\
    is refused, as in the audit log (/var/log/tenantd/APP.audit): what was asked, what\n\
    became of it, the process, its user, its group, and the tenant that it is inside of.\n\n\
    With --json each line is an object: app, tenant, kind (snapshot, transition, ready,\n\
    added, changed or removed), from, state, reason, exit (status or signal of a program\n\
    that ended), time, and status: the tenant after the event, as in `tenantd status\n\
    --json`. The kind `request` has verb, tenants, more_tenants, outcome (done, failed,\n\
    refused or unanswered), detail, pid, uid, gid, comm, exe, inside, missing_before (how\n\
    many refused requests are in no line) and time.\n\n\
    --follow continues across an upgrade of the supervisor, and then prints a line for each\n\
    tenant that has changed. If the supervisor ends, the exit code is 1, and the message\n\
    says whether the tenants still run.";
