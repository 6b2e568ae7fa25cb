//! `meter`: executes the program that keeps what tenants used. It contains SQLite, which is C, so it is not this
//! program: no supervisor contains it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::End;
use super::args::Meter;

/// The name of the program.
const PROGRAM: &str = "tenantd-meter";

/// Where a package has it, seen from the folder of this program.
const PACKAGED: &str = "../lib/tenantd";

/// Executes the meter in this process.
pub(super) fn meter(what: &Meter) -> anyhow::Result<End> {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    if what.interval < Duration::from_millis(10) {
        bail!("the interval is too short: a round takes some milliseconds");
    }
    let mut command = Command::new(program()?);
    command.arg("collect").arg(milliseconds(what.interval));
    let error = command.arg(milliseconds(what.datastores)).exec();
    Err(error).with_context(|| format!("cannot execute {}", command.get_program().display()))
}

/// What all tenants used on each of these days, both included, as the meter prints it.
pub(super) fn query(from: &str, to: &str) -> anyhow::Result<Vec<u8>> {
    ask(&["query", from, to])
}

/// The entries of the history that are asked for, as the meter prints them.
pub(super) fn history(asked: &str) -> anyhow::Result<Vec<u8>> {
    ask(&["history", asked])
}

fn ask(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(program()?);
    let output = command.args(arguments).output();
    let output =
        output.with_context(|| format!("cannot execute {}", command.get_program().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim_end();
        bail!("{}", said.strip_prefix("tenantd: error: ").unwrap_or(said));
    }
    Ok(output.stdout)
}

/// The path of the program: beside this one, or where the package has it.
fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find the path of this program")?;
    let folder = this.parent().context("this program has no folder")?;
    let places = [folder.join(PROGRAM), folder.join(PACKAGED).join(PROGRAM)];
    let found = places.iter().find(|path| path.is_file()).cloned();
    found.with_context(|| {
        let places = places.each_ref().map(|path| path.as_os_str());
        let places = places.join(OsStr::new(" nor at "));
        format!(
            "{PROGRAM} is neither at {}: install the whole package",
            places.display()
        )
    })
}
