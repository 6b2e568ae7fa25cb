//! Shell completion: the shell runs this program to get the candidates at the cursor, so that the
//! names of applications and tenants are those that exist now. Errors give no candidates, and a
//! supervisor that does not answer is not waited for: a person is typing.

use std::ffi::OsString;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;

use super::args::Cli;
use super::recipes::{RECIPES, Recipe};
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::survey::survey;
use tenantd_api::wire::TenantStatus;

/// The variable that the shell's completion script sets.
pub const VARIABLE: &str = "TENANTD_COMPLETE";

/// How long a supervisor may take to answer. One of 10,000 tenants needs a third of a second for all of them.
const LIMIT: Duration = Duration::from_secs(1);

/// Prints the candidates and ends the process, if a completion script runs this program.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .bin("tenantd")
        .complete();
}

/// The applications with a running supervisor, and those without one whose tenants may run.
pub(super) fn apps() -> Vec<CompletionCandidate> {
    let [running, left] = [app::running(), app::detached()].map(Result::unwrap_or_default);
    let apps = running.into_iter().chain(left);
    apps.map(|app| CompletionCandidate::new(app.as_str()))
        .collect()
}

/// The names of signals.
pub(super) fn signals() -> Vec<CompletionCandidate> {
    let names = nix::sys::signal::Signal::iterator().map(nix::sys::signal::Signal::as_str);
    let short = names.map(|name| name.trim_start_matches("SIG"));
    short.map(CompletionCandidate::new).collect()
}

/// The recipes, with what they are for.
pub(super) fn recipes() -> Vec<CompletionCandidate> {
    let candidate =
        |recipe: &Recipe| CompletionCandidate::new(recipe.name).help(Some(recipe.about().into()));
    RECIPES.iter().map(candidate).collect()
}

/// The tenants of the application that the unfinished line selects, with state and addresses. The line
/// comes after the first `--`.
pub(super) fn tenants() -> Vec<CompletionCandidate> {
    let line = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let candidate = |tenant: TenantStatus| {
        let help = format!("{}, {}", tenant.state_word(), tenant.addresses);
        CompletionCandidate::new(tenant.name.as_str()).help(Some(help.into()))
    };
    found(line).into_iter().map(candidate).collect()
}

/// The names of the tenants of the application that a line selects, if a supervisor answers soon.
pub(super) fn names(line: impl Iterator<Item = OsString>) -> Vec<String> {
    let tenants = found(line).into_iter();
    tenants.map(|tenant| tenant.name.to_string()).collect()
}

fn found(line: impl Iterator<Item = OsString>) -> Vec<TenantStatus> {
    let selector = app::selector(typed(line), |name| std::env::var_os(name));
    let Ok(app) = app::find(&selector) else {
        return Vec::new();
    };
    let found = super::converse(async { Ok(survey(vec![app], LIMIT).await) });
    let status = found.ok().and_then(|mut found| found.pop()?.status.ok());
    status.map_or_else(Vec::new, |status| status.tenants)
}

/// The application that a line selects. Arguments after a `--` belong to the command of `exec`.
fn typed(line: impl Iterator<Item = OsString>) -> Selector {
    let mut words = line.take_while(|word| word != "--");
    let mut selector = Selector::default();
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.into())),
            None => (word.as_ref(), None),
        };
        match option {
            "--app" => {
                let value = value.or_else(|| words.next());
                selector.app = value.map(|name: OsString| name.to_string_lossy().into_owned());
            }
            "--config" => selector.config = value.or_else(|| words.next()).map(Into::into),
            _ => {}
        }
    }
    selector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(line: &str) -> (Option<String>, Option<String>) {
        let Selector { app, config } = typed(line.split(' ').skip(2).map(OsString::from));
        (app, config.map(|path| path.display().to_string()))
    }

    #[test]
    fn an_unfinished_line_selects_its_application() {
        let app = |name: &str| (Some(name.to_owned()), None);
        assert_eq!(
            selector("tenantd -- tenantd --app wiki start "),
            app("wiki")
        );
        assert_eq!(
            selector("tenantd -- tenantd start --app=wiki a"),
            app("wiki")
        );
        let config = (None, Some("a.toml".to_owned()));
        assert_eq!(selector("tenantd -- tenantd --config a.toml stop "), config);
        assert_eq!(selector("tenantd -- tenantd start --app"), (None, None));
        let of_the_command = "tenantd -- tenantd exec acme -- ls --app wiki";
        assert_eq!(selector(of_the_command), (None, None));
    }
}
