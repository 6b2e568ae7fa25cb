//! `learn`: runs a program once in a scratch tenant, shows what it did, prints a manifest that gives
//! each of that to a tenant, and proves the manifest by a second run as a tenant.
//!
//! Both runs are those of a real supervisor, in namespaces of their own: the first in a tree in which
//! everything is a union, so that no write is refused and none reaches the host; the second with the
//! host's files, as tenants see them. A seccomp filter tells what the program asks of the kernel. See
//! `docs/decisions/0034-learn.md`.

mod caller;
mod calls;
mod compare;
mod order;
pub mod scratch;
mod scratch_run;
mod show;
mod sockets;
mod syslog;
mod usage;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;
use serde_json::json;

use super::args::{Cli, Learn};
use super::{End, init};
use order::{Order, Tree, Use};
use scratch_run::{Cgroup, Ended, Signals};
use tenantd_core::learn::{self, Findings, Learned, OnHost, Program, Seen};
use tenantd_core::name::{APP_NAME_MAX, AppName, TenantName};
use tenantd_host::scratch::FOLDER;

/// The time limits of a scratch run.
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The tenant of a scratch run of a command.
const TENANT: &str = "learn";

/// Learns what a program needs.
pub(super) fn learn(asked: &Learn) -> anyhow::Result<End> {
    let usage = usage(asked)?;
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("`learn` makes namespaces and mounts: run it as root");
    }
    let signals = Signals::catch().context("cannot catch signals")?;
    match &asked.manifest {
        Some(manifest) => compare::compare(asked, manifest, &usage, &signals),
        None => of_command(asked, &usage, &signals),
    }
}

/// How the program is used; a usage error if nobody says for how long.
fn usage(asked: &Learn) -> Result<Use, clap::Error> {
    let error = |kind, text: &str| Cli::command().error(kind, text);
    if asked.manifest.is_some() != asked.command.is_empty() {
        let text = "name a manifest with --manifest, or a command after `--`";
        return Err(error(ErrorKind::MissingRequiredArgument, text));
    }
    let asks = asked.span.is_none() && asked.client.is_none();
    if asks && !io::stdin().is_terminal() {
        let text = "nobody can press Enter here: say how the program is used, with --run, or for how \
                    long, with --for";
        return Err(error(ErrorKind::MissingRequiredArgument, text));
    }
    Ok(Use {
        client: asked.client.clone(),
        span: asked.span,
        asks,
    })
}

fn note(text: &str) {
    for line in textwrap::wrap(text, textwrap::Options::new(80).break_words(false)) {
        anstream::eprintln!("{line}");
    }
}

/// An order with the values that all scratch runs have.
fn order(tree: Tree, app: &AppName, tenant: &TenantName, manifest: String, asked: &Learn) -> Order {
    Order {
        tree,
        app: app.clone(),
        tenant: tenant.clone(),
        manifest,
        place: Path::new(FOLDER).join("manifest.toml"),
        folders: Vec::new(),
        may_notify: false,
        cgroups: PathBuf::new(),
        cgroup: String::new(),
        size: asked.size.0,
        usage: Use::default(),
        ready_within: READY_WITHIN,
        stop_within: STOP_WITHIN,
    }
}

/// Runs a scratch run in a cgroup of its own, which is removed in any case.
fn run(mut order: Order, signals: &Signals) -> anyhow::Result<Ended> {
    let cgroup = Cgroup::begin(&order.tenant)?;
    (order.cgroups, order.cgroup) = cgroup.place()?;
    let ended = scratch_run::run(&order, signals, &mut |text| note(text));
    cgroup.end()?;
    ended
}

