//! Limits of cgroups. A hybrid host has few controllers in its unified tree: what can be limited there is shown with
//! huge pages, and the rest on the booted machine.

use std::fs;
use std::path::{Path, PathBuf};

use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place::{self, example, folder};

/// The controllers of the tree.
fn controllers() -> String {
    let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let found = trees.map(|tree| fs::read_to_string(format!("{tree}/cgroup.controllers")));
    found.into_iter().find_map(Result::ok).unwrap()
}

fn manifest(limits: &str, total: &str, acme: &str) -> String {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\"]\n\
         datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\nstop.grace = \"5s\"\n\
         restart.strikes = 1\n\
         [app.limits]\n{limits}\n[app.total]\n{total}\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\"{acme} }}\nglobex = {{ ip = \"10.77.0.12\" }}\n"
    )
}

#[track_caller]
fn edit(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&daemon.manifest, text.replacen(old, new, 1)).unwrap();
}

/// The leaf of a tenant.
fn leaf(daemon: &Daemon, tenant: &str) -> PathBuf {
    let pid = daemon.tenant(tenant).pid.unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let tree = trees
        .iter()
        .find(|tree| tree.join("cgroup.controllers").exists());
    let program = tree.unwrap().join(own.unwrap());
    program.parent().unwrap().to_owned()
}

fn huge(cgroup: &Path) -> String {
    let text = fs::read_to_string(cgroup.join("hugetlb.2MB.max")).unwrap();
    text.trim_end().to_owned()
}

fn pids(daemon: &Daemon) -> Vec<Option<u32>> {
    daemon.status().tenants.iter().map(|t| t.pid).collect()
}

#[test]
fn limits_are_set_before_the_program_runs_and_change_live() {
    let text = manifest(
        "hugetlb = { 2MB = \"64 MiB\" }",
        "hugetlb = { 2MB = \"1 GiB\" }",
        ", limits = { hugetlb = { 2MB = \"8 MiB\" } }",
    );
    let mut daemon = Daemon::start_settled(&text);
    let (acme, globex) = (leaf(&daemon, "acme"), leaf(&daemon, "globex"));
    let all = acme.parent().unwrap().to_owned();
    let is = |each: [&str; 3]| {
        let found = [&acme, &globex, &all].map(|cgroup| huge(cgroup));
        assert_eq!(found, each.map(str::to_owned));
    };
    is(["8388608", "67108864", "1073741824"]);
    let before = pids(&daemon);
    // The parts of a leaf have no files of their own.
    assert!(!acme.join("program/hugetlb.2MB.max").exists());
    edit(&daemon, "8 MiB", "16 MiB");
    edit(&daemon, "1 GiB", "2 GiB");
    let said = daemon.tell(&["diff"]).expect(3);
    assert!(
        said.contains("live acme\n  limit hugetlb 2MB 8 MiB → 16 MiB\n"),
        "{said}"
    );
    assert!(said.contains("total hugetlb 2MB 1 GiB → 2 GiB"), "{said}");
    is(["8388608", "67108864", "1073741824"]);
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(
        said.contains("acme: applied live: limit hugetlb 2MB\n"),
        "{said}"
    );
    crate::support::daemon::until("the total is changed", || {
        (huge(&all) == "2147483648").then_some(())
    });
    is(["16777216", "67108864", "2147483648"]);
    // What another program has written is found by the next supervisor.
    fs::write(acme.join("hugetlb.2MB.max"), "max").unwrap();
    daemon.kill();
    daemon.again();
    daemon.settles();
    daemon.until_tenant("acme", |tenant| !tenant.applying);
    is(["16777216", "67108864", "2147483648"]);
    // What is planned no longer is not limited.
    edit(&daemon, ", limits = { hugetlb = { 2MB = \"16 MiB\" } }", "");
    edit(&daemon, "hugetlb = { 2MB = \"64 MiB\" }", "");
    daemon.tell(&["reload"]).expect(0);
    is(["max", "max", "2147483648"]);
    assert_eq!(pids(&daemon), before);
    daemon.end();
}

