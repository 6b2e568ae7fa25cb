//! What has happened: noted by supervisors, kept by the meter, shown by `tenantd history`.

use std::fs;
use std::process::{Child, Command};

use tenantd_api::history::{Entry, Kind};

use crate::support::daemon::{Daemon, PROGRAM, tenantd, until};
use crate::support::place::{self, script};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app", "{tenant}"]
datastore.path = "/srv/data"
restart = { delay = "10ms" }
[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
"#;

/// Says what a terminal would obey and ends, as long as there is a file; else waits.
const PROGRAM_OF_TENANT: &str = "[ -e /srv/data/fail ] || exec sleep 1000000
rm /srv/data/fail
echo one
python3 -c 'print(\"\\x1b[2J\\u202e\" + \"x\" * 70000)'
echo 'no disk' >&2
exit 7";

/// A meter. Dropping it kills it.
struct Meter(Child);

impl Meter {
    fn start() -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["meter", "--interval", "50ms", "--datastores", "never"]);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn entries(arguments: &[&str]) -> Vec<Entry> {
    let said = tenantd(&[&["history", "--json"], arguments].concat());
    let lines = said.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The first entry of this kind with this text, once it is there.
fn found(kind: Kind, text: &str) -> Entry {
    until(&format!("the history has {text}"), || {
        let all = entries(&[]).into_iter();
        let mut of_kind = all.filter(|it| it.kind == kind);
        of_kind.find(|it| it.text.contains(text) && it.kind == kind)
    })
}

fn fail(daemon: &Daemon, tenant: &str) {
    let folder = format!("/var/lib/tenantd/{}/{tenant}", daemon.app);
    fs::write(format!("{folder}/fail"), "").unwrap();
    daemon.tell(&["restart", tenant]);
    until("it is up again", || {
        let status = daemon.tenant(tenant);
        (status.state.word() == "up" && status.restarts > 0).then_some(())
    });
}

/// What happened to the tenants, and to the supervisor with this process.
fn the_entries(before: u32) {
    let end = found(Kind::End, "exited with status 7");
    assert_eq!(end.tenant.as_ref().unwrap().as_str(), "acme");
    assert_eq!(end.output.last().unwrap(), "no disk", "{end:?}");
    let long = &end.output[1];
    assert!(
        long.starts_with("\\u{1b}[2J\\u{202e}xxx") && long.len() < 300,
        "{long}"
    );
    let asked = found(Kind::Request, "restart").request.unwrap();
    assert_eq!((asked.uid, asked.comm.as_deref()), (0, Some("tenantd")));
    found(Kind::Pause, "pause");
    found(Kind::Supervisor, &format!("process {before}"));
    found(Kind::Supervisor, "was killed");
    let reload = found(Kind::Reload, "2 to change live");
    let details = reload.details.join("\n");
    assert!(
        details.contains("live acme") && details.contains("20ms"),
        "{details}"
    );
    assert_eq!(reload.tenants.len(), 2);
}

#[test]
fn what_happened_last_night_is_shown() {
    place::host();
    place::folder("/srv/data");
    script("app", PROGRAM_OF_TENANT);
    let said = tenantd(&["history"]);
    assert!(
        said.code == 1 && said.err.contains("no meter has run"),
        "{said:?}"
    );
    let meter = Meter::start();
    until("the meter is there", || {
        fs::exists(tenantd_host::history::ROOT)
            .unwrap()
            .then_some(())
    });
    let mut daemon = Daemon::start_settled(MANIFEST);
    assert_eq!(found(Kind::Start, "→ up").times, 1);
    // Nothing is lost that happens while no meter runs.
    drop(meter);
    fail(&daemon, "acme");
    // The end and the output before it are noted apart: in any order.
    let noted = format!("{}/{}/acme", tenantd_host::history::ROOT, daemon.app);
    until("the output is noted", || {
        let noted = fs::read_to_string(&noted).ok()?;
        noted.contains("no disk").then_some(())
    });
    let before = daemon.pid();
    daemon.kill();
    daemon.again();
    daemon.tell(&["pause", "globex"]).expect(0);
    daemon.tell(&["resume", "globex"]).expect(0);
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let changed = text.replace("\"10ms\"", "\"20ms\"");
    fs::write(&daemon.manifest, changed).unwrap();
    daemon.tell(&["reload"]).expect(0);
    let _meter = Meter::start();

    the_entries(before);
    let all = entries(&[]);
    assert!(all.iter().all(|it| it.kind != Kind::Gap), "{all:?}");
    assert!(all.is_sorted_by_key(|it| it.time), "{all:?}");
    let of_globex = entries(&["globex", "--since", "1h"]);
    let is_other = |it: &Entry| it.tenant.as_ref().is_some_and(|it| it.as_str() != "globex");
    assert!(
        !of_globex.is_empty() && !of_globex.iter().any(is_other),
        "{of_globex:?}"
    );
    let text = tenantd(&["history", "--kind", "end", "acme"]).expect(0);
    assert!(
        text.contains("\n    | no disk\n") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert_eq!(entries(&["--until", "2020-01-01"]), []);
    assert_eq!(entries(&["--lines", "2"]).len(), 2);
    daemon.end();
    found(Kind::Supervisor, "ended");
}