/// Learns what a command needs, and prints a manifest.
fn of_command(asked: &Learn, usage: &Use, signals: &Signals) -> anyhow::Result<End> {
    let program = program(asked)?;
    let app: AppName = program
        .name
        .parse()
        .context("the name of the application")?;
    let tenant: TenantName = TENANT.parse().context("the name of the tenant")?;
    let text = learn::of_program(&program, TENANT);
    note(&format!(
        "first run: {}, where all writes succeed and none reaches the host",
        program.command.join(" ")
    ));
    let mut first = order(Tree::Union, &app, &tenant, text, asked);
    first.usage = usage.clone();
    first.may_notify = true;
    let seen = match run(first, signals)? {
        Ended::Seen(seen) => seen,
        Ended::Interrupted => return Ok(End::Interrupted),
    };
    let findings = Findings::of(&seen, program.user.as_deref().unwrap_or("root"), &on_host);
    anstream::eprint!("{}", show::findings(&seen, &findings));
    if let Some(why) = show::ended(&seen) {
        anstream::eprintln!("it does not run, so nothing can be learned from it: {why}");
        return Ok(End::NotAsWanted);
    }
    let failed = seen.client.as_ref().and_then(show::client);
    if let Some(why) = &failed {
        anstream::eprintln!("{why}");
    }
    let proof = learn::manifest(&program, &seen, &findings, Some(TENANT));
    let mut second = order(Tree::Host, &app, &tenant, proof, asked);
    second.usage.client = usage.client.clone().filter(|_| failed.is_none());
    note("second run: as a tenant, with the manifest that follows");
    let proven = match run(second, signals)? {
        Ended::Seen(seen) => seen,
        Ended::Interrupted => return Ok(End::Interrupted),
    };
    let worked = seen.client.is_some() && failed.is_none();
    let faults = show::faults(&proven, worked);
    let text = learn::manifest(&program, &seen, &findings, None);
    let learned = Learned::new(PathBuf::from(&program.command[0]), findings.paths());
    print(asked, &text, &learned, &seen, &faults)?;
    conclude(&faults);
    Ok(match faults.is_empty() && failed.is_none() {
        true => End::Done,
        false => End::NotAsWanted,
    })
}

/// The program that was asked for, with an absolute path.
fn program(asked: &Learn) -> anyhow::Result<Program> {
    let mut command = asked.command.clone();
    let first = command.first().cloned().unwrap_or_default();
    let path = match Path::new(&first).is_absolute() {
        true => PathBuf::from(&first),
        false => in_path(&first)
            .with_context(|| format!("{first}: no such program in PATH: type its absolute path"))?,
    };
    command[0] = path.display().to_string();
    let name = match &asked.name {
        Some(name) => name.to_string(),
        None => name_of(&path),
    };
    Ok(Program {
        name,
        command,
        user: asked.user.clone(),
        subnet: init::free_subnet()?,
    })
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path);
    let folders = folders.chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut programs = folders.map(|folder| folder.join(name));
    programs
        .find(|path| path.is_file())
        .filter(|_| !name.contains('/'))
}

/// A name for the application: that of the program, in the letters of a name.
fn name_of(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let letters = name.to_ascii_lowercase();
    let letters = letters.replace(
        |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(),
        "-",
    );
    let parts: Vec<&str> = letters.split('-').filter(|it| !it.is_empty()).collect();
    let name = parts.join("-");
    let name = name.get(..APP_NAME_MAX).unwrap_or(&name);
    match name.trim_end_matches('-') {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}

fn on_host(path: &Path) -> OnHost {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => match fs::read_dir(path).map(|mut it| it.next().is_some()) {
            Ok(false) => OnHost::Empty,
            Ok(true) | Err(_) => OnHost::Full,
        },
        Ok(_) => OnHost::Other,
        Err(_) => OnHost::Missing,
    }
}

/// Prints the manifest, or writes it with the list beside it.
fn print(
    asked: &Learn,
    text: &str,
    learned: &Learned,
    seen: &Seen,
    faults: &[String],
) -> anyhow::Result<()> {
    if let Some(path) = &asked.output {
        init::write_new(path, text, 0o600)?;
        compare::keep(path, learned)?;
    }
    if asked.json {
        let whole = json!({
            "manifest": text,
            "folders": learned.folders,
            "seen": seen,
            "proven": faults.is_empty(),
            "faults": faults,
        });
        let text = serde_json::to_string_pretty(&whole).context("cannot write JSON")?;
        writeln!(anstream::stdout(), "{text}")?;
    } else if asked.output.is_none() {
        write!(io::stdout().lock(), "{text}")?;
    }
    Ok(())
}

fn conclude(faults: &[String]) {
    match faults {
        [] => note("the second run was good: ready, and no write was refused"),
        faults => {
            note("the second run was not good:");
            for fault in faults {
                anstream::eprintln!("  {fault}");
            }
            note("Read the comments of the manifest, and what the program says above.");
        }
    }
    note("What was not used in these runs is not known: a write elsewhere will be refused.");
}
