//! `list`: shows the applications of this host: those with a running supervisor, and those whose
//! supervisor died or detached.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;

use super::{End, status};
use tenantd_api::client::ClientError;
use tenantd_api::client::app;
use tenantd_api::client::survey::{Found, PATIENCE, survey};
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::name::AppName;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct List {
    applications: Vec<Application>,
}

/// One application. An unknown value is null.
#[derive(Debug, Serialize)]
struct Application {
    app: AppName,
    state: State,
    /// The supervisor's process.
    pid: Option<u32>,
    /// How many tenants it has.
    tenants: Option<usize>,
    /// How many of them are up.
    up: Option<usize>,
    /// How many are as wanted: up and ready, or down.
    as_wanted: Option<usize>,
    /// Why there is no status.
    why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Its supervisor answers.
    Running,
    /// Its supervisor has detached; its tenants keep running.
    Detached,
    /// Its supervisor died; its runtime folder remains.
    Dead,
    /// Its supervisor did not answer, or the answer cannot be understood.
    Unknown,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Detached => "detached",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn list(json: bool) -> anyhow::Result<End> {
    let apps = app::running().and_then(|running| Ok([running, app::detached()?].concat()));
    let mut apps = apps.map_err(app::AppError::List)?;
    apps.sort();
    let found = super::converse(async { Ok(survey(apps, PATIENCE).await) })?;
    // An application that has ended in the meantime is left out.
    let applications: Vec<_> = found.into_iter().filter_map(application).collect();
    let good = applications.iter().all(Application::is_good);
    let mut out = anstream::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &List { applications })
            .map_err(io::Error::from)
            .context("cannot write the list")?;
        writeln!(out)?;
    } else {
        show(&mut out, &applications)?;
    }
    Ok(if good { End::Done } else { End::NotAsWanted })
}

fn application(Found { app, status }: Found) -> Option<Application> {
    let silent = |app, state, error: &ClientError| Application {
        app,
        state,
        pid: None,
        tenants: None,
        up: None,
        as_wanted: None,
        why: Some(error.to_string()),
    };
    Some(match status {
        Ok(status) => {
            let count = |is: fn(&TenantStatus) -> bool| {
                Some(status.tenants.iter().filter(|tenant| is(tenant)).count())
            };
            Application {
                app,
                state: State::Running,
                pid: Some(status.pid),
                tenants: Some(status.tenants.len()),
                up: count(|tenant| tenant.state == StateWord::Up),
                as_wanted: count(TenantStatus::is_as_wanted),
                why: None,
            }
        }
        Err(ClientError::NotRunning { .. }) => return None,
        Err(error @ ClientError::Detached { .. }) => silent(app, State::Detached, &error),
        Err(error @ ClientError::Dead { .. }) => silent(app, State::Dead, &error),
        Err(error) => silent(app, State::Unknown, &error),
    })
}

impl Application {
    /// Whether its supervisor runs and all tenants are as wanted.
    fn is_good(&self) -> bool {
        self.state == State::Running && self.tenants == self.as_wanted
    }
}

fn show(out: &mut impl Write, applications: &[Application]) -> io::Result<()> {
    if applications.is_empty() {
        return writeln!(out, "no applications are running");
    }
    let bold = Style::new().bold();
    let wrong = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let header = ["APP", "STATE", "PID", "TENANTS", "UP", "AS WANTED"];
    let rows = applications.iter().map(|application| {
        let [tenants, up, as_wanted] =
            [application.tenants, application.up, application.as_wanted].map(status::or_dash);
        let pid = status::or_dash(application.pid);
        let (app, state) = (application.app.to_string(), application.state.word());
        [app, state.to_owned(), pid, tenants, up, as_wanted]
    });
    let table = status::table(header, rows, &[2, 3, 4, 5]);
    let mut lines = table.lines();
    if let Some(header) = lines.next() {
        writeln!(out, "{bold}{}{bold:#}", header.trim_end())?;
    }
    for (application, line) in applications.iter().zip(lines) {
        let line = line.trim_end();
        if application.is_good() {
            writeln!(out, "{line}")?;
            continue;
        }
        writeln!(out, "{wrong}{line}{wrong:#}")?;
        match &application.why {
            Some(why) => writeln!(out, "  WHY {why}")?,
            None => writeln!(out, "  WHY see `tenantd status --app {}`", application.app)?,
        }
    }
    Ok(())
}
