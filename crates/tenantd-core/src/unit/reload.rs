//! How a unit makes its program read its configuration again: `[app.reload]`.

use super::command::Command;
use super::convert::Service;
use super::page::Page;
use super::remarks::{shell, typed};

/// Writes the table, if the unit has ExecReload=.
pub(super) fn reload(service: &Service<'_>, page: &mut Page) {
    let all = service.settings.all("ExecReload");
    let Some((last, earlier)) = all.split_last() else {
        return;
    };
    page.table("app.reload");
    if let Some(signal) = Command::signal(last) {
        for value in earlier {
            page.decide(&format!(
                "the unit runs `{}` first, and goes no further if that fails. tenantd only sends the \
                 signal.",
                typed(service, value)
            ));
        }
        return page.string("signal", &signal);
    }
    let (specifiers, environment) = (&service.specifiers, &service.environment);
    let mut commands = Vec::new();
    for value in &all {
        let mut unknown = service.unknown.clone();
        match Command::read(value, specifiers, &mut unknown, environment, service.host) {
            Ok(command) => commands.push(command),
            Err(error) => {
                return page.decide(&format!("to reload, the unit runs `{value}`: {error}."));
            }
        }
    }
    if all.iter().any(|value| value.contains("MAINPID")) {
        page.decide(
            "$MAINPID is empty here: name the process in another way, or use `signal` instead.",
        );
    }
    let is_root = service.user.as_deref().is_none_or(|user| user == "root");
    let on_start_only = service.settings.is_on("PermissionsStartOnly");
    if !is_root && (on_start_only || commands.iter().any(|command| command.as_root)) {
        page.decide("the unit runs this as root. tenantd runs it as the tenant's user.");
    }
    page.list("command", &words(&commands));
}

/// One command that does the same as all.
fn words(commands: &[Command]) -> Vec<String> {
    if let [one] = commands
        && !one.may_fail
    {
        return one.words.clone();
    }
    let parts = commands.iter().map(|command| {
        let typed = shell(&command.words);
        match command.may_fail {
            true => format!("({typed} || true)"),
            false => typed,
        }
    });
    let script = parts.collect::<Vec<_>>().join(" && ");
    vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
}
