//! The commands: each one sends a request to a supervisor, or reads the manifest, and prints the
//! result. It says what happened to what, why, and what to do. It decides nothing about tenants.
//! `main.rs` turns the result into the exit code.

mod act;
mod applications;
mod applied;
pub mod args;
mod bundle;
mod check;
mod chown;
mod cluster;
pub mod complete;
pub mod deputy;
mod detach;
mod doctor;
mod edit;
mod events;
pub mod exec;
pub mod gc;
mod history;
mod import;
mod init;
mod interrupts;
mod kill;
mod last_line;
pub mod leak_test;
pub mod learn;
mod learned;
mod list;
pub mod logs;
mod lookups;
mod meter;
mod metrics;
mod names;
pub mod ocf;
mod outcome;
mod overlays;
mod pause;
mod plain;
mod plan;
mod progress;
pub mod recipes;
pub mod reference;
mod reload;
mod reload_app;
mod relocate;
mod resolve_hook;
mod rolling;
mod run;
mod run_tenant;
mod schema;
mod select;
mod set;
mod starting;
mod status;
mod top;
mod upgrade;
mod usage;
mod userdb;
mod verbs;
mod verify;
mod watch;
pub mod wrap;

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use self::args::{Cli, Command};
use progress::Doing;
use tenantd_api::client::ClientError;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::pattern::Unmatched;
use tenantd_api::wire::Verb;
use tenantd_core::name::{AppName, TenantName};

/// How a command ended, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The command did what was asked, or all is as wanted: exit code 0.
    Done,
    /// Something was refused or is not as wanted, and the output says what: exit code 1.
    NotAsWanted,
    /// An operator ended the waiting, and the output says what was not waited for: exit code 130.
    Interrupted,
    /// `diff`: a reload would change something: exit code 3.
    Differs,
    /// The command has exit codes of its own: `exec` that of its command, the others as their help says.
    Exited(u8),
}

/// The manifest has problems.
#[derive(Debug, thiserror::Error)]
#[error("{rendered}")]
pub struct BadManifest {
    /// The text for a person, one paragraph per problem; empty if all has been printed.
    pub rendered: String,
}

impl BadManifest {
    /// All has been printed.
    fn printed() -> Self {
        let rendered = String::new();
        Self { rendered }
    }
}

/// Parses the command line of this process.
///
/// # Errors
/// What is wrong with it, or the help that was asked for.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse().map_err(verbs::explain)
}

/// Executes a command line.
///
/// # Errors
/// Why the command failed. A [`clap::Error`] means that the command line is wrong, a [`BadManifest`]
/// that the manifest is.
pub fn execute(cli: Cli) -> anyhow::Result<End> {
    dispatch(cli).map_err(select::explain)
}

fn dispatch(cli: Cli) -> anyhow::Result<End> {
    let Cli { chosen, command } = cli;
    let selector = selected(chosen);
    let Some(command) = command else {
        return run::run(&config(selector, None)?);
    };
    let act = |verb, what, permanent| act::act(&starting::find(&selector)?, verb, what, permanent);
    match command {
        Command::Run(what) => ran(selector, &what),
        Command::Check { json } => check::check(&config(selector, Some("check"))?, json),
        Command::Chown(what) => chown::chown(&config(selector, Some("chown"))?, &what),
        Command::Doctor(what) => doctor::doctor(&what),
        Command::Userdb => userdb::userdb(),
        Command::Meter(what) => meter::meter(&what),
        Command::Metrics(what) => metrics::metrics(&what.listen),
        Command::Usage(what) => usage::usage(metered(&selector)?.as_ref(), &what),
        Command::History(what) => history::history(&selector, &what),
        Command::ResolveHook => resolve_hook::resolve_hook(),
        Command::Plan { names, files, json } => planned(selector, &names, (files, json)),
        Command::Export(what) => bundle::export(&selector, &what),
        Command::Import(what) => bundle::import(&selector, &what),
        Command::Move(what) => relocate::relocate(&selector, &what),
        Command::Receive(what) => relocate::receive(&selector, &what),
        Command::Schema => schema::schema(),
        Command::Cluster(what) => cluster::cluster(selector, &what),
        Command::Ocf { action } => Ok(ocf::ocf(action)),
        Command::ImportUnit(what) => import::import(&what.unit),
        Command::Learn(what) => learn::learn(&what),
        Command::Init(what) => begun(what),
        Command::Start(what) => act::start(&starting::find(&selector)?, &what),
        Command::Stop(what) => act(Verb::Stop, &what.act, what.permanent),
        Command::Restart(what) if what.rolling => rolling::roll(&starting::find(&selector)?, &what),
        Command::Restart(what) => act(Verb::Restart, &what.act, false),
        Command::ReloadApp(what) => reload_app::reload(&app::find(&selector)?, &what),
        Command::Pause(what) => frozen(&selector, Doing::Pause, &what),
        Command::Resume(what) => frozen(&selector, Doing::Resume, &what),
        Command::Hibernate(what) => frozen(&selector, Doing::Hibernate, &what),
        Command::Kill(what) => kill::kill(&app::find(&selector)?, &what),
        Command::Add { tenant, keys, wait } => edit::add(&selector, &tenant, &keys, wait),
        Command::Remove { tenant, wait } => edit::remove(&selector, &tenant, wait),
        Command::Set(what) => set::set(&selector, &what),
        Command::Reload { expect, wait } => {
            reload::reload(&starting::find(&selector)?, expect.as_deref(), wait)
        }
        Command::Diff { json } => reload::diff(&starting::find(&selector)?, json),
        Command::Status(what) => state(&selector, &what),
        Command::Events {
            names,
            follow,
            json,
        } => events::events(&starting::find(&selector)?, &names, follow, json),
        Command::Top(what) => top::top(&starting::find(&selector)?, &what),
        Command::Upgrade { apply } => upgrade::upgrade(&app::find(&selector)?, apply),
        Command::Detach { if_restarting } => detach::detach(&selector, if_restarting.as_deref()),
        Command::Gc(what) => gc::gc(&selector, &what),
        Command::List { json } => list::list(json),
        Command::Logs(what) => logged(&selector, &what),
        Command::Exec(what) => exec::exec(&selector, &what),
        Command::Verify(what) => verify::verify(&selector, &what),
        Command::LeakTest(what) => leak_test::leak_test(&selector, &what),
    }
}

