//! The table, its columns, the lines below a tenant, and the summary.

mod addresses;
mod form;

use super::table::{length, why};
use super::*;
use tenantd_api::wire::{LogPlace, NetworkState, RefusedWrite, Tracking, Want};
use tenantd_core::stage::{Failure, Stage};

pub(super) fn sample() -> AppStatus {
    let up = TenantStatus {
        pid: Some(4711),
        restarts: 12,
        since: "2026-11-22T09:56:48Z".parse().unwrap(),
        ready: Some(true),
        program: Some(Program::Current),
        lid: Some("landlock 7".to_owned()),
        confined: Some("landlock 7".to_owned()),
        ..TenantStatus::bare(
            "acme".parse().unwrap(),
            std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
            StateWord::Up,
        )
    };
    let failure = Failure::errno(Stage::Exec, "/opt/wiki/bin/wiki", libc::ENOEXEC);
    let waiting = TenantStatus {
        name: "big-customer".parse().unwrap(),
        state: StateWord::Waiting,
        pid: None,
        ready: None,
        program: None,
        lid: None,
        restarts: 0,
        until: Some("2026-11-22T10:00:08Z".parse().unwrap()),
        why: Some(failure.to_string()),
        failure: Some(failure),
        ..up.clone()
    };
    AppStatus {
        app: "wiki".parse().unwrap(),
        pid: 99,
        tracking: Tracking::Cgroup,
        logs: LogPlace::Files,
        unwatched: None,
        network: NetworkState::default(),
        manifest: None,
        tenants: vec![up, waiting],
    }
}

fn written(status: &AppStatus, view: &View, width: Option<usize>) -> String {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let mut shown = Vec::new();
    let mut out = anstream::StripStream::new(&mut shown);
    let lines = vec!["cannot bind port 80".to_owned()];
    let known = Known {
        last_lines: [(status.tenants[1].name.clone(), lines)].into(),
        ..Known::default()
    };
    write(&mut out, status, view, now, width, known).unwrap();
    String::from_utf8(shown).unwrap()
}

