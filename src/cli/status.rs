//! `status`: a table for people, JSON for programs, and an exit code for both.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table};
use jiff::Timestamp;

use super::End;
use tenantd_api::client::survey::{PATIENCE, ask};
use tenantd_api::wire::{AppStatus, LogPlace, Program, StateWord, TenantStatus, Tracking};
use tenantd_core::name::{AppName, TenantName};

pub(super) fn status(app: &AppName, names: &[TenantName], json: bool) -> anyhow::Result<End> {
    let status = super::converse(async { Ok(ask(app, names, PATIENCE).await?) })?;
    let mut out = anstream::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &status).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        show(&mut out, &status, Timestamp::now())?;
    }
    let good = status.tenants.iter().all(TenantStatus::is_as_wanted);
    Ok(if good { End::Done } else { End::NotAsWanted })
}

/// The table, and the command that restarts tenants which run an older program.
pub(super) fn show(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    now: Timestamp,
) -> io::Result<()> {
    show_table(out, status, now)?;
    say_older(out, status)
}

/// The application, the header, and a line per tenant; a second line says why it is not as wanted.
pub(super) fn show_table(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    now: Timestamp,
) -> io::Result<()> {
    let bold = Style::new().bold();
    let wrong = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let tracking = match status.tracking {
        Tracking::Cgroup => "tracked by cgroup",
        Tracking::Netns => "tracked by network namespace",
    };
    let logs = match status.logs {
        LogPlace::Journal => "logs in the journal",
        LogPlace::Files => "logs in files",
    };
    let (app, pid) = (&status.app, status.pid);
    writeln!(
        out,
        "{bold}{app}{bold:#}: supervisor pid {pid}, tenants {tracking}, {logs}"
    )?;
    let header = [
        "NAME", "WANT", "STATE", "PID", "ADDRESS", "RESTARTS", "SINCE", "READY", "PROGRAM",
    ];
    let rows = status.tenants.iter().map(|tenant| row(tenant, now));
    let table = table(header, rows, &[3, 5]);
    let mut lines = table.lines();
    if let Some(header) = lines.next() {
        writeln!(out, "{bold}{}{bold:#}", header.trim_end())?;
    }
    for (tenant, line) in status.tenants.iter().zip(lines) {
        let line = line.trim_end();
        if tenant.is_as_wanted() {
            writeln!(out, "{line}")?;
            continue;
        }
        writeln!(out, "{wrong}{line}{wrong:#}")?;
        if let Some(failure) = &tenant.unapplied {
            writeln!(out, "  NOT APPLIED {failure}; `tenantd reload` tries again")?;
        }
        if !tenant.is_in_wanted_state() {
            writeln!(out, "  WHY {}", why(tenant, now))?;
        }
    }
    Ok(())
}

/// How many tenants run an older program than the one on disk, and the command that restarts them.
pub(super) fn say_older(out: &mut (impl Write + ?Sized), status: &AppStatus) -> io::Result<()> {
    let is_older = |tenant: &&TenantStatus| tenant.program == Some(Program::Older);
    let older = status.tenants.iter().filter(is_older).count();
    if older == 0 {
        return Ok(());
    }
    let run = if older == 1 {
        "tenant runs"
    } else {
        "tenants run"
    };
    writeln!(
        out,
        "{older} {run} an older program than the one on disk: \
         `tenantd restart --app {} --all --rolling` restarts them in waves",
        status.app
    )
}

fn row(tenant: &TenantStatus, now: Timestamp) -> [String; 9] {
    [
        tenant.name.to_string(),
        want(tenant),
        tenant.state.word().to_owned(),
        or_dash(tenant.pid),
        tenant.addresses.to_string(),
        tenant.restarts.to_string(),
        length(tenant.since, now),
        or_dash(tenant.ready.map(|ready| if ready { "yes" } else { "no" })),
        or_dash(tenant.program.map(Program::word)),
    ]
}