#[test]
fn a_tenant_whose_limit_cannot_be_set_is_not_started() {
    let is_there = controllers().split_whitespace().any(|it| it == "memory");
    let text = manifest("", "", ", limits.memory.max = \"64 MiB\"");
    let daemon = Daemon::start(&text);
    daemon.until_tenant("globex", |tenant| tenant.pid.is_some());
    let config = daemon.manifest.display().to_string();
    let check = tenantd(&["check", "--config", &config]);
    if is_there {
        daemon.until_tenant("acme", |tenant| tenant.pid.is_some());
        let found = fs::read_to_string(leaf(&daemon, "acme").join("memory.max")).unwrap();
        assert_eq!(found.trim_end(), "67108864");
        assert!(!check.out.contains("lacks the controller"), "{check:?}");
        daemon.end();
        return;
    }
    let acme = daemon.until_tenant("acme", |tenant| tenant.failure.is_some());
    let why = acme.failure.unwrap();
    assert_eq!(why.stage.word(), "limits");
    assert!(why.detail.contains("lacks the controller memory"), "{why}");
    assert!(acme.pid.is_none());
    // check says it too, with the place.
    assert_eq!(check.code, 1, "{check:?}");
    let both = format!("{}{}", check.out, check.err);
    assert!(both.contains("lacks the controller memory"), "{check:?}");
    let line = both
        .lines()
        .find(|line| line.contains("acme") && line.contains("memory.max"));
    assert!(line.is_some(), "{both}");
    // A reload that limits a running tenant so is refused for it, and interrupts nothing.
    let before = daemon.tenant("globex").pid;
    edit(
        &daemon,
        "globex = { ip = \"10.77.0.12\"",
        "globex = { ip = \"10.77.0.12\", limits.memory.max = 1",
    );
    daemon.tell(&["reload"]).expect(1);
    assert_eq!(daemon.tenant("globex").pid, before);
    daemon.end();
}

#[test]
fn status_and_verify_tell_the_limits_of_a_tenant() {
    let text = manifest(
        "hugetlb = { 2MB = \"64 MiB\" }",
        "hugetlb = { 2MB = \"1 GiB\" }",
        "",
    );
    let daemon = Daemon::start_settled(&text);
    let said = daemon.tell(&["status", "acme"]).expect(0);
    assert!(said.contains("\n  HUGETLB hugetlb 2MB 64 MiB\n"), "{said}");
    assert!(said.contains(" used\n"), "{said}");
    if !controllers().split_whitespace().any(|it| it == "memory") {
        let line = said.lines().find(|it| it.starts_with("  NOT COUNTED "));
        assert!(line.is_some_and(|it| it.contains("memory")), "{said}");
    }
    let said = daemon.tell(&["status"]).expect(0);
    assert!(!said.contains("HUGETLB"), "{said}");
    let json = |words: &[&str]| -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&daemon.tell(words).expect(0)).unwrap();
        all["tenants"][0]["usage"].clone()
    };
    let usage = json(&["status", "acme", "--json"]);
    assert_eq!(usage["limits"]["hugetlb 2MB"], "64 MiB", "{usage}");
    assert!(usage["cpu_usec"].as_u64().unwrap() > 0, "{usage}");
    assert!(json(&["status", "--json"]).is_null());
    // What another program writes is found and mended, of a tenant and of all together.
    let acme = leaf(&daemon, "acme");
    let all = acme.parent().unwrap().to_owned();
    assert_eq!(
        daemon.tell(&["verify"]).expect(0),
        "2 tenants verified: all is as planned\n"
    );
    fs::write(acme.join("hugetlb.2MB.max"), "max").unwrap();
    fs::write(all.join("hugetlb.2MB.max"), "0").unwrap();
    let said = daemon.tell(&["verify"]).expect(1);
    for line in [
        "acme: limit: planned hugetlb 2MB 64 MiB; found unlimited".to_owned(),
        format!("{}: limit: planned hugetlb 2MB 1 GiB; found 0", daemon.app),
    ] {
        assert!(said.lines().any(|it| it == line), "{line}: {said}");
    }
    daemon.tell(&["verify", "--repair"]).expect(0);
    assert_eq!(
        (huge(&acme), huge(&all)),
        ("67108864".to_owned(), "1073741824".to_owned())
    );
    daemon.end();
}

/// Touches a huge page of a tenant that may have none: the kernel counts that, and sends SIGBUS.
fn touch_a_huge_page(daemon: &Daemon) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_NORESERVE;
    let code = format!("import mmap; m = mmap.mmap(-1, 1 << 21, flags={flags}); m[0] = 1");
    let said = daemon.tell(&["exec", "acme", "--", "python3", "-c", &code]);
    assert_eq!(said.code, 128 + libc::SIGBUS, "{said:?}");
}