fn plain(status: &AppStatus, width: Option<usize>) -> String {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let mut shown = Vec::new();
    let mut out = anstream::StripStream::new(&mut shown);
    let view = View::default();
    write(&mut out, status, &view, now, width, Known::default()).unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_command_while_the_tenant_is_down_is_no_failure() {
    let offline = tenantd_api::wire::Offline {
        pid: 4711,
        command: "fsck".to_owned(),
    };
    let tenant = TenantStatus {
        want: Want::Down,
        state: StateWord::Launching,
        why: Some(offline.to_string()),
        offline: Some(offline),
        ..sample().tenants[0].clone()
    };
    let now = tenant.since;
    assert_eq!(
        why(&tenant, now),
        "`exec --offline` is running (pid 4711: fsck)"
    );
}

#[test]
fn a_stuck_tenant_shows_no_restart() {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let mut tenant = sample().tenants.remove(1);
    tenant.why = Some("one process is left".to_owned());
    tenant.state = StateWord::Stuck;
    assert_eq!(why(&tenant, now), "one process is left; next attempt in 8s");
    tenant.state = StateWord::Waiting;
    assert_eq!(why(&tenant, now), "one process is left; next start in 8s");
}

#[test]
fn awaited_tenants_are_named() {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let mut tenant = sample().tenants.remove(0);
    tenant.state = StateWord::Provisioning;
    tenant.awaits = vec!["a".parse().unwrap(), "b".parse().unwrap()];
    let text = "not up yet: provisioning; waits for a, b to release an address or a datastore";
    assert_eq!(why(&tenant, now), text);
}

#[test]
fn tenants_with_an_older_program_are_counted_with_the_command_to_run() {
    let mut status = sample();
    assert!(!plain(&status, None).contains("older"));
    status.tenants[0].program = Some(Program::Older);
    let hint = "\n1 tenant runs an older program than the one on disk: type `tenantd restart \
                --all --rolling`\n";
    let text = plain(&status, None);
    assert!(text.contains("  yes    older\n"), "{text}");
    assert!(text.ends_with(hint), "{text}");
}

#[test]
fn a_live_change_that_was_refused_is_shown() {
    let mut status = sample();
    status.tenants.truncate(1);
    let failure = Failure::detail(Stage::Limits, "open files of process 4711", "no");
    status.tenants[0].unapplied = Some(failure);
    assert!(!status.tenants[0].is_as_wanted());
    assert!(status.tenants[0].is_settled());
    let shown = plain(&status, None);
    let line = "\n  NOT APPLIED cannot set the limit on open files of process 4711: no; \
                `tenantd reload` tries again\n";
    assert!(shown.contains(line), "{shown}");
    assert!(
        shown.ends_with(
            "  HOST read-only (landlock 7)\n  CONFINED by a domain of its own (landlock 7)\n"
        ),
        "{shown}"
    );
    status.tenants[0].applying = true;
    assert!(!status.tenants[0].is_settled());
}

#[test]
fn refused_writes_are_shown_with_the_remedy() {
    let mut status = sample();
    let refused = |path: Option<&str>| RefusedWrite {
        path: path.map(str::to_owned),
        line: "cannot write: Read-only file system".to_owned(),
    };
    status.tenants[0].refused = vec![refused(None), refused(Some("/var/log/squid/access.log"))];
    status.tenants[0].lid = Some("mount watch".to_owned());
    status.tenants.push(status.tenants[0].clone());
    status.unwatched = Some("the limit is reached".to_owned());
    let shown = plain(&status, None);
    for line in [
        "  REFUSED its log says that a write to the host's files was refused: cannot write: Read-only file system\n",
        "  REFUSED its log says that it tried to write /var/log/squid/access.log, which belongs to the host and is read-only\n",
        "  NEXT give it a folder there: `folders = [\"/var/log/squid\"]` in [app.datastore], or list it in `private` or `shared`\n",
    ] {
        assert_eq!(shown.matches(line).count(), 2, "{shown}");
    }
    let end = "2 tenants can write to a new mount of the host for a moment, since Landlock is missing: see \
               `tenantd check`\nRemoved or renamed folders of the host may not be noticed: the limit is reached\n";
    assert!(shown.ends_with(end), "{shown}");
    let many: Vec<_> = std::iter::repeat_n(status.tenants[0].clone(), 11).collect();
    status.tenants = many;
    assert!(!plain(&status, None).contains("REFUSED"));
}

#[test]
fn each_tenant_has_a_line_with_its_reason() {
    insta::assert_snapshot!(plain(&sample(), None), @r"
    wiki: supervisor pid 99, tenants tracked by cgroup, logs in files
    NAME          WANT  STATE     PID  ADDRESS     RESTARTS  SINCE   READY  PROGRAM
    acme          up    up       4711  10.77.0.11        12  3m 12s  yes    current
    big-customer  up    waiting     -  10.77.0.11         0  3m 12s  -      -
      WHY cannot execute the program /opt/wiki/bin/wiki: Exec format error (ENOEXEC) [the file is not a program: a script needs #! in its first line]; next start in 8s
    2 tenants: 1 up, 1 waiting
    ");
}

#[test]
fn a_failed_tenant_shows_its_last_line_and_what_to_type() {
    let mut status = sample();
    status.tenants[1].state = StateWord::Failed;
    status.tenants[1].restarts = 5;
    status.tenants[1].why = Some("exited with status 1".to_owned());
    status.tenants[1].failure = None;
    status.tenants[1].until = None;
    assert!(outcome::has_run(&status.tenants[1]));
    let failed = View {
        failed: true,
        ..View::default()
    };
    insta::assert_snapshot!(written(&status, &failed, Some(60)), @r"
    wiki: supervisor pid 99, tenants tracked by cgroup, logs in files
    NAME          STATE   ADDRESS     RESTARTS  SINCE   READY
    big-customer  failed  10.77.0.11         5  3m 12s  -
      WHY exited with status 1; restarted 5 times
      STDERR cannot bind port 80
      NEXT `tenantd logs big-customer`, then `tenantd start big-customer`
    2 tenants: 1 up, 1 failed
    ");
    let several = vec![status.tenants[1].clone(); 30];
    status.tenants.extend(several);
    let text = plain(&status, None);
    assert!(!text.contains("NEXT"), "{text}");
    let hint = "`tenantd status --failed` shows only those that are not as wanted.\n";
    assert!(text.ends_with(hint), "{text}");
}

#[test]
fn a_failure_without_a_reason_is_explained_by_learn() {
    let mut status = sample();
    status.manifest = Some("/etc/tenantd/wiki.toml".to_owned());
    status.tenants[1].state = StateWord::Failed;
    status.tenants[1].why = Some("exited with status 1".to_owned());
    status.tenants[1].failure = None;
    let learn = "  NEXT to see writes that are refused:\n       \
                 `tenantd learn --manifest /etc/tenantd/wiki.toml --for 10s big-customer`\n";
    assert!(plain(&status, None).contains(learn), "{status:?}");

    let folders = vec!["\"/var/log/wiki\"".to_owned(), "\"/etc/wiki\"".to_owned()];
    let known = Known {
        missing: [(status.tenants[1].name.clone(), folders)].into(),
        ..Known::default()
    };
    let mut out = Vec::new();
    let now = status.tenants[0].since;
    write(&mut out, &status, &View::default(), now, None, known).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines = "  LEARNED its program writes to \"/var/log/wiki\", \"/etc/wiki\", which it does not have \
                 for itself\n  NEXT add \"/var/log/wiki\", \"/etc/wiki\" to `folders` in \
                 [app.datastore], then `tenantd reload`\n";
    assert!(text.contains(lines), "{text}");
    assert!(!text.contains("tenantd learn"), "{text}");

    status.tenants[1].lid = Some("host writable".to_owned());
    assert!(!plain(&status, None).contains("tenantd learn"));
}

#[test]
fn a_narrow_terminal_drops_columns_and_a_pipe_none() {
    let header = |width| {
        let text = plain(&sample(), width);
        text.lines().nth(1).unwrap().to_owned()
    };
    let all = "NAME          WANT  STATE     PID  ADDRESS     RESTARTS  SINCE   READY  PROGRAM";
    assert_eq!(header(None), all);
    assert_eq!(header(Some(140)), all);
    assert!(!header(Some(70)).contains("PROGRAM"));
    assert!(header(Some(70)).contains("PID"));
    let least = "NAME          STATE    ADDRESS     SINCE";
    assert_eq!(header(Some(20)), least);
}

#[test]
fn the_summary_counts_what_is_shown_and_what_is_not() {
    let mut status = sample();
    status.tenants[0].ready = Some(false);
    let text = summary(&status).unwrap();
    assert_eq!(text, "2 tenants: 1 not ready, 1 waiting");
    status.tenants.truncate(1);
    assert_eq!(summary(&status), None);
}

#[test]
fn lengths_have_two_units() {
    let from = Timestamp::UNIX_EPOCH;
    let text = |seconds| length(from, Timestamp::from_second(seconds).unwrap());
    assert_eq!(text(-5), "0s");
    assert_eq!(text(0), "0s");
    assert_eq!(text(192), "3m 12s");
    assert_eq!(text(3600), "1h 0m");
    assert_eq!(text(3 * 86_400 + 7200 + 59), "3d 2h");
}
