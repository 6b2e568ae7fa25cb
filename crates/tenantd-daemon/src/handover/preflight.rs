//! The preflight: finds out whether another program could replace this one. The program runs as a
//! child with the variable [`VARIABLE`]. It reads the manifest and the state file, changes nothing,
//! prints its version, and exits.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use tenantd_core::name::AppName;
use tenantd_host::process::Ended;
use tenantd_host::{children, crash, inherited};

use crate::executor::exit;
use crate::handover::upgrade::VERSION;
use crate::state_file::slots::SlotFile;

/// The environment variable that tells a program to run its preflight only.
pub const VARIABLE: &str = "TENANTD_TRIAL";

/// How long a preflight may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What a program prints whose preflight succeeds.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    app: AppName,
    version: String,
}

/// Runs the preflight of this program: checks that it can read the state file, and returns what to
/// print for the supervisor that asked.
///
/// # Errors
/// If the state file has a version that this program does not know.
pub fn answer(app: &AppName) -> anyhow::Result<String> {
    SlotFile::look(app)?;
    let verdict = Verdict {
        app: app.clone(),
        version: VERSION.to_owned(),
    };
    Ok(serde_json::to_string(&verdict)?)
}

/// Starts the preflight of a program. The channel receives its version, or why it failed.
pub(crate) fn begin(app: AppName, program: PathBuf) -> oneshot::Receiver<Result<String, String>> {
    let (say, verdict) = oneshot::channel();
    spawn_blocking(move || {
        let said = run(&program).and_then(|said| judge(&said, &app));
        let _ended = say.send(said.map_err(|why| format!("{}: {why}", program.display())));
    });
    verdict
}

/// Runs the program, and returns what it printed.
fn run(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ours = [
        inherited::TABLE,
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "LISTEN_PID",
        "LISTEN_FDS",
    ];
    for name in ours {
        command.env_remove(name);
    }
    let mut child =
        children::spawn(&mut command).map_err(|error| format!("cannot be executed: {error}"))?;
    crash::point("upgrade: in preflight", "");
    // One that fills its output pipes does not end.
    let ended = child
        .ends_within(LIMIT)
        .map_err(|errno| format!("cannot wait for its preflight: {errno}"))?;
    let Some(ended) = ended else {
        child.kill();
        return Err(format!(
            "its preflight did not end within {} s",
            LIMIT.as_secs()
        ));
    };
    let (out, err) = (read(child.stdout()), read(child.stderr()));
    if ended == Ended::Status(0) {
        return Ok(out);
    }
    match err.trim() {
        "" => Err(format!(
            "its preflight {} and printed no reason",
            exit(ended)
        )),
        reason => Err(format!("its preflight {}: {reason}", exit(ended))),
    }
}

/// Reads a pipe whose writer has ended.
fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // A read error ends the text early; the exit status decides.
        let _partly = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn judge(said: &str, app: &AppName) -> Result<String, String> {
    match serde_json::from_str::<Verdict>(said) {
        Ok(verdict) if verdict.app == *app => Ok(verdict.version),
        Ok(verdict) => Err(format!(
            "its manifest names another application now: {}",
            verdict.app
        )),
        Err(_) => Err("its preflight did not print a version of tenantd".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_for_the_same_application_takes_over() {
        let app: AppName = "wiki".parse().unwrap();
        let said = r#"{"app":"wiki","version":"9.1.0"}"#;
        assert_eq!(judge(said, &app).unwrap(), "9.1.0");
        let other = judge(said, &"shop".parse().unwrap()).unwrap_err();
        assert!(other.contains("another application now: wiki"), "{other}");
        assert!(judge("", &app).is_err());
    }

    #[test]
    fn a_program_that_does_not_answer_or_execute_is_refused() {
        let nothing = run(Path::new("/bin/false")).unwrap_err();
        assert!(nothing.contains("printed no reason"), "{nothing}");
        let none = run(Path::new("/nonexistent")).unwrap_err();
        assert!(none.contains("cannot be executed"), "{none}");
    }
}