fn selected(chosen: args::Chosen) -> Selector {
    let args::Chosen { app, config } = chosen;
    app::selector(Selector { app, config }, |name| std::env::var_os(name))
}

fn ran(selector: Selector, what: &args::Run) -> anyhow::Result<End> {
    match &what.tenant {
        None => run::run(&config(selector, Some("run"))?),
        Some(tenant) => run_tenant::run(&starting::find(&selector)?, tenant, what.takeover),
    }
}

fn frozen(selector: &Selector, doing: Doing, what: &args::Pause) -> anyhow::Result<End> {
    pause::pause(&app::find(selector)?, doing, what)
}

/// Prints the plan, or with `files` the files that tenants changed of overlays.
fn planned(
    selector: Selector,
    names: &[TenantName],
    (files, json): (bool, bool),
) -> anyhow::Result<End> {
    let config = config(selector, Some("plan"))?;
    match files {
        true => overlays::list(&config, names, json),
        false => plan::plan(&config, names, json),
    }
}

/// The application whose usage or history to show; all without one. Its supervisor need not run.
fn metered(selector: &Selector) -> anyhow::Result<Option<AppName>> {
    match (&selector.app, &selector.config) {
        (None, None) => Ok(None),
        _ => Ok(Some(app::find(selector)?)),
    }
}

/// Writes a manifest from a recipe, or lists the recipes.
fn begun(what: args::Init) -> anyhow::Result<End> {
    match what.recipe {
        Some(recipe) => init::init(recipe, what.name, what.to.as_deref()),
        None => init::list(),
    }
}

fn state(selector: &Selector, what: &args::Status) -> anyhow::Result<End> {
    let app = starting::find(selector)?;
    match what.watch {
        true => watch::watch(&app, &what.names, &what.view()),
        false => status::status(&app, &what.names, &what.view(), what.json),
    }
}

/// Who follows a log waits for its application to begin.
fn logged(selector: &Selector, what: &logs::typed::Logs) -> anyhow::Result<End> {
    let app = match what.follow {
        true => starting::find(selector)?,
        false => app::find(selector)?,
    };
    logs::logs(&app, what)
}

/// The path of the manifest, for commands that need one. `command` is `None` if none was typed.
fn config(selector: Selector, command: Option<&str>) -> Result<PathBuf, clap::Error> {
    selector.config.ok_or_else(|| {
        let mut cli = Cli::command();
        match command {
            Some(command) => cli.error(
                ErrorKind::MissingRequiredArgument,
                format!("`{command}` needs the manifest: --config FILE or TENANTD_CONFIG"),
            ),
            // `tenantd` alone: prints the whole help, with the exit code of a usage error.
            None => {
                let help = cli.render_help();
                clap::Error::raw(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, help)
            }
        }
    })
}

/// The error for names and patterns that match no tenant of an application.
fn unmatched(app: &AppName, unmatched: &Unmatched) -> anyhow::Error {
    let text = match unmatched.0.len() {
        1 => unmatched.to_string(),
        count => format!("{count} unknown tenants\n{unmatched}").replace('\n', "\n  "),
    };
    match unmatched.0.iter().all(|(_, near)| near.is_some()) {
        true => anyhow::anyhow!(text),
        false => anyhow::anyhow!("{text}\nsee `tenantd status --app {app}` for its tenants"),
    }
}

/// A command to type, for this application. It is named only if there are others.
fn typed(app: &AppName, command: &str) -> String {
    let others = app::running().is_ok_and(|running| running.len() > 1);
    match command.split_once(' ') {
        _ if !others => format!("tenantd {command}"),
        Some((verb, rest)) => format!("tenantd {verb} --app {app} {rest}"),
        None => format!("tenantd {command} --app {app}"),
    }
}

/// Whether a request failed because no supervisor runs.
fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(ClientError::is_gone)
}

/// Runs one exchange with a supervisor to its end, on this thread: when it returns, the process has a
/// single thread, as [`tenantd_host::join`] needs it.
fn converse<T>(exchange: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot set up the event loop")?
        .block_on(exchange)
}
