//! `detach`: ends the supervisor and lets its tenants go on, for whoever starts the next one.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::End;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{AppStatus, StateWord, TenantStatus};
use tenantd_core::name::AppName;

/// How long the supervisor may take to end: it waits a few seconds for what is under way.
const LIMIT: Duration = Duration::from_secs(15);

/// Lets the supervisor leave. With a unit, only while systemd restarts that, and then a supervisor
/// that is gone already is as good.
pub(super) fn detach(selector: &Selector, if_restarting: Option<&str>) -> anyhow::Result<End> {
    if let Some(unit) = if_restarting
        && !is_restarting(unit)?
    {
        return Ok(End::Done);
    }
    let app = app::find(selector)?;
    let gone = match request_detach(&app) {
        Err(error) if if_restarting.is_some() && super::is_gone(&error) => return Ok(End::Done),
        gone => gone?,
    };
    if if_restarting.is_none() {
        writeln!(std::io::stdout(), "{}", farewell(&app, &gone))?;
    }
    Ok(End::Done)
}

/// What to know once the supervisor has ended.
fn farewell(app: &AppName, AppStatus { pid, tenants, .. }: &AppStatus) -> String {
    let is_up = |tenant: &&TenantStatus| tenant.state == StateWord::Up;
    let go_on = match tenants.iter().filter(is_up).count() {
        0 => "none of its tenants is up".to_owned(),
        1 => "one tenant goes on".to_owned(),
        several => format!("{several} tenants go on"),
    };
    format!(
        "{app}: supervisor {pid} has detached, and {go_on}; the next one takes over: start it with \
         `tenantd run --config FILE` or `systemctl start tenantd@{app}`"
    )
}

/// Has it leave, and waits until it has ended. Gives what it said of its tenants before.
fn request_detach(app: &AppName) -> anyhow::Result<AppStatus> {
    let answered = async {
        let mut connection = Connection::open(app).await?;
        let status = connection.status(&[]).await?;
        let pid = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
        let pid = pid.context("the supervisor has no process number")?;
        // Held before it is asked to end, so that the number cannot mean another by then.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => return Ok((status, None)),
            Err(errno) => return Err(errno).context("cannot watch the supervisor's process"),
        };
        connection.detach().await?;
        Ok((status, Some(process)))
    };
    let (status, process) = super::converse(async {
        match tokio::time::timeout(LIMIT, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(silent(app).into()),
        }
    })?;
    let Some(process) = process else {
        return Ok(status);
    };
    let limit = Timespec::try_from(LIMIT).context("too long a time")?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut ended, Some(&limit)) {
        Ok(0) => Err(silent(app).into()),
        Ok(_) => Ok(status),
        Err(errno) => Err(errno).context("cannot wait for the supervisor's end"),
    }
}

fn silent(app: &AppName) -> ClientError {
    ClientError::Silent {
        app: app.clone(),
        limit: LIMIT,
    }
}

/// Whether systemd's pending work on this unit is to restart it.
fn is_restarting(unit: &str) -> anyhow::Result<bool> {
    let asked = Command::new("systemctl")
        .args(["list-jobs", "--no-legend", "--plain", "--full", unit])
        .stdin(Stdio::null())
        .output()
        .context("cannot run systemctl, to ask whether the unit is restarted")?;
    if !asked.status.success() {
        let text = String::from_utf8_lossy(&asked.stderr);
        bail!(
            "systemctl does not say whether {unit} is restarted: {}",
            text.trim()
        );
    }
    Ok(restarts(&String::from_utf8_lossy(&asked.stdout), unit))
}

/// Whether a list of systemd's jobs (number, unit, kind, state) has a restart of this unit.
fn restarts(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(unit) && matches!(words.next(), Some("restart" | "try-restart"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_restart_of_the_unit_itself_counts() {
        let unit = "tenantd@wiki.service";
        assert!(restarts("146 tenantd@wiki.service restart running\n", unit));
        assert!(!restarts("146 tenantd@wiki.service stop running\n", unit));
        assert!(!restarts(
            "146 tenantd@shop.service restart running\n",
            unit
        ));
        assert!(!restarts("No jobs running.\n", unit));
        assert!(!restarts("", unit));
    }
}
