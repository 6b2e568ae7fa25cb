//! Whether a program that is ready still answers: `[app.alive]`.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use toml::Spanned;

use super::data::said;
use crate::manifest::problem::Problems;
use crate::manifest::raw;

/// How a program that is ready is asked whether it is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// What is asked.
    pub probe: Probe,
    /// The time between two probes.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The program has failed after this many failed probes in a row.
    pub failures: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// This TCP port on the tenant's first address accepts a connection.
    Tcp(u16),
    /// A request for a path is answered with a status below 400.
    Http {
        /// The port.
        port: u16,
        /// The path, with its query.
        path: String,
    },
    /// A command in the tenant exits with status 0.
    Command(Vec<String>),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Tcp(port) => write!(f, "port {port}"),
            Probe::Http { port, path } => write!(f, "{path} on port {port}"),
            Probe::Command(argv) => f.write_str(&argv.join(" ")),
        }
    }
}

impl Alive {
    /// How long a program that no longer answers may be taken for alive.
    #[must_use]
    pub fn unnoticed(&self) -> Duration {
        (self.interval + self.timeout).saturating_mul(self.failures)
    }

    /// As JSON, with the keys of the manifest.
    pub(super) fn data(&self) -> Value {
        let Alive {
            probe,
            interval,
            timeout,
            failures,
        } = self;
        let mut whole = match probe {
            Probe::Tcp(port) => json!({ "tcp": port }),
            Probe::Http { port, path } => json!({ "http": path, "port": port }),
            Probe::Command(argv) => json!({ "command": argv }),
        };
        whole["interval"] = said(*interval);
        whole["timeout"] = said(*timeout);
        whole["failures"] = json!(failures);
        whole
    }
}

/// The probe of a manifest. `None` if a problem was reported.
pub(super) fn alive(alive: &raw::Alive, problems: &mut Problems) -> Option<Option<Alive>> {
    let tcp = alive.tcp.as_ref().map(|port| (port.span(), "tcp"));
    let http = alive.http.as_ref().map(|path| (path.span(), "http"));
    let command = alive.command.as_ref();
    let command = command.map(|argv| (argv.span(), "command"));
    let mut said: Vec<_> = [tcp, http, command].into_iter().flatten().collect();
    said.sort_by_key(|(span, _)| span.start);
    if let [(first, word), rest @ ..] = said.as_slice() {
        for (span, other) in rest {
            problems
                .report(span, format!("`{word}` and `{other}` exclude each other"))
                .also(first, "the other one")
                .help("remove one of them");
        }
    }
    let port = |port: &Spanned<u32>| u16::try_from(*port.get_ref()).ok();
    let path = alive.http.as_ref();
    let probe = match (&alive.tcp, path, &alive.command, &alive.port) {
        (Some(tcp), _, _, None) => Some(Probe::Tcp(port(tcp)?)),
        (None, Some(path), _, Some(number)) => Some(Probe::Http {
            port: port(number)?,
            path: path.get_ref().0.clone(),
        }),
        (None, Some(path), _, None) => {
            problems
                .report(&path.span(), "`http` needs the `port` that is asked")
                .help("add for example `port = 80`");
            return None;
        }
        (None, None, Some(argv), None) => Some(Probe::Command(argv.get_ref().0.clone())),
        (None, None, None, None) => None,
        (_, _, _, Some(number)) => {
            problems
                .report(&number.span(), "`port` belongs to `http`")
                .help("write `tcp = PORT`, or add `http = \"/\"`");
            return None;
        }
    };
    let (interval, timeout) = (alive.interval.as_ref()?, alive.timeout.as_ref()?);
    let failures = *alive.failures.as_ref()?.get_ref();
    Some(probe.map(|probe| Alive {
        probe,
        interval: *interval.get_ref(),
        timeout: *timeout.get_ref(),
        failures,
    }))
}
