//! `exec` and `logs`: commands inside a tenant, and the output of its program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::guestbook::three;

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, in_time, pidfd, run, signal};
use crate::support::visit::get;

#[test]
fn exec_runs_a_command_and_returns_its_exit_code() {
    let daemon = three();
    let sh = |script: &str| daemon.tell(&["exec", "globex", "--", "sh", "-c", script]);
    assert_eq!(sh("exit 42").code, 42);
    assert_eq!(sh("id -un; id -gn; pwd").expect(0), "nobody\nnogroup\n/\n");
    assert_eq!(sh("echo out; echo err >&2").err, "err\n");
    assert_eq!(sh("ls -A /var/lib/guestbook").expect(0), "entries\n");
    assert!(
        sh("grep '^0::' /proc/self/cgroup")
            .expect(0)
            .contains("globex")
    );
    let none = daemon.tell(&["exec", "globex", "--", "/no/such/program"]);
    assert_eq!(none.code, 127, "{none:?}");
    let not_executable = daemon.tell(&["exec", "globex", "--", "/etc/passwd"]);
    assert_eq!(not_executable.code, 126, "{not_executable:?}");

    daemon.tell(&["stop", "globex"]).expect(0);
    let down = sh("true");
    assert_eq!(down.code, 125, "{down:?}");
    assert!(down.err.contains("globex"), "{down:?}");
}

/// A command without a filter could otherwise read the keys of the operator.
#[test]
fn a_command_has_a_session_keyring_of_its_own() {
    let daemon = three();
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let with = "wall = { system_calls = \"none\" }\n[tenants]";
    fs::write(&daemon.manifest, text.replace("[tenants]", with)).unwrap();
    daemon.tell(&["reload"]).expect(0);
    daemon.settles();
    // KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING.
    let script = format!("print syscall({}, 0, -3, 0)", libc::SYS_keyctl);
    let of_command = || {
        let said = daemon.tell(&["exec", "acme", "--", "perl", "-e", &script]);
        said.expect(0).parse::<i64>().unwrap()
    };
    let first = of_command();
    assert!(first > 0, "{first}");
    assert_ne!(first, of_command());
    daemon.end();
}

#[test]
fn a_command_of_root_stays_in_the_tenant() {
    let daemon = three();
    let sh = |user: &str, script: &str| {
        daemon.tell(&["exec", "--user", user, "acme", "--", "sh", "-c", script])
    };
    let said = sh(
        "root",
        "id -u; id -G; echo $HOME $USER $PATH; env | grep -c .",
    );
    let lines: Vec<String> = said.expect(0).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "0");
    assert!(lines[2].starts_with("/root root /usr/"), "{lines:?}");
    // It may change what is the tenant's, and nothing of the host or of another tenant.
    let file = "/var/lib/guestbook/of-root";
    sh("root", &format!("touch {file} && chown nobody {file}")).expect(0);
    let on_host = format!("/var/lib/tenantd/{}/acme/of-root", daemon.app);
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(on_host).unwrap());
    assert_eq!(owner, 65534);
    let refused = "! touch /etc/x && ! mount -t tmpfs none /mnt && ! mount -o remount,rw / \
                   && ! ls /var/lib/tenantd/*/globex && ip -br addr";
    let said = sh("root", refused);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("10.77.0.11"), "{said:?}");
    assert!(!said.out.contains("10.77.0.12"), "{said:?}");
    assert_eq!(sh("daemon", "id -un").expect(0), "daemon\n");
    let unknown = sh("nobody-of-this-host", "true");
    assert_eq!(unknown.code, 125, "{unknown:?}");
    assert!(unknown.err.contains("no user"), "{unknown:?}");
    daemon.end();
}

#[test]
fn a_command_on_a_terminal_has_one() {
    let daemon = three();
    let app = &daemon.app;
    let typed = format!(
        "{PROGRAM} --app {app} exec acme -- sh -c 'test -t 0 && test -t 1 && exit 7; exit 1'"
    );
    let said = run(in_time("script").args(["-qec", &typed, "/dev/null"]));
    assert_eq!(said.code, 7, "{said:?}");
}

#[test]
fn logs_show_earlier_and_new_lines() {
    let daemon = three();
    // The line may still be in the pipe when the tenant is ready.
    let first = "listening on port 80";
    crate::support::daemon::until("the first line is in the log", || {
        let said = daemon.tell(&["logs", "acme"]).expect(0);
        said.contains(first).then_some(())
    });

    let mut follower = in_time(PROGRAM)
        .args(["--app", &daemon.app, "logs", "acme", "-f", "-n", "1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = |wanted: &str| {
        let found = lines
            .by_ref()
            .map(Result::unwrap)
            .any(|line| line.contains(wanted));
        assert!(found, "the log ended without {wanted:?}");
    };
    next(first);
    assert_eq!(get("10.77.0.11", "/not-there").0, 404);
    next("GET /not-there 404");
    // Another launch writes to the same log.
    daemon.kill_tenant("acme");
    next(first);
    follower.kill().unwrap();
    follower.wait().unwrap();

    let last = daemon.tell(&["logs", "acme", "-n", "1"]).expect(0);
    assert_eq!(last.lines().count(), 1, "{last}");
    assert!(last.contains("stdout") && last.contains(first), "{last}");
    let other = daemon.tell(&["logs", "globex"]).expect(0);
    assert!(!other.contains("/not-there"), "{other}");
}

/// The texts of a tenant's marks and of the lines that begin a launch, in their order.
fn marks(daemon: &Daemon, tenant: &str) -> Vec<String> {
    let said = daemon.tell(&["logs", tenant, "--since", "1d"]).expect(0);
    let text = |line: &str| line.splitn(3, ' ').nth(2).unwrap().to_owned();
    let is_meant =
        |text: &String| text.starts_with("tenantd ") || text.contains("listening on port");
    said.lines().map(text).filter(is_meant).collect()
}

#[test]
fn launches_and_ends_are_marked_among_the_lines_that_they_enclose() {
    let mut daemon = three();
    let listening = "stdout  listening on port 80".to_owned();
    let started = |pid: Option<u32>| format!("tenantd program started, pid {}", pid.unwrap());
    let mut expected = vec![started(daemon.tenant("acme").pid), listening.clone()];
    let killed = "tenantd program was killed by SIGKILL".to_owned();
    let pid = daemon.kill_tenant("acme").pid;
    expected.extend([killed.clone(), started(pid), listening.clone()]);
    // One that ends while no supervisor watches.
    daemon.kill();
    let process = pidfd(pid.unwrap());
    signal(pid.unwrap(), Signal::SIGKILL);
    assert!(ends(&process, LIMIT));
    // The logs of one that is not running either, but of all tenants, can be read.
    let all = daemon.tell(&["logs", "*", "-n", "1000"]).expect(0);
    for tenant in ["acme    2", "globex  2", "initech 2"] {
        assert!(all.lines().any(|line| line.starts_with(tenant)), "{all}");
    }
    daemon.again();
    let pid = daemon.until_tenant("acme", TenantStatus::is_as_wanted).pid;
    expected.push(format!("{killed} while no supervisor was running"));
    expected.extend([started(pid), listening]);
    daemon.tell(&["stop", "acme"]).expect(0);
    expected.push("tenantd program was killed by SIGTERM".to_owned());
    assert_eq!(marks(&daemon, "acme"), expected);
    assert_eq!(
        marks(&daemon, "globex").len(),
        2,
        "adopted, not launched again"
    );
    daemon.end();
}
