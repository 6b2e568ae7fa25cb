//! `reload-app`: a program reads its configuration again without a restart, by a signal or by a command
//! in its tenant.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::daemon::{CommandOutput, Daemon, LIMIT, PROGRAM, ends, pidfd, until};
use crate::support::place::{self, folder, script};
use crate::support::visit::get;

/// A program that writes down each SIGHUP.
const PROGRAM_TEXT: &str = "import signal\n\
    def heard(*_):\n    \
        with open('/srv/data/heard', 'a') as f: f.write('heard\\n')\n\
    signal.signal(signal.SIGHUP, heard)\n\
    open('/srv/data/begun', 'w').close()\n\
    while True: signal.pause()\n";

/// A tenant whose program runs as `nobody`, and one that is down, with this table.
fn start(reload: &str) -> Daemon {
    place::host();
    folder("/srv/data");
    fs::write("/srv/program.py", PROGRAM_TEXT).unwrap();
    let told = "id -un; grep -m 1 10.77.0.11 /proc/net/fib_trie; exit $(cat /srv/data/answer)";
    assert_eq!(script("told", told), "/srv/told");
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"/usr/bin/python3\", \"/srv/program.py\"]\n\
         user = \"nobody\"\ndatastore.path = \"/srv/data\"\n{reload}\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\" }}\nbolt = {{ ip = \"10.77.0.12\", autostart = false }}\n"
    ));
    until("the program runs", || data(&daemon, "begun"));
    daemon
}

/// A file of the tenant's datastore.
fn data(daemon: &Daemon, name: &str) -> Option<String> {
    fs::read_to_string(format!("/var/lib/tenantd/{}/acme/{name}", daemon.app)).ok()
}

fn reload(daemon: &Daemon) -> CommandOutput {
    daemon.tell(&["reload-app", "acme"])
}

fn log(daemon: &Daemon) -> String {
    daemon.tell(&["logs", "acme"]).expect(0)
}

/// Waits for a line of the tenant's log.
fn logged(daemon: &Daemon, text: &str) {
    until(text, || log(daemon).contains(text).then_some(()));
}

#[test]
fn a_signal_reaches_the_main_process() {
    let daemon = start("reload.signal = \"SIGHUP\"");
    let pid = daemon.tenant("acme").pid.unwrap();
    let said = reload(&daemon).expect(0);
    let line = format!("acme: reloaded: SIGHUP sent to its main process {pid}\n");
    assert_eq!(said, line);
    until("the program has heard it", || data(&daemon, "heard"));
    logged(&daemon, "reload: SIGHUP sent to the main process");

    let both = daemon.tell(&["reload-app", "--all", "--json"]);
    assert_eq!(both.code, 1, "{both:?}");
    let json: Value = serde_json::from_str(&both.out).unwrap();
    assert_eq!(json["verb"], "reload-app");
    assert_eq!(json["tenants"][0]["outcome"], "done");
    assert_eq!(json["tenants"][0]["pid"], pid);
    assert_eq!(json["tenants"][1]["outcome"], "refused");
    let reason = "it is down: no program runs that could read it, and a start reads it anyway";
    assert_eq!(json["tenants"][1]["reason"], reason);
    assert_eq!(daemon.tenant("acme").pid, Some(pid));
    assert_eq!(daemon.tenant("acme").restarts, 0);
    daemon.end();
}

#[test]
fn a_command_runs_in_the_tenant_as_its_user() {
    let told = "/srv/told";
    let daemon = start(&format!("reload.command = [\"{told}\"]"));
    let pid = daemon.tenant("acme").pid;
    let answer = |text: &str| {
        let path = format!("/var/lib/tenantd/{}/acme/answer", daemon.app);
        fs::write(path, text).unwrap();
    };
    answer("0");
    assert_eq!(
        reload(&daemon).expect(0),
        format!("acme: reloaded by {told}\n")
    );
    logged(&daemon, "nobody");
    logged(&daemon, "|-- 10.77.0.11");
    logged(&daemon, "reload: the command finished in");

    answer("3");
    let said = reload(&daemon);
    assert_eq!(said.code, 1, "{said:?}");
    let line = format!("acme: not reloaded by {told}: the command exited with status 3\n");
    assert!(said.out.starts_with(&line), "{said:?}");
    logged(&daemon, "reload: the command exited with status 3");
    assert_eq!(daemon.tenant("acme").pid, pid);
    daemon.end();
}

