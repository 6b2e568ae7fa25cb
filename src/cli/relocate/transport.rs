//! How the data of a tenant is copied, and why so. A further kind of snapshots is a further transport.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::super::args::Asked;
use super::super::plain::plain;
use super::Reply;
use tenantd_host::quota;
use tenantd_host::relocation::snapshots;

/// How data is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum Transport {
    /// By rsync(1).
    #[default]
    Rsync,
    /// By snapshots that btrfs-send(8) sends.
    Btrfs,
}

/// What was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) transport: Transport,
    /// Why not another one.
    pub(super) why: String,
}

/// Chooses a transport for a datastore. `inner` is a folder in it that is on another filesystem or subvolume.
pub(super) fn choose(
    asked: Asked,
    (source, inner): (&Path, Option<&Path>),
    (host, reply): (&str, &Reply),
) -> anyhow::Result<Chosen> {
    let here = match asked {
        Asked::Rsync => None,
        Asked::Auto | Asked::Btrfs => {
            let quota = quota::found(source).map_err(|failure| anyhow::anyhow!("{failure}"))?;
            let is_limited = quota.is_some_and(|it| !it.limits.is_empty());
            cannot_send(source, is_limited, inner)?
        }
    };
    let there = reply.no_snapshots.as_deref().map(|why| (host, why));
    chosen(asked, here, there)
}

/// `here` and `there` are why each host cannot send or receive snapshots, if it cannot.
fn chosen(
    asked: Asked,
    here: Option<String>,
    there: Option<(&str, &str)>,
) -> anyhow::Result<Chosen> {
    let there = there.map(|(host, why)| format!("{host}: {}", plain(why, usize::MAX)));
    let chosen = |transport, why| Ok(Chosen { transport, why });
    match (asked, here.or(there)) {
        (Asked::Rsync, _) => chosen(Transport::Rsync, "--transport rsync".to_owned()),
        (Asked::Btrfs, Some(why)) => bail!(
            "--transport btrfs is not possible: {why}: `--transport auto` copies with rsync then"
        ),
        (Asked::Auto, Some(why)) => chosen(Transport::Rsync, format!("not by btrfs: {why}")),
        (Asked::Btrfs, None) => chosen(Transport::Btrfs, "--transport btrfs".to_owned()),
        (Asked::Auto, None) => {
            let why = "its datastore is a subvolume, and both hosts have btrfs";
            chosen(Transport::Btrfs, why.to_owned())
        }
    }
}

/// Why this host cannot send snapshots of a datastore.
fn cannot_send(
    source: &Path,
    is_limited: bool,
    inner: Option<&Path>,
) -> anyhow::Result<Option<String>> {
    if let Some(why) = snapshots::cannot_send(source, is_limited)? {
        return Ok(Some(why));
    }
    if let Some(inner) = inner {
        let inner = source.join(inner);
        let inner = plain(&inner.to_string_lossy(), usize::MAX);
        return Ok(Some(format!(
            "{inner} is a subvolume or a mount, which is no part of a snapshot"
        )));
    }
    Ok(lacks())
}

/// Why this host cannot receive snapshots.
pub(super) fn cannot_receive(place: &Path) -> anyhow::Result<Option<String>> {
    let why = snapshots::cannot_receive(place)?;
    Ok(why.or_else(lacks))
}

/// Why btrfs(8) cannot be used, if it cannot.
fn lacks() -> Option<String> {
    let mut command = Command::new("btrfs");
    command.arg("--version").stdin(Stdio::null());
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("`btrfs --version` ended with {status}")),
        Err(error) => Some(format!("cannot execute btrfs: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsync_copies_what_one_of_both_hosts_cannot() {
        let no = || Some("/data/acme is a plain folder".to_owned());
        let of = |asked, here, there| chosen(asked, here, there).map(|it| (it.transport, it.why));
        let (rsync, btrfs) = (Transport::Rsync, Transport::Btrfs);
        assert_eq!(of(Asked::Auto, None, None).unwrap().0, btrfs);
        assert_eq!(of(Asked::Btrfs, None, None).unwrap().0, btrfs);
        assert_eq!(of(Asked::Rsync, None, None).unwrap().0, rsync);
        let (used, why) = of(Asked::Auto, no(), Some(("h2", "no"))).unwrap();
        assert_eq!(
            (used, why.as_str()),
            (rsync, "not by btrfs: /data/acme is a plain folder")
        );
        let (used, why) = of(Asked::Auto, None, Some(("h2", "no\x1b[btrfs"))).unwrap();
        assert_eq!(used, rsync);
        assert!(
            why.starts_with("not by btrfs: h2: no") && !why.contains('\x1b'),
            "{why}"
        );
        let refused = of(Asked::Btrfs, no(), None).unwrap_err().to_string();
        assert!(
            refused.contains("is not possible: /data/acme is a plain folder"),
            "{refused}"
        );
    }
}
