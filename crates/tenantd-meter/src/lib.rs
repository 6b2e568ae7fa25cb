//! The meter: keeps what each tenant of this host used, day by day.
//!
//! It is a process of its own, `tenantd-meter`, and dies or is replaced without any tenant noticing: supervisors name
//! the cgroup and the link of each tenant, and the kernel counts. It has the only C of tenantd, SQLite, which neither a supervisor nor
//! another command contains.

#![forbid(unsafe_code)]

mod collect;
mod datastores;
mod history;
mod seen;
mod store;
mod sums;
mod supervisors;
mod ticks;
mod walk;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

pub use collect::{Pace, collect};

/// Carries out what the arguments say: `collect MILLISECONDS MILLISECONDS`; `query DAY DAY`, which prints a JSON
/// array of [`Usage`](tenantd_api::usage::Usage); or `history ASKED`, where the last is an
/// [`Asked`](tenantd_api::history::Asked) as JSON, which prints an array of [`Entry`](tenantd_api::history::Entry). `tenantd` is the command for people.
///
/// # Errors
/// Why it could not.
pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["collect", interval, datastores] => collect(Pace {
            interval: milliseconds(interval)?,
            datastores: Some(milliseconds(datastores)?).filter(|it| !it.is_zero()),
        }),
        ["query", from, to] => query(from, to),
        ["history", asked] => found(asked),
        _ => bail!("type `tenantd meter` or `tenantd usage`, which start this program"),
    }
}

fn milliseconds(text: &str) -> anyhow::Result<Duration> {
    let number = text
        .parse()
        .with_context(|| format!("{text}: not a number"))?;
    Ok(Duration::from_millis(number))
}

/// The store, if there is one.
fn store() -> anyhow::Result<&'static Path> {
    let path = Path::new(store::PATH);
    // One that may not be looked at is no missing one.
    match path.try_exists() {
        Ok(true) => Ok(path),
        Ok(false) => bail!(
            "no meter has run on this host: start it with `systemctl enable --now tenantd-meter`, or `tenantd meter`"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

fn found(asked: &str) -> anyhow::Result<()> {
    let asked = serde_json::from_str(asked).context("cannot understand what is asked for")?;
    let path = store()?;
    let entries = history::find(path, &asked);
    let entries = entries.with_context(|| format!("cannot read {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &entries)?;
    Ok(out.flush()?)
}

fn query(from: &str, to: &str) -> anyhow::Result<()> {
    let path = store()?;
    let usage = store::between(path, from, to);
    let usage = usage.with_context(|| format!("cannot read {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &usage)?;
    Ok(out.flush()?)
}
