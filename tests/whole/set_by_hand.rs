//! `tenantd set` without `--permanent`. A hybrid host has few controllers in its unified tree: it is shown with huge
//! pages, and the memory and the processor on the booted machine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run, until};
use crate::support::place::{self, example, folder};

fn start() -> Daemon {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\n\
         datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\nstop.grace = \"5s\"\n\
         restart.delay = \"100ms\"\n\
         [control]\noperators = [ {{ group = 4242, rights = [\"set\"], tenants = [\"acme\"] }} ]\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\", limits = {{ hugetlb.2MB = \"8 MiB\" }} }}\n\
         bolt = {{ ip = \"10.77.0.12\" }}\n"
    ))
}

#[track_caller]
fn edit(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&daemon.manifest, text.replacen(old, new, 1)).unwrap();
}

/// The leaf of a tenant.
fn leaf(daemon: &Daemon, tenant: &str) -> PathBuf {
    PathBuf::from(daemon.tenant(tenant).cgroup.unwrap())
}

fn huge(cgroup: &Path) -> String {
    let text = fs::read_to_string(cgroup.join("hugetlb.2MB.max")).unwrap();
    match text.trim_end() {
        // A new cgroup may have so many pages that the number is no `max`.
        "9223372036854771712" => "max".to_owned(),
        text => text.to_owned(),
    }
}

const MEBIBYTE: u64 = 1 << 20;

#[track_caller]
fn has(cgroup: &Path, mebibytes: u64) {
    assert_eq!(huge(cgroup), (mebibytes * MEBIBYTE).to_string());
}

const SET: &str = "acme: set by hand until it stops or the manifest changes them:\n  hugetlb.2MB 16 MiB; the manifest has 8 MiB\n";

