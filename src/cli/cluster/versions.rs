//! `cluster versions`: which versions of tenantd and of the application's program hosts have. Each host is asked by the same
//! command there, over ssh or another one.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::super::args::Cluster;
use super::super::plain::plain;
use super::super::relocate::{heard, peer};
use super::super::{End, converse, edit, plan};
use tenantd_api::client::Connection;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::wire::Program;
use tenantd_core::name::AppName;

/// What a host has. In JSON, these are the keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Host {
    /// As it was asked for; on the host itself its own name.
    host: String,
    /// The version of tenantd on disk.
    tenantd: String,
    /// The version of the supervisor that runs; null if none does.
    supervisor: Option<String>,
    /// The files that the tenants run.
    program: Vec<PathBuf>,
    /// The package of the first one, with its version; null if it is in none.
    package: Option<String>,
    /// How many tenants run.
    running: usize,
    /// How many of them run an older file than that on disk.
    older: usize,
}

/// Prints a line for each host; without hosts, for this one. They differ, or one cannot be asked: exit code 1.
pub(in super::super) fn versions(selector: &Selector, what: &Cluster) -> anyhow::Result<End> {
    let app = app::find(selector)?;
    if what.hosts.is_empty() {
        let here = here(&app, selector)?;
        show(&[Ok(here)], what.json)?;
        return Ok(End::Done);
    }
    let rsh = peer::rsh(&what.remote.rsh);
    let hosts = what.hosts.iter();
    let hosts: Vec<_> = hosts
        .map(|host| ask(rsh, host, &app).map_err(|why| (host, why)))
        .collect();
    show(&hosts, what.json)?;
    let kinds = hosts.iter().flatten().map(|it| {
        let Host {
            tenantd,
            supervisor,
            program,
            package,
            ..
        } = it;
        (tenantd, supervisor, program, package)
    });
    let is_same = kinds.collect::<BTreeSet<_>>().len() <= 1;
    let is_old = hosts.iter().flatten().any(|it| it.older > 0);
    Ok(
        match is_same && !is_old && hosts.iter().all(Result::is_ok) {
            true => End::Done,
            false => End::NotAsWanted,
        },
    )
}

fn here(app: &AppName, selector: &Selector) -> anyhow::Result<Host> {
    let (plan, _) = plan::read(&edit::manifest(selector)?)?;
    let programs = plan.tenants.iter().map(|it| it.launch.program.clone());
    let programs: BTreeSet<PathBuf> = programs.collect();
    let asked = converse(async {
        let mut connection = Connection::open(app).await?;
        Ok((connection.version().await?, connection.status(&[]).await?))
    });
    let (supervisor, tenants) = match asked {
        Ok((version, status)) => (Some(version), status.tenants),
        Err(_) => (None, Vec::new()),
    };
    Ok(Host {
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        tenantd: env!("CARGO_PKG_VERSION").to_owned(),
        supervisor,
        package: programs.first().and_then(|it| package(it)),
        program: programs.into_iter().collect(),
        running: tenants.iter().filter(|it| it.pid.is_some()).count(),
        older: tenants
            .iter()
            .filter(|it| it.program == Some(Program::Older))
            .count(),
    })
}

/// The package that a file is of, with its version, of dpkg(1) or rpm(8).
fn package(file: &Path) -> Option<String> {
    let real = std::fs::canonicalize(file).ok()?;
    // A package may name the file by the link /bin.
    for path in [real.as_path(), file] {
        let owner = said(Command::new("dpkg-query").arg("--search").arg(path));
        if let Some(name) = owner
            .as_ref()
            .and_then(|it| it.split_once(": "))
            .map(|it| it.0)
        {
            let form = "${Package} ${Version}";
            return said(Command::new("dpkg-query").args(["--show", "-f", form, "--", name]));
        }
    }
    let form = "%{NAME} %{VERSION}-%{RELEASE}";
    said(
        Command::new("rpm")
            .args(["-q", "-f", "--qf", form])
            .arg(real),
    )
}

/// What a command prints, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Asks a host.
fn ask(rsh: &str, host: &str, app: &AppName) -> anyhow::Result<Host> {
    let mut words = rsh.split_whitespace();
    let program = words.next().context("--rsh: no command")?;
    let child = Command::new(program)
        .args(words)
        .arg(host)
        .args([
            "tenantd",
            "cluster",
            "versions",
            "--json",
            "--app",
            app.as_str(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot execute {program}"))?;
    let heard = heard::listen(child, Vec::new(), heard::SILENCE)?;
    if !heard.status.success() {
        let why = String::from_utf8_lossy(&heard.err);
        match why.trim() {
            "" => bail!("{program} said nothing, {}", heard.status),
            why => bail!("{}", plain(why.trim_start_matches("error: "), 300)),
        }
    }
    let [found]: [Host; 1] = serde_json::from_slice(&heard.out)
        .context("tenantd there has answered what this version does not know")?;
    Ok(Host {
        host: host.to_owned(),
        ..found
    })
}

/// Prints a table, or JSON of those that answered. Why others did not is printed in any case.
fn show(hosts: &[Result<Host, (&String, anyhow::Error)>], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let found: Vec<&Host> = hosts.iter().flatten().collect();
    if json {
        writeln!(out, "{}", serde_json::to_string(&found)?)?;
    } else {
        let head = [
            "HOST",
            "TENANTD",
            "SUPERVISOR",
            "RUNNING",
            "OLDER",
            "PACKAGE",
            "PROGRAM",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(found.into_iter().map(row));
        for line in table(&rows) {
            writeln!(out, "{line}")?;
        }
    }
    for (host, why) in hosts.iter().filter_map(|it| it.as_ref().err()) {
        anstream::eprintln!("{host}: not known: {why:#}");
    }
    Ok(())
}

fn row(host: &Host) -> [String; 7] {
    let none = || "-".to_owned();
    let programs = host.program.iter().map(|it| it.display().to_string());
    [
        host.host.clone(),
        host.tenantd.clone(),
        host.supervisor.clone().unwrap_or_else(none),
        host.running.to_string(),
        host.older.to_string(),
        host.package.clone().unwrap_or_else(none),
        programs.collect::<Vec<_>>().join(" "),
    ]
    // The other host has chosen them.
    .map(|it| plain(&it, 200))
}

/// The rows with columns of the same width, two spaces apart.
fn table(rows: &[[String; 7]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|it| width(it).unwrap_or(0)).collect();
    let line = |row: &[String; 7]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
