//! What carries the data to the target, round by round.

use std::path::Path;
use std::time::Instant;

use anyhow::bail;

use super::copy::{self, Sent, Survey};
use super::peer::Peer;
use super::rounds;
use super::signals::Signals;
use super::stream;
use super::transport::Transport;
use super::{Offer, Reply, Snapshot};
use tenantd_host::relocation::snapshots::{self, Received};
use tenantd_host::relocation::{Mark, Snapshots};

/// The name of the round that follows the stop.
const LAST: &str = "last round";

/// One transport, with what it has to remember.
pub(super) enum Carrier {
    Rsync,
    /// Snapshots: the last one that the target has completely, and the number of the next one.
    Btrfs {
        sent: Option<u64>,
        next: u64,
    },
}

impl Carrier {
    /// Begins, or continues where the move that `earlier` is of has ended.
    pub(super) fn begin(
        transport: Transport,
        source: &Path,
        earlier: Option<&Mark>,
        reply: &Reply,
    ) -> anyhow::Result<Self> {
        let ours = Snapshots::sent(source);
        match transport {
            Transport::Rsync => {
                ours.sweep()?;
                Ok(Self::Rsync)
            }
            Transport::Btrfs => {
                let noted = earlier.filter(|it| it.other.machine == reply.here.machine);
                let noted = noted.and_then(|it| it.sent);
                let uuid = noted.map_or(Ok(None), |number| ours.uuid(number))?;
                let sent = continued(noted, uuid.as_deref(), &reply.received);
                let used = ours.numbers()?.into_iter();
                let used = used.chain(reply.received.iter().map(|it| it.number));
                let next = used.max().unwrap_or(0).saturating_add(1);
                ours.prune(sent)?;
                Ok(Self::Btrfs { sent, next })
            }
        }
    }

    /// The last snapshot that the target has.
    pub(super) fn sent(&self) -> Option<u64> {
        match self {
            Self::Rsync => None,
            Self::Btrfs { sent, .. } => *sent,
        }
    }

    /// The snapshot that the target is to take as the copy.
    pub(super) fn last_snapshot(&self) -> Option<Snapshot> {
        let number = self.sent()?;
        let parent = None;
        Some(Snapshot { number, parent })
    }

    /// A round while the tenant runs.
    pub(super) fn round(
        &mut self,
        peer: &Peer<'_>,
        offer: &mut Offer,
        folders: (&Path, &Path),
        what: &str,
    ) -> anyhow::Result<Sent> {
        match self {
            Self::Rsync => {
                copy::flush(folders.0)?;
                copy::round(peer, folders, what, true)
            }
            Self::Btrfs { sent, next } => carry(peer, offer, folders.0, what, (sent, next)),
        }
    }

    /// The round with the tenant stopped.
    pub(super) fn last(
        &mut self,
        peer: &Peer<'_>,
        offer: &mut Offer,
        folders: (&Path, &Path),
        signals: &Signals,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        signals.check()?;
        let sent = match self {
            Self::Rsync => {
                let mut sent = copy::round(peer, folders, LAST, false)?;
                let Survey { changed, .. } = copy::survey(folders.0, offer.since)?;
                signals.check()?;
                let more = copy::compare(peer, folders, LAST, &changed)?;
                sent.files = sent.files.zip(more.files).map(|(one, more)| one + more);
                sent.bytes += more.bytes;
                sent
            }
            Self::Btrfs { sent, next } => {
                // It has been made since the first snapshot.
                if let Some(why) = snapshots::cannot_send(folders.0, false)? {
                    bail!("{why}: type the same command again, which copies with rsync then");
                }
                carry(peer, offer, folders.0, LAST, (sent, next))?
            }
        };
        rounds::say(peer, LAST, sent, begun.elapsed())
    }
}

/// Makes a snapshot and sends it. The one before is removed once it is known that the target has this one.
fn carry(
    peer: &Peer<'_>,
    offer: &mut Offer,
    source: &Path,
    what: &str,
    (sent, next): (&mut Option<u64>, &mut u64),
) -> anyhow::Result<Sent> {
    let ours = Snapshots::sent(source);
    let (number, parent) = (*next, *sent);
    *next += 1;
    let path = ours.make(source, number)?;
    offer.snapshot = Some(Snapshot { number, parent });
    let before = parent.map(|parent| ours.path(parent));
    let bytes = stream::send(peer, offer, (&path, before.as_deref()), what)?;
    snapshots::note_sent(source, number)?;
    *sent = Some(number);
    ours.prune(*sent)?;
    Ok(Sent { files: None, bytes })
}

/// The snapshot of an earlier move that both hosts still have. `uuid` is that of the source's with the number that is noted.
fn continued(noted: Option<u64>, uuid: Option<&str>, received: &[Received]) -> Option<u64> {
    let (noted, uuid) = (noted?, uuid?);
    let is_it = |it: &&Received| it.number == noted && it.of == uuid;
    received.iter().find(is_it).map(|it| it.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_snapshot_that_both_hosts_have_is_continued() {
        let received = |number, of: &str| Received {
            number,
            of: of.to_owned(),
        };
        let there = [received(2, "aa"), received(3, "bb")];
        for (noted, uuid, there, expected) in [
            (Some(3), Some("bb"), &there[..], Some(3)),
            // It was removed here, or it is another one, or the target has lost it.
            (Some(3), None, &there, None),
            (Some(3), Some("aa"), &there, None),
            (Some(4), Some("bb"), &there, None),
            (Some(3), Some("bb"), &[], None),
            // What was not noted may be incomplete.
            (None, Some("bb"), &there, None),
        ] {
            assert_eq!(continued(noted, uuid, there), expected);
        }
    }
}