#[test]
fn a_command_is_ended_when_its_time_is_over() {
    let daemon = start("reload = { command = [\"/bin/sleep\", \"600\"], within = \"300ms\" }");
    let said = reload(&daemon);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains("the command was ended after 0.3 s"),
        "{said:?}"
    );
    let visitors = format!("/sys/fs/cgroup/tenantd/{}/acme/visitors", daemon.app);
    until("nothing of it is left", || {
        let events = fs::read_to_string(format!("{visitors}/cgroup.events"));
        events.map_or(Some(()), |text| text.contains("populated 0").then_some(()))
    });
    daemon.end();
}

#[test]
fn a_change_of_the_table_needs_no_restart() {
    let daemon = start("");
    let pid = daemon.tenant("acme").pid;
    let said = reload(&daemon);
    assert_eq!(said.code, 1, "{said:?}");
    let line = "acme: refused: the manifest has no [app.reload], see tenantd.toml(5)\n";
    assert_eq!(said.out, line);
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let text = text.replace("user = ", "reload.signal = \"SIGHUP\"\nuser = ");
    fs::write(&daemon.manifest, text).unwrap();
    let diff = daemon.tell(&["diff"]).expect(3);
    assert!(diff.contains("live acme\n  reload"), "{diff}");
    daemon.tell(&["reload"]).expect(0);
    reload(&daemon).expect(0);
    until("the program has heard it", || data(&daemon, "heard"));
    assert_eq!(daemon.tenant("acme").pid, pid);
    daemon.end();
}

#[test]
fn a_command_does_not_delay_a_detachment() {
    let mut daemon = start("reload = { command = [\"/bin/sleep\", \"600\"], within = \"1h\" }");
    let asking = Command::new(PROGRAM)
        .args(["--app", &daemon.app, "reload-app", "acme"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    logged(&daemon, "reload: /bin/sleep 600 started");
    daemon.tell(&["detach"]).expect(0);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    let said = asking.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(
        out.contains("the supervisor is ending or being upgraded"),
        "{out}"
    );
    daemon.again();
    daemon.tenant("acme").pid.unwrap();
    daemon.end();
}

/// Otherwise commands that hang would hold up those of all tenants for as long as they may take.
#[test]
fn a_command_ends_with_its_client() {
    let daemon = start("reload = { command = [\"/bin/sleep\", \"600\"], within = \"1h\" }");
    let mut asking = Command::new(PROGRAM)
        .args(["--app", &daemon.app, "reload-app", "acme"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    logged(&daemon, "reload: /bin/sleep 600 started");
    let visitors = format!("/sys/fs/cgroup/tenantd/{}/acme/visitors", daemon.app);
    // Each has a cgroup of its own.
    let pid = until("the command runs", || {
        let own = fs::read_dir(&visitors).ok()?.flatten();
        let mut own = own.map(|it| it.path().join("cgroup.procs"));
        own.find_map(|procs| fs::read_to_string(procs).ok()?.lines().next()?.parse().ok())
    });
    let command = pidfd(pid);
    asking.kill().unwrap();
    asking.wait().unwrap();
    assert!(ends(&command, LIMIT), "the command still runs");
    daemon.end();
}

#[test]
fn nginx_reads_its_configuration_again() {
    place::host();
    for path in ["/var/lib/nginx", "/etc/nginx-own"] {
        folder(path);
    }
    let configuration = "daemon off; pid /run/nginx.pid; events {} http { server { listen 80; \
        location / { return 200 'PAGE'; } } }";
    let daemon = Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\n\
         command = [\"/usr/sbin/nginx\", \"-c\", \"/etc/nginx-own/nginx.conf\"]\n\
         private = [\"/run\", \"/var/log/nginx\", \"/var/lib/nginx\"]\nready.tcp = 80\n\
         datastore = { path = \"/etc/nginx-own\", mode = \"0755\" }\n\
         stop = { signal = \"SIGQUIT\", grace = \"5s\" }\n\
         reload.command = [\"/usr/sbin/nginx\", \"-c\", \"/etc/nginx-own/nginx.conf\", \"-s\", \"reload\"]\n\
         [tenants]\nacme = { ip = \"10.77.0.11\", autostart = false }\n",
    );
    let write = |page: &str| {
        let path = format!("/var/lib/tenantd/{}/acme/nginx.conf", daemon.app);
        fs::write(path, configuration.replace("PAGE", page)).unwrap();
    };
    fs::create_dir_all(format!("/var/lib/tenantd/{}/acme", daemon.app)).unwrap();
    write("one");
    daemon.tell(&["start", "acme"]).expect(0);
    let pid = daemon.tenant("acme").pid;
    assert_eq!(get("10.77.0.11", "/").1, "one");
    write("two");
    daemon.tell(&["reload-app", "acme"]).expect(0);
    until("the new page is there", || {
        (get("10.77.0.11", "/").1 == "two").then_some(())
    });
    assert_eq!(daemon.tenant("acme").pid, pid);
    daemon.end();
}
