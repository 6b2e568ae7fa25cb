//! `history` of groups with the right `logs`.

use std::fs;
use std::process::{Child, Command};

use super::{python, start, told};
use crate::support::daemon::{PROGRAM, until};

/// A meter. Dropping it kills it.
struct Meter(Child);

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The text without the columns.
fn squeezed(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_group_sees_the_history_of_its_tenants_without_requests() {
    let daemon = start();
    let meter = || {
        let mut command = Command::new(PROGRAM);
        command.args(["meter", "--interval", "50ms", "--datastores", "never"]);
        Meter(command.spawn().unwrap())
    };
    let _meter = meter();
    until("the meter is there", || {
        fs::exists(tenantd_host::history::ROOT)
            .unwrap()
            .then_some(())
    });
    daemon.tell(&["restart", "acme", "bolt"]).expect(0);
    daemon.tell(&["pause", "acme"]).expect(0);
    let of_root = until("the history has both", || {
        let all = squeezed(&daemon.tell(&["history"]).out);
        let has = |what: &str| all.contains(what);
        (has("acme pause") && has("bolt start")).then_some(all)
    });
    assert!(
        of_root.contains("request: restart acme bolt: done"),
        "{of_root}"
    );
    let shown = squeezed(&told(&daemon, "4242", &["history"]).expect(0));
    assert!(
        shown.contains("acme start") && shown.contains("acme pause: pause"),
        "{shown}"
    );
    for hidden in ["bolt", "request:", "user 0"] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
    let json = told(&daemon, "4242", &["history", "acme", "--json", "-n", "1"]).expect(0);
    assert_eq!(json.lines().count(), 1, "{json}");
    let refused = told(&daemon, "4242", &["history", "bolt"]);
    assert!(refused.code == 1 && refused.out.is_empty(), "{refused:?}");
    let refused = told(&daemon, "4343", &["history", "acme"]);
    assert!(
        refused.err.contains("may read the log of acme"),
        "{refused:?}"
    );
    // A client that is not this program.
    let said = python(
        &daemon,
        "4242",
        "reply, fds = ask(connect(), 'History', tenants=['bolt'])\nprint(reply, fds)\n\
         reply, fds = ask(connect(), 'History', tenants=['acme'], kinds=['nonsense'])\nprint(reply, fds)\n",
    );
    let said = said.expect(0);
    assert_eq!(said.matches("[]").count(), 2, "{said}");
    daemon.tell(&["resume", "acme"]).expect(0);
    daemon.end();
}
