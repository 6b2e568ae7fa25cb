//! The command line of a service, see "Command lines" in systemd.service(5).

use std::collections::BTreeSet;
use std::path::Path;

use super::environment::Environment;
use super::specifier::Specifiers;
use super::words::{split, with_variables};
use super::{ImportError, Surroundings};

/// Where systemd looks for a program that is named without a path.
const SEARCH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A command, and what its prefixes say.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// `@`: the name under which the program is started, if that is not its path.
    pub(super) called: Option<String>,
    /// `-`: a failure counts as success.
    pub(super) may_fail: bool,
    /// `+`, `!`: not as the service's user.
    pub(super) as_root: bool,
    /// `+`: without the restrictions of the unit, so that it can change the host.
    pub(super) unrestricted: bool,
    /// Variables without a value.
    pub(super) missing: BTreeSet<String>,
    /// Whether another command follows after `;`.
    pub(super) several: bool,
}

impl Command {
    pub(super) fn read(
        text: &str,
        specifiers: &Specifiers<'_>,
        unknown: &mut BTreeSet<char>,
        environment: &Environment,
        host: &dyn Surroundings,
    ) -> Result<Self, ImportError> {
        let mut command = Self::default();
        let after = text.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        let prefixes = &text[..text.len() - after.len()];
        command.may_fail = prefixes.contains('-');
        command.as_root = prefixes.contains(['+', '!']);
        command.unrestricted = prefixes.contains('+');
        if prefixes.contains('|') {
            return Err(ImportError::Shell(text.to_owned()));
        }
        // A specifier cannot add a word, but a path may have spaces: words first.
        let mut words = split(after);
        command.several = words.iter().any(|word| word == ";");
        words = words.into_iter().take_while(|word| word != ";").collect();
        for word in &mut words {
            *word = match word.as_str() {
                // It was written `\;`.
                "\\;" => ";".to_owned(),
                word => specifiers.replace(word, unknown),
            };
        }
        if !prefixes.contains(':') {
            let program: Vec<String> = words.drain(..words.len().min(1)).collect();
            let (rest, missing) = with_variables(words, &environment.variables);
            command.missing = missing;
            words = program.into_iter().chain(rest).collect();
        }
        if words.is_empty() {
            return Err(ImportError::NoCommand);
        }
        if prefixes.contains('@') && words.len() > 1 {
            command.called = Some(words.remove(1)).filter(|name| *name != words[0]);
        }
        if !words[0].starts_with('/') {
            words[0] = absolute(&words[0], host)?;
        }
        command.words = words;
        Ok(command)
    }

    /// The name of the program's file.
    pub(super) fn program(&self) -> &str {
        let path = self.words.first().map_or("", String::as_str);
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether a shell or another interpreter runs what is meant.
    pub(super) fn is_shell(&self) -> bool {
        ["sh", "bash", "dash", "ksh", "zsh"].contains(&self.program())
    }

    /// The signal that the command sends to the service, if it does nothing else: `kill -HUP
    /// $MAINPID`.
    pub(super) fn signal(text: &str) -> Option<String> {
        let words = split(text.trim_start_matches(['@', '-', ':', '+', '!']));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let name = match words.as_slice() {
            [kill, signal, "$MAINPID" | "${MAINPID}"] if is(kill, "kill") => {
                signal.strip_prefix('-')?
            }
            [kill, "-s", signal, "$MAINPID" | "${MAINPID}"] if is(kill, "kill") => signal,
            [stop, ..] if is(stop, "start-stop-daemon") => {
                let retry = words.iter().position(|word| *word == "--retry")?;
                words.get(retry + 1)?.split('/').next()?
            }
            _ => return None,
        };
        signal_name(name)
    }
}

fn is(path: &str, program: &str) -> bool {
    path.rsplit('/').next() == Some(program)
}

/// A signal as the manifest names it.
pub(super) fn signal_name(text: &str) -> Option<String> {
    use nix::sys::signal::Signal;
    if let Ok(number) = text.parse::<i32>() {
        return Some(Signal::try_from(number).ok()?.as_str().to_owned());
    }
    let name = format!("SIG{}", text.to_ascii_uppercase().trim_start_matches("SIG"));
    name.parse::<Signal>().ok().map(|it| it.as_str().to_owned())
}

fn absolute(name: &str, host: &dyn Surroundings) -> Result<String, ImportError> {
    let found = SEARCH.iter().map(|folder| format!("{folder}/{name}"));
    let mut found = found.filter(|path| host.has_file(Path::new(path)));
    found
        .next()
        .ok_or_else(|| ImportError::NoProgram(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_a_command_sends_are_recognised() {
        let signal = |text| Command::signal(text);
        assert_eq!(signal("/bin/kill -HUP $MAINPID").as_deref(), Some("SIGHUP"));
        assert_eq!(
            signal("+kill -s QUIT ${MAINPID}").as_deref(),
            Some("SIGQUIT")
        );
        assert_eq!(signal("-/bin/kill -3 $MAINPID").as_deref(), Some("SIGQUIT"));
        let retry = "-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/x";
        assert_eq!(signal(retry).as_deref(), Some("SIGQUIT"));
        for other in [
            "/usr/bin/x reload",
            "/bin/kill -HUP 1",
            "kill -NO $MAINPID",
            "",
        ] {
            assert_eq!(signal(other), None, "{other}");
        }
    }
}