#[test]
fn a_limit_that_is_set_lasts_until_the_manifest_changes_it_or_the_tenant_stops() {
    let mut daemon = start();
    let (acme, before) = (leaf(&daemon, "acme"), daemon.tenant("acme").pid);
    let set = |daemon: &Daemon, limit: &str| daemon.tell(&["set", "acme", limit]).expect(0);
    assert_eq!(set(&daemon, "hugetlb.2MB=16MiB"), SET);
    has(&acme, 16);
    assert_eq!(daemon.tenant("acme").pid, before);
    let again = set(&daemon, "hugetlb.2MB=16 MiB");
    assert!(again.starts_with("acme: it was so already"), "{again}");
    // It is shown beside what the manifest has, and is no drift.
    let shown = "hugetlb.2MB 16 MiB; the manifest has 8 MiB";
    let status = daemon.tell(&["status"]).expect(0);
    assert!(
        status.contains(&format!("\n  BY HAND {shown}\n")),
        "{status}"
    );
    let diff = daemon.tell(&["diff"]).expect(0);
    assert!(diff.contains(&format!("by hand acme: {shown}\n")), "{diff}");
    let verify = daemon.tell(&["verify"]).expect(0);
    assert!(
        verify.starts_with(&format!(
            "acme: by hand: {shown}\n2 tenants verified: all is"
        )),
        "{verify}"
    );
    // A reload of something else and a restart keep it.
    edit(&daemon, "stop.grace = \"5s\"", "stop.grace = \"6s\"");
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_ne!(daemon.tenant("acme").pid, before);
    has(&acme, 16);
    // So does the death of the supervisor, also if another program has written the file meanwhile.
    daemon.kill();
    fs::write(acme.join("hugetlb.2MB.max"), "0").unwrap();
    daemon.again();
    daemon.settles();
    daemon.until_tenant("acme", |tenant| !tenant.applying);
    has(&acme, 16);
    assert_eq!(daemon.tenant("acme").by_hand.len(), 1);
    // What the manifest changes takes precedence, and what was set does not come back.
    edit(&daemon, "8 MiB", "4 MiB");
    daemon.tell(&["reload"]).expect(0);
    has(&acme, 4);
    edit(&daemon, "4 MiB", "8 MiB");
    daemon.tell(&["reload"]).expect(0);
    has(&acme, 8);
    assert_eq!(daemon.tenant("acme").by_hand, []);
    // It ends with a stop.
    set(&daemon, "hugetlb.2MB=16MiB");
    daemon.tell(&["stop", "acme"]).expect(0);
    let said = daemon.tell(&["set", "acme", "hugetlb.2MB=16MiB"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(format!("{said:?}").contains("it is stopped"), "{said:?}");
    daemon.tell(&["start", "acme"]).expect(0);
    has(&leaf(&daemon, "acme"), 8);
    daemon.end();
}

#[test]
fn what_is_set_is_taken_back() {
    let daemon = start();
    let (acme, bolt) = (leaf(&daemon, "acme"), leaf(&daemon, "bolt"));
    let set = |words: &[&str]| daemon.tell(&[&["set"], words].concat()).expect(0);
    assert_eq!(set(&["acme", "hugetlb.2MB=16MiB"]), SET);
    let back = "acme: all limits are those of the manifest\n";
    assert_eq!(set(&["acme", "hugetlb.2MB="]), back);
    has(&acme, 8);
    assert_eq!(
        set(&["acme", "--reset"]),
        "acme: no limit was set by hand\n"
    );
    set(&["acme", "hugetlb.2MB=unlimited"]);
    assert_eq!(huge(&acme), "max");
    assert_eq!(set(&["acme", "--reset"]), back);
    has(&acme, 8);
    // Also where the manifest has none.
    let said = set(&["bolt", "hugetlb.2MB=2MiB"]);
    assert!(
        said.contains("\n  hugetlb.2MB 2 MiB; the manifest has none\n"),
        "{said}"
    );
    has(&bolt, 2);
    set(&["bolt", "hugetlb.2MB="]);
    assert_eq!(huge(&bolt), "max");
    daemon.end();
}

#[test]
fn what_cannot_be_set_changes_nothing() {
    let daemon = start();
    let acme = leaf(&daemon, "acme");
    let is_there = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .is_ok_and(|all| all.split_whitespace().any(|it| it == "memory"));
    let lacking = match is_there {
        true => ("pids.max=many", "from 1 to"),
        false => ("memory.max=1GiB", "lacks the controller memory"),
    };
    for (limit, why) in [
        lacking,
        ("memory=1GiB", "did you mean memory.max?"),
        ("hugetlb.2MB=lots", "is neither a size"),
        ("hugetlb.3MB=1MiB", "no huge pages of this size, but of"),
        ("io.max=10MiB", "io.max=/dev/sda:wbps=10MiB"),
        ("io.max=/dev/null:wbps=1", "io.max /dev/null"),
        ("open_files=9", "--permanent"),
    ] {
        // One of several that is wrong.
        let said = daemon.tell(&["set", "acme", "hugetlb.2MB=32MiB", limit]);
        assert_eq!(said.code, 1, "{limit}: {said:?}");
        assert!(
            said.out.contains(why) && said.out.contains("refused"),
            "{limit}: {said:?}"
        );
        has(&acme, 8);
        assert_eq!(daemon.tenant("acme").by_hand, [], "{limit}");
    }
    let said = daemon.tell(&["set", "acmee", "hugetlb.2MB=32MiB"]);
    assert!(
        said.code == 1 && said.err.contains("did you mean `acme`?"),
        "{said:?}"
    );
    for words in [&["hugetlb.2MB"][..], &[], &["--reset", "--permanent"]] {
        daemon.tell(&[&["set", "acme"], words].concat()).expect(2);
    }
    daemon.end();
}

/// What a user without privileges who is in this group gets.
fn told(daemon: &Daemon, group: &str, arguments: &[&str]) -> CommandOutput {
    let mut command = in_time("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", group]);
    command.args([PROGRAM, "--app", &daemon.app]);
    run(command.args(arguments))
}

#[test]
fn an_operator_sets_limits_of_its_tenants_and_that_is_noted() {
    let daemon = start();
    let limit = "hugetlb.2MB=16MiB";
    assert_eq!(
        told(&daemon, "4242", &["set", "acme", limit]).expect(0),
        SET
    );
    has(&leaf(&daemon, "acme"), 16);
    for (group, arguments) in [
        ("4242", ["set", "bolt", limit]),
        ("4242", ["set", "bolt", "--reset"]),
        ("4242", ["set", "nobody", limit]),
        ("4243", ["set", "acme", limit]),
    ] {
        let refused = told(&daemon, group, &arguments);
        assert_ne!(refused.code, 0, "{arguments:?}: {refused:?}");
    }
    assert_eq!(huge(&leaf(&daemon, "bolt")), "max");
    let path = format!("/var/log/tenantd/{}.audit", daemon.app);
    let noted: Vec<Value> = until("the request is noted", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        (lines.len() >= 3).then_some(lines)
    });
    assert_eq!(noted[0]["verb"], "set hugetlb.2MB=16 MiB", "{noted:?}");
    assert_eq!(noted[0]["outcome"], "done", "{noted:?}");
    assert_eq!(noted[1]["outcome"], "refused", "{noted:?}");
    daemon.end();
}

/// Root in a tenant is root of the host, without its capabilities.
#[test]
fn a_tenant_cannot_change_its_own_limits() {
    let daemon = start();
    let acme = leaf(&daemon, "acme");
    daemon.tell(&["set", "acme", "hugetlb.2MB=16MiB"]).expect(0);
    let path = acme.display();
    let code = format!(
        "import os\n\
         def attempt(what, do):\n  try: do(); print('OPEN', what)\n  except OSError as e: print('refused', e.errno)\n\
         def write(name, text):\n  with open('{path}/' + name, 'w') as f: f.write(text)\n\
         attempt('max', lambda: write('hugetlb.2MB.max', 'max'))\n\
         attempt('freeze', lambda: write('cgroup.freeze', '1'))\n\
         for name in ['trusted.tenantd.set', 'user.tenantd.limits', 'security.x']:\n\
         \x20 attempt(name, lambda: os.setxattr('{path}', name, b'hugetlb\\t2MB\\tmax\\t8388608\\n'))\n\
         \x20 attempt(name, lambda: os.removexattr('{path}', name))\n"
    );
    let said = daemon
        .tell(&["exec", "acme", "--", "python3", "-c", &code])
        .expect(0);
    assert!(said.contains("refused") && !said.contains("OPEN"), "{said}");
    has(&acme, 16);
    assert_eq!(daemon.tenant("acme").by_hand[0].value, "16 MiB");
    daemon.end();
}
