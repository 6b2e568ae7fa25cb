//! What a person types, and the answer shown. It says what happened to what, why, and what to do;
//! it decides nothing about tenants. What a command's end means for the exit code is said in
//! `main.rs`.

mod act;
pub mod args;
mod check;
pub mod complete;
mod detach;
mod edit;
mod events;
mod exec;
mod gc;
mod list;
mod logs;
mod plan;
mod reload;
mod replace;
mod rolling;
mod run;
mod schema;
mod status;
mod upgrade;
mod watch;

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;

use self::args::{Cli, Command};
use tenantd_api::client::ClientError;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::wire::Verb;
use tenantd_daemon::gc::Extent;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What was asked is done, or is as wanted.
    Done,
    /// Something was refused, or is not as wanted. It has been said what.
    NotAsWanted,
}

/// The manifest has problems: the whole text for a person, ready to be printed.
#[derive(Debug, thiserror::Error)]
#[error("{rendered}")]
pub struct BadManifest {
    /// One paragraph per problem.
    pub rendered: String,
}

/// Does what was typed.
///
/// # Errors
/// Whatever kept it from being done. A [`clap::Error`] in it means that the command line makes no
/// sense, a [`BadManifest`] that the manifest does not.
pub fn execute(cli: Cli) -> anyhow::Result<End> {
    let Cli { chosen, command } = cli;
    let selector = app::selector(
        Selector {
            app: chosen.app,
            config: chosen.config,
        },
        |name| std::env::var_os(name),
    );
    let Some(command) = command else {
        return run::run(&config(selector, None)?);
    };
    match command {
        Command::Run => run::run(&config(selector, Some("run"))?),
        Command::Check => check::check(&config(selector, Some("check"))?),
        Command::Plan { json } => plan::plan(&config(selector, Some("plan"))?, json),
        Command::Schema => schema::schema(),
        Command::Start(what) => act::act(
            &app::find(&selector)?,
            Verb::Start,
            &what.act,
            what.permanent,
        ),
        Command::Stop(what) => act::act(
            &app::find(&selector)?,
            Verb::Stop,
            &what.act,
            what.permanent,
        ),
        Command::Restart(what) if what.rolling => rolling::roll(&app::find(&selector)?, &what),
        Command::Restart(what) => act::act(&app::find(&selector)?, Verb::Restart, &what.act, false),
        Command::Add {
            tenant,
            keys,
            no_wait,
        } => edit::add(&selector, &tenant, &keys, no_wait),
        Command::Remove { tenant, no_wait } => edit::remove(&selector, &tenant, no_wait),
        Command::Reload { no_wait } => reload::reload(&app::find(&selector)?, no_wait),
        Command::Diff { json, exit_code } => reload::diff(&app::find(&selector)?, json, exit_code),
        Command::Status {
            names, watch: true, ..
        } => watch::watch(&app::find(&selector)?, &names),
        Command::Status { names, json, .. } => status::status(&app::find(&selector)?, &names, json),
        Command::Events {
            names,
            follow,
            json,
        } => events::events(&app::find(&selector)?, &names, follow, json),
        Command::Upgrade => upgrade::upgrade(&app::find(&selector)?),
        Command::Detach { if_restarting } => detach::detach(&selector, if_restarting.as_deref()),
        Command::Gc {
            dry_run,
            kill,
            json,
        } => gc::gc(&selector, Extent { dry_run, kill }, json),
        Command::List { json } => list::list(json),
        Command::Logs(what) => logs::logs(&app::find(&selector)?, &what),
        Command::Exec { tenant, command } => exec::exec(&app::find(&selector)?, &tenant, &command),
    }
}

/// The manifest that was named, for the commands that read it whole.
fn config(selector: Selector, command: Option<&str>) -> Result<PathBuf, clap::Error> {
    selector.config.ok_or_else(|| {
        let mut cli = Cli::command();
        match command {
            Some(command) => cli.error(
                ErrorKind::MissingRequiredArgument,
                format!("`{command}` needs the manifest: --config FILE or TENANTD_CONFIG"),
            ),
            // Nothing was said at all: the whole help is the answer, and the exit code that of a
            // mistake.
            None => {
                let help = cli.render_help();
                clap::Error::raw(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, help)
            }
        }
    })
}

/// Whether a conversation failed because there is no supervisor.
fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(ClientError::is_gone)
}

/// Runs one conversation with a supervisor to its end, on this thread alone: when it returns, the
/// process has one thread, as [`tenantd_host::join`] needs it.
fn converse<T>(conversation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for answers")?
        .block_on(conversation)
}
