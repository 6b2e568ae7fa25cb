//! `logs` of groups with the right to read them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use super::{command, deputies, python, start, told};
use crate::support::daemon::{Daemon, until};

#[test]
fn a_group_reads_the_logs_of_its_tenants_and_no_other() {
    let daemon = start();
    let shown = told(&daemon, "4242", &["logs", "acme"]).expect(0);
    assert!(shown.contains("here is acme"), "{shown}");
    for arguments in [
        &["--utc"][..],
        &["-n", "1", "--utc"],
        &["--since", "1h", "--utc"],
        &["--since", "1h", "-n", "2", "--utc"],
    ] {
        let arguments = [&["logs", "acme"][..], arguments].concat();
        let of_root = daemon.tell(&arguments).expect(0);
        assert_eq!(told(&daemon, "4242", &arguments).expect(0), of_root);
    }
    let all = told(&daemon, "4242", &["logs", "--all"]).expect(0);
    assert!(
        all.contains("here is acme") && !all.contains("bolt"),
        "{all}"
    );
    // It does not see that there is such a tenant.
    let refused = told(&daemon, "4242", &["logs", "bolt"]);
    assert_ne!(refused.code, 0);
    assert!(!refused.out.contains("here is"), "{refused:?}");
    let refused = told(&daemon, "4343", &["logs", "acme"]);
    let why = "none of your groups may read the log of acme";
    assert!(
        refused.code == 1 && refused.err.contains(why),
        "{refused:?}"
    );
    let refused = told(&daemon, "4242", &["logs", "acme", "-n", "10001"]);
    assert!(refused.err.contains("at most 10000"), "{refused:?}");
    daemon.end();
}

/// A client that is not this program.
#[test]
fn a_request_for_the_log_of_another_tenant_is_refused() {
    let daemon = start();
    let said = python(
        &daemon,
        "4242",
        "for tenants in (['bolt'], ['acme', 'bolt'], []):\n  \
         print(ask(connect(), 'Logs', tenants=tenants))\n\
         for wrong in ('../acme', 'acme.log', 'TENANTD_TENANT=bolt', '--all', ''):\n  \
         reply, fds = ask(connect(), 'Logs', tenants=[wrong])\n  assert not fds, wrong\n\
         reply, fds = ask(connect(), 'Logs', tenants=['acme'], lines=100000000)\n\
         assert 'NoDeputy' in reply and not fds\n\
         reply, fds = ask(connect(), 'Logs', tenants=['acme'], since=1 << 62)\n\
         print(open(fds[0]).read())",
    )
    .expect(0);
    assert_eq!(said.matches("Supervisor.NoRight").count(), 3, "{said}");
    assert!(
        !said.contains("here is") && !said.contains("socket"),
        "{said}"
    );
    assert!(said.contains("the time is out of range"), "{said}");
    let audit = format!("/var/log/tenantd/{}.audit", daemon.app);
    until("it is noted", || {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        let is_refused = |line: &&str| line.contains("\"refused\"") && line.contains("\"logs\"");
        (text.lines().filter(is_refused).count() == 3).then_some(())
    });
    daemon.end();
}

/// `logs -f` of acme.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Following {
    fn start(daemon: &Daemon) -> Self {
        let mut command = command(daemon, "4242", &["logs", "-f", "acme"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn until(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "{text}");
            if line.contains(text) {
                return;
            }
        }
    }
}

#[test]
fn a_log_is_followed_until_the_client_ends_or_the_right_is_taken() {
    let daemon = start();
    let mut one = Following::start(&daemon);
    let mut two = Following::start(&daemon);
    let mut three = Following::start(&daemon);
    for each in [&mut one, &mut two, &mut three] {
        each.until("here is acme");
    }
    assert_eq!(deputies(&daemon).len(), 3);
    daemon.tell(&["restart", "acme"]).expect(0);
    for each in [&mut one, &mut two, &mut three] {
        each.until("here is acme");
    }
    // Its end is that of the client, however that ends.
    one.child.kill().unwrap();
    one.child.wait().unwrap();
    // The reader of its output has gone.
    let Following { mut child, lines } = two;
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    until("two have ended", || {
        (deputies(&daemon).len() == 1).then_some(())
    });

    let text = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, text.replace("\"logs\"", "\"status\"")).unwrap();
    daemon.tell(&["reload"]).expect(0);
    let mut rest = String::new();
    while three.lines.read_line(&mut rest).unwrap() > 0 {}
    let output = three.child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the right to read them was taken away"),
        "{said}"
    );
    until("all have ended", || {
        deputies(&daemon).is_empty().then_some(())
    });
    daemon.end();
}

#[test]
fn one_user_has_few_deputies_and_all_together_not_many() {
    let daemon = start();
    let said = python(
        &daemon,
        "4242",
        "def follow(): return ask(connect(), 'Logs', tenants=['acme'], follow=True)\n\
         open_ = [follow() for n in range(8)]\n\
         assert all(len(fds) == 1 for reply, fds in open_)\n\
         print(follow())\n\
         os.close(open_.pop()[1][0])\n\
         end = time.monotonic() + 30\n\
         while not follow()[1]: assert time.monotonic() < end",
    )
    .expect(0);
    let why = "8 commands and logs of this user are open";
    assert!(said.contains(why), "{said}");
    until("all have ended", || {
        deputies(&daemon).is_empty().then_some(())
    });
    daemon.end();
}