#[test]
fn a_limit_that_is_reached_is_noticed_and_is_the_reason_of_an_end() {
    let text = manifest("hugetlb = { 2MB = 0 }", "", "");
    let daemon = Daemon::start_settled(&text);
    assert_eq!(daemon.tenant("acme").reached, []);
    touch_a_huge_page(&daemon);
    let is = |count| {
        let of =
            move |tenant: &TenantStatus| tenant.reached.first().is_some_and(|it| it.count == count);
        daemon.until_tenant("acme", of)
    };
    let once = "a huge page was refused once: hugetlb 2MB is 0";
    assert_eq!(is(1).reached[0].text, once);
    touch_a_huge_page(&daemon);
    let acme = is(2);
    let twice = "a huge page was refused 2 times: hugetlb 2MB is 0";
    assert_eq!(
        (
            acme.reached[0].limit.as_str(),
            acme.reached[0].text.as_str()
        ),
        ("hugetlb 2MB", twice)
    );
    let said = daemon.tell(&["status"]).expect(0);
    assert!(said.contains(&format!("\n  REACHED {twice}\n")), "{said}");
    assert_eq!(daemon.tenant("globex").reached, []);
    let log = daemon.output();
    assert!(log.contains(&format!("acme: {once}")), "{log}");
    // No notification is needed for the reason of an end.
    touch_a_huge_page(&daemon);
    daemon.tell(&["kill", "-s", "KILL", "acme"]).expect(0);
    let acme = daemon.until_tenant("acme", |tenant| tenant.state == StateWord::Failed);
    let why = acme.why.unwrap();
    assert!(
        why.contains("SIGKILL; a huge page was refused 3 times: hugetlb 2MB is 0"),
        "{why}"
    );
    // The next launch has reached nothing.
    daemon.tell(&["start", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").reached, []);
    daemon.end();
}

#[test]
fn set_writes_a_limit_to_the_manifest_and_applies_it_live() {
    let text = manifest("", "", ", limits = { hugetlb = { 2MB = \"8 MiB\" } }");
    let text = text.replace("[tenants]\n", "[tenants]\n# A comment.\n");
    let daemon = Daemon::start_settled(&text);
    let (acme, before) = (leaf(&daemon, "acme"), pids(&daemon));
    let written = || fs::read_to_string(&daemon.manifest).unwrap();
    let text = written();
    let set = |limits: &[&str]| {
        let words = ["set", "acme"].iter().chain(limits).chain(&["--permanent"]);
        daemon.tell(&words.copied().collect::<Vec<_>>())
    };
    let said = set(&["hugetlb.2MB=16MiB", "open_files=512:1024"]).expect(0);
    assert!(said.contains("\n  hugetlb.2MB = 16MiB\n"), "{said}");
    assert_eq!(huge(&acme), "16777216");
    let pid = daemon.tenant("acme").pid.unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|it| it.starts_with("Max open files"));
    assert!(files.is_some_and(|it| it.contains(" 1024 ")), "{limits}");
    let old = "limits = { hugetlb = { 2MB = \"8 MiB\" } }";
    let new = "limits = { hugetlb = { 2MB = \"16MiB\" }, open_files = \"512:1024\" }";
    assert_eq!(written(), text.replace(old, new));
    assert_eq!(pids(&daemon), before);
    daemon.tell(&["diff"]).expect(0);
    // What cannot be is refused, and changes nothing.
    let text = written();
    for (limit, why) in [
        ("hugetlb.2MB=lots", "lots"),
        ("memory=1GiB", "did you mean memory.max?"),
        ("cpu.quta=1", "did you mean cpu.quota?"),
    ] {
        let said = set(&[limit]);
        assert_ne!(said.code, 0, "{limit}: {said:?}");
        assert!(
            said.err.contains(why) && said.err.contains("not changed"),
            "{limit}: {said:?}"
        );
        assert_eq!(written(), text, "{limit}");
    }
    daemon
        .tell(&["set", "acme", "pids.max", "--permanent"])
        .expect(2);
    assert_eq!(huge(&acme), "16777216");
    daemon.end();
}
