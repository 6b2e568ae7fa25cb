//! Formats the values of a plan's fields.
//!
//! Some are part of fingerprints and must never change: see the head of [`super`].

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::time::Duration;

use super::super::derive;
use super::super::model::{EndPlan, Mode, Readiness, RestartWhen, Seed, SuccessExit};

/// An address with its prefix length, which only IPv4 addresses have so far.
pub(super) struct Address(pub(super) IpAddr, pub(super) u8);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}/{}", self.1),
            IpAddr::V6(address) => write!(f, "{address}"),
        }
    }
}

/// One end of a link.
pub(super) struct End<'a>(pub(super) &'a EndPlan);

impl Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EndPlan { name, mac } = self.0;
        write!(f, "{name} {mac}")
    }
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Routed => "routed",
        Mode::Bridge | Mode::Port => "bridge",
        Mode::Macvlan => "macvlan",
    }
}

pub(super) fn restart(when: RestartWhen) -> &'static str {
    match when {
        RestartWhen::Always => "always",
        RestartWhen::OnFailure => "on failure",
        RestartWhen::Never => "never",
    }
}

/// The exits that count as success.
pub(super) fn success(exits: &[SuccessExit]) -> String {
    let exits = exits.iter().map(|exit| match exit {
        SuccessExit::Status(status) => format!(", status {status}"),
        SuccessExit::Signal(signal) => format!(", {}", signal.name),
    });
    format!("status 0{}", exits.collect::<String>())
}

pub(super) fn ready(ready: &Readiness) -> String {
    match ready {
        Readiness::Started => "when started".to_owned(),
        Readiness::Lived(time) => format!("after {}", Span(*time)),
        Readiness::Tcp(port) => format!("when TCP port {port} accepts"),
        Readiness::Notify => "when it sends READY=1".to_owned(),
    }
}

pub(super) fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// How a folder is made.
pub(super) struct Seeded<'a> {
    pub(super) seed: &'a Seed,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<u32>,
}

impl Display for Seeded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seed {
            Seed::Empty => f.write_str("empty")?,
            Seed::Copy => f.write_str("copied from the host's")?,
            Seed::Overlay => f.write_str("the host's, with the tenant's changes")?,
            Seed::Template(path) => write!(f, "copied from {}", path.display())?,
        }
        owner(f, self.uid, self.gid, self.mode)
    }
}

/// The contents of a file, by size and hash, and who may read them.
pub(super) struct Contents<'a> {
    pub(super) contents: &'a str,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<u32>,
    pub(super) secret: bool,
}

impl Display for Contents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, digest) = (self.contents.len(), derive::hash(self.contents));
        let s = if size == 1 { "" } else { "s" };
        write!(f, "{size} byte{s}, digest {digest:012x}")?;
        owner(f, self.uid, self.gid, self.mode)?;
        match self.secret {
            true => f.write_str(", not for all"),
            false => Ok(()),
        }
    }
}

/// Owner, group and mode, where they are set.
fn owner(
    f: &mut fmt::Formatter<'_>,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
) -> fmt::Result {
    match (uid, gid) {
        (Some(uid), Some(gid)) => write!(f, ", owner {uid}:{gid}")?,
        (Some(uid), None) => write!(f, ", owner {uid}")?,
        (None, Some(gid)) => write!(f, ", group {gid}")?,
        (None, None) => {}
    }
    match mode {
        Some(mode) => write!(f, ", mode {mode:04o}"),
        None => Ok(()),
    }
}

/// A duration in the notation of the manifest.
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = jiff::fmt::friendly::SpanPrinter::new();
        f.write_str(&printer.unsigned_duration_to_string(&self.0))
    }
}

/// Group numbers, separated by spaces.
pub(super) struct Groups<'a>(pub(super) &'a [u32]);

impl Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&groups.join(" "))
    }
}
