//! The other host: a command on it per step.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use super::super::args::Step;
use super::super::plain::plain;
use super::heard::{self, Heard};
use super::{Offer, Reply};
use tenantd_core::name::{AppName, TenantName};

/// What ssh(1) gets if no command is given: without it, a host that is gone while the tenant is stopped is waited for
/// for hours.
const SSH: &str = "ssh -o ConnectTimeout=30 -o ServerAliveInterval=15";

/// The command that reaches a host.
pub(in super::super) fn rsh(given: &str) -> &str {
    match given {
        "ssh" => SSH,
        given => given,
    }
}

/// How the target is reached.
pub(super) struct Peer<'a> {
    /// Such as `ssh`.
    pub(super) rsh: &'a str,
    pub(super) host: &'a str,
    pub(super) app: &'a AppName,
    pub(super) tenant: &'a TenantName,
    /// The size of the data, once it is known.
    pub(super) bytes: u64,
    /// Whether no other tenant is moved meanwhile: then progress is shown on a terminal.
    pub(super) is_alone: bool,
}

impl Peer<'_> {
    /// Has the target do a step.
    pub(super) fn ask(&self, step: Step, offer: &Offer) -> anyhow::Result<Reply> {
        let child = self.begin(step)?;
        let text = serde_json::to_vec(offer)?;
        self.answer(step, heard::listen(child, text, heard::SILENCE))
    }

    /// Starts a step on the target, which reads the offer.
    pub(super) fn begin(&self, step: Step) -> anyhow::Result<Child> {
        let mut words = self.rsh.split_whitespace();
        let program = words.next().context("--rsh: no command")?;
        // A shell reads it there: names have no characters that are special to one.
        Command::new(program)
            .args(words)
            .arg(self.host)
            .args(["tenantd", "receive", "--app", self.app.as_str()])
            .args([&name(step), self.tenant.as_str()])
            .env_remove("TENANTD_CONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot execute {program}"))
    }

    /// What the target has answered.
    pub(super) fn answer(&self, step: Step, heard: anyhow::Result<Heard>) -> anyhow::Result<Reply> {
        let Heard { status, out, err } =
            heard.with_context(|| format!("{}: `tenantd receive {}`", self.host, name(step)))?;
        if !status.success() {
            let why = String::from_utf8_lossy(&err);
            let why = why.trim().trim_start_matches("error: ");
            let why = match why {
                "" => status.to_string(),
                _ => plain(&why.replace('\n', "; "), usize::MAX),
            };
            bail!("{}: {why}", self.host);
        }
        let text = String::from_utf8_lossy(&out);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| {
            let shown = plain(last, 200);
            format!("{}: tenantd there has answered {shown:?}", self.host)
        })
    }
}

/// The name of a step.
fn name(step: Step) -> String {
    let step = clap::ValueEnum::to_possible_value(&step);
    step.map_or_else(String::new, |it| it.get_name().to_owned())
}
