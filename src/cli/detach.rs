//! `detach`: ends the supervisor and leaves its tenants running, until the next supervisor adopts
//! them.

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

/// How long the supervisor may take to end: it waits a few seconds for tasks under way.
const LIMIT: Duration = Duration::from_secs(15);

/// Has the supervisor detach. With a unit, only while systemd restarts that unit; then it is no error
/// if the supervisor has ended already.
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
        writeln!(std::io::stdout(), "{}", detached_message(&app, &gone))?;
    }
    Ok(End::Done)
}

/// The message after the supervisor has ended.
fn detached_message(app: &AppName, AppStatus { pid, tenants, .. }: &AppStatus) -> String {
    let is_up = |tenant: &&TenantStatus| tenant.state == StateWord::Up;
    let running = match tenants.iter().filter(is_up).count() {
        0 => "none of its tenants is up".to_owned(),
        1 => "1 tenant keeps running".to_owned(),
        several => format!("{several} tenants keep running"),
    };
    format!(
        "{app}: supervisor {pid} has detached, and {running}; to adopt them, start the next \
         supervisor: `tenantd run --config FILE` or `systemctl start tenantd@{app}`"
    )
}

/// Asks the supervisor to detach and waits until its process has ended. Returns the status of its
/// tenants from before.
fn request_detach(app: &AppName) -> anyhow::Result<AppStatus> {
    let answered = async {
        let mut connection = Connection::open(app).await?;
        let status = connection.status(&[]).await?;
        let pid = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
        let pid = pid.context("the supervisor reported no valid process id")?;
        // Opened before it is asked to end: afterwards the number may belong to another process.
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
    let limit = Timespec::try_from(LIMIT).context("the time limit is out of range")?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut ended, Some(&limit)) {
        Ok(0) => Err(silent(app).into()),
        Ok(_) => Ok(status),
        Err(errno) => Err(errno).context("cannot wait for the supervisor to end"),
    }
}

fn silent(app: &AppName) -> ClientError {
    ClientError::Silent {
        app: app.clone(),
        limit: LIMIT,
    }
}

/// Whether systemd has a restart job for this unit.
fn is_restarting(unit: &str) -> anyhow::Result<bool> {
    let asked = Command::new("systemctl")
        .args(["list-jobs", "--no-legend", "--plain", "--full", unit])
        .stdin(Stdio::null())
        .output()
        .context("cannot run systemctl to find out whether the unit is being restarted")?;
    if !asked.status.success() {
        let text = String::from_utf8_lossy(&asked.stderr);
        bail!("{unit}: systemctl list-jobs failed: {}", text.trim());
    }
    Ok(restarts(&String::from_utf8_lossy(&asked.stdout), unit))
}

/// Whether a list of systemd's jobs (number, unit, type, state) has a restart of this unit.
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
