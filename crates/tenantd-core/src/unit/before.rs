//! The commands that a unit runs before its program: `[app.before]`.

use super::command::Command;
use super::convert::Service;
use super::folders::made_by;
use super::page::{Page, literal};
use super::remarks::{is_chown, shell};

/// Writes the table, if the unit runs anything that tenantd does not do itself.
pub(super) fn before(service: &Service<'_>, page: &mut Page) {
    let all = service.settings.all("ExecStartPre");
    let own = all
        .into_iter()
        .filter(|value| made_by(value).is_empty() && !is_chown(value));
    let (mut commands, mut unread) = (Vec::new(), Vec::new());
    for value in own {
        let (specifiers, environment) = (&service.specifiers, &service.environment);
        let mut unknown = service.unknown.clone();
        match Command::read(value, specifiers, &mut unknown, environment, service.host) {
            Ok(command) => commands.push(command),
            Err(error) => unread.push((value, error)),
        }
    }
    let (outside, inside): (Vec<_>, Vec<_>) = commands
        .into_iter()
        .partition(|command| command.unrestricted);
    if !inside.is_empty() {
        page.table("app.before");
        table(service, &inside, page);
    }
    if !outside.is_empty() || !unread.is_empty() {
        page.line("");
    }
    for command in outside {
        page.decide(&format!(
            "before each start, the unit runs `{}` without the restrictions of its program, so that it can \
             change the host. Run it on the host if it is needed, or in the tenant, as [app.before].",
            shell(&command.words)
        ));
    }
    for (value, error) in unread {
        page.decide(&format!(
            "before each start, the unit runs `{value}`: {error}."
        ));
    }
}

fn table(service: &Service<'_>, commands: &[Command], page: &mut Page) {
    page.decide(
        "the unit runs this before each start. It runs in the tenant, which cannot change the host: \
         remove it if the program starts without it.",
    );
    if commands.iter().any(|command| command.several) {
        page.decide("one of these is a list of commands; only the first of the list is here.");
    }
    let words: Vec<String> = match commands {
        [one] if !one.may_fail => one.words.clone(),
        several => {
            let parts = several.iter().map(|command| {
                let typed = shell(&command.words);
                match command.may_fail {
                    true => format!("({typed} || true)"),
                    false => typed,
                }
            });
            let script = parts.collect::<Vec<_>>().join(" && ");
            vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
        }
    };
    let words: Vec<String> = words.iter().map(|word| literal(word)).collect();
    page.list("command", &words);
    let is_root = service.user.as_deref().is_none_or(|user| user == "root");
    let on_start_only = service.settings.is_on("PermissionsStartOnly");
    let as_root = |command: &Command| command.as_root || on_start_only;
    if is_root || !commands.iter().any(as_root) {
        return;
    }
    if !commands.iter().all(as_root) {
        page.decide("the unit runs only some of these commands as root.");
    }
    page.string("user", "root");
}