/// A header and one line per row, never wrapped. `numbers` are the columns that are aligned to the
/// right.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    numbers: &[usize],
) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for &number in numbers {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The text of the column WANT.
pub(super) fn want(tenant: &TenantStatus) -> String {
    let word = tenant.want.word();
    match tenant.permanent {
        None => word.to_owned(),
        Some(permanent) if permanent == tenant.want => format!("{word} (permanent)"),
        Some(permanent) => format!("{word} (permanent: {})", permanent.word()),
    }
}

pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn why(tenant: &TenantStatus, now: Timestamp) -> String {
    let mut text = match (&tenant.why, &tenant.failure) {
        (Some(why), _) => why.clone(),
        (None, Some(failure)) => failure.to_string(),
        (None, None) => format!("not {} yet: {}", tenant.want.word(), tenant.state.word()),
    };
    if !tenant.awaits.is_empty() {
        let names: Vec<&str> = tenant.awaits.iter().map(TenantName::as_str).collect();
        let names = names.join(", ");
        text += &format!("; waits for {names} to release an address or a datastore");
    }
    if let Some(until) = tenant.until {
        let what = match tenant.state {
            StateWord::Stuck => "next attempt",
            _ => "next start",
        };
        text += &format!("; {what} in {}", length(now, until));
    }
    text
}

/// The time between two moments in its two largest units: `3m 12s`. If the clock was set back, `0s`.
fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = from.duration_until(to).as_secs().max(0);
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::Want;
    use tenantd_core::stage::{Failure, Stage};

    fn sample() -> AppStatus {
        let up = TenantStatus {
            name: "acme".parse().unwrap(),
            want: Want::Up,
            permanent: None,
            state: StateWord::Up,
            pid: Some(4711),
            addresses: std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
            restarts: 12,
            since: "2026-11-22T09:56:48Z".parse().unwrap(),
            ready: Some(true),
            program: Some(Program::Current),
            awaits: Vec::new(),
            until: None,
            why: None,
            failure: None,
            applying: false,
            unapplied: None,
        };
        let failure = Failure::errno(Stage::Exec, "/opt/wiki/bin/wiki", libc::ENOEXEC);
        let waiting = TenantStatus {
            name: "big-customer".parse().unwrap(),
            state: StateWord::Waiting,
            pid: None,
            ready: None,
            program: None,
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
            tenants: vec![up, waiting],
        }
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
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let shown = |status: &AppStatus| {
            let mut shown = Vec::new();
            show(&mut anstream::StripStream::new(&mut shown), status, now).unwrap();
            String::from_utf8(shown).unwrap()
        };
        let mut status = sample();
        assert!(!shown(&status).contains("older"));
        status.tenants[0].program = Some(Program::Older);
        let hint = "\n1 tenant runs an older program than the one on disk: `tenantd restart --app \
                    wiki --all --rolling` restarts them in waves\n";
        let text = shown(&status);
        assert!(text.contains("  yes    older\n"), "{text}");
        assert!(text.ends_with(hint), "{text}");
    }

    #[test]
    fn a_live_change_that_was_refused_is_shown() {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let mut status = sample();
        status.tenants.truncate(1);
        let failure = Failure::detail(Stage::Limits, "open files of process 4711", "no");
        status.tenants[0].unapplied = Some(failure);
        assert!(!status.tenants[0].is_as_wanted());
        assert!(status.tenants[0].is_settled());
        let mut shown = Vec::new();
        show(&mut anstream::StripStream::new(&mut shown), &status, now).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        let line = "\n  NOT APPLIED cannot set the limit on open files of process 4711: no; \
                    `tenantd reload` tries again\n";
        assert!(shown.ends_with(line), "{shown}");
        status.tenants[0].applying = true;
        assert!(!status.tenants[0].is_settled());
    }

    #[test]
    fn each_tenant_has_a_line_with_its_reason() {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let mut shown = Vec::new();
        show(&mut anstream::StripStream::new(&mut shown), &sample(), now).unwrap();
        insta::assert_snapshot!(String::from_utf8(shown).unwrap(), @r"
        wiki: supervisor pid 99, tenants tracked by cgroup, logs in files
        NAME          WANT  STATE     PID  ADDRESS     RESTARTS  SINCE   READY  PROGRAM
        acme          up    up       4711  10.77.0.11        12  3m 12s  yes    current
        big-customer  up    waiting     -  10.77.0.11         0  3m 12s  -      -
          WHY cannot execute the program /opt/wiki/bin/wiki: Exec format error (ENOEXEC) [the file is not a program: a script needs #! in its first line]; next start in 8s
        ");
    }

    #[test]
    fn the_form_of_the_json_is_stable() {
        insta::assert_json_snapshot!(sample(), @r#"
        {
          "app": "wiki",
          "pid": 99,
          "tracking": "cgroup",
          "logs": "files",
          "tenants": [
            {
              "name": "acme",
              "want": "up",
              "permanent": null,
              "state": "up",
              "pid": 4711,
              "address": "10.77.0.11",
              "addresses": [
                "10.77.0.11"
              ],
              "restarts": 12,
              "since": "2026-11-22T09:56:48Z",
              "ready": true,
              "program": "current",
              "awaits": [],
              "until": null,
              "why": null,
              "failure": null,
              "applying": false,
              "unapplied": null
            },
            {
              "name": "big-customer",
              "want": "up",
              "permanent": null,
              "state": "waiting",
              "pid": null,
              "address": "10.77.0.11",
              "addresses": [
                "10.77.0.11"
              ],
              "restarts": 0,
              "since": "2026-11-22T09:56:48Z",
              "ready": null,
              "program": null,
              "awaits": [],
              "until": "2026-11-22T10:00:08Z",
              "why": "cannot execute the program /opt/wiki/bin/wiki: Exec format error (ENOEXEC) [the file is not a program: a script needs #! in its first line]",
              "failure": {
                "stage": "exec",
                "object": "/opt/wiki/bin/wiki",
                "errno": 8,
                "detail": ""
              },
              "applying": false,
              "unapplied": null
            }
          ]
        }
        "#);
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
}
