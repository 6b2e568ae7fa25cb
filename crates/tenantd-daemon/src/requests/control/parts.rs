//! Answers that this program frames itself: the status of many tenants and a subscription, which are
//! sent in parts, and other long answers.
//!
//! zlink writes a reply as a whole. If the reply does not fit into its buffer, zlink makes the
//! buffer 256 bytes longer and starts again; for 1,000 tenants that takes 150 ms of the loop's
//! time. This module gets a few tenants from the loop, writes them as JSON once, and sends them,
//! and the loop continues between two such parts. On the wire it is normal varlink.

use std::collections::VecDeque;
use std::io;
use std::panic::resume_unwind;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local, yield_now};

use crate::requests::control::guard::Writer;
use crate::requests::programs::{Disk, Part};
use crate::requests::queue::{Request, RequestQueue};
use crate::subscriptions::{Feed, WatchId, message};
use tenantd_api::wire::AppStatus;
use tenantd_api::wire::varlink::Refusal;
use tenantd_api::wire::watch::{Snapshot, Update};
use tenantd_core::name::TenantName;

/// The number of tenants in a part. Making and writing one takes about 0.1 ms.
pub const PART: usize = 32;

/// For how many parts the disk is looked at together. A thread that looks for one only, less than a millisecond, stays on the
/// processor of the one that started it.
const TOGETHER: usize = 4;

/// How many of these groups are made or completed at a time: the disk is looked at for two of them on as many processors, while
/// the loop makes the third.
const AHEAD: usize = 3;

/// How many bytes to send at once.
const BATCH: usize = 64 * 1024;

/// Why an answer was not sent completely.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsent {
    /// Nothing was sent yet: this refusal can be sent instead.
    #[error("refused")]
    Refused(Refusal),
    /// The peer has disconnected or does not read, or the loop has ended. The connection has to be
    /// closed, because the answer is incomplete.
    #[error("cannot send the rest of the answer")]
    Broken(#[source] io::Error),
}

impl From<io::Error> for Unsent {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

fn ended() -> io::Error {
    io::Error::other("the supervisor's loop has ended")
}

/// Returns the parts of an answer, one after the other.
struct Parts<'a> {
    queue: &'a RequestQueue,
    watch: Option<WatchId>,
    rest: std::vec::IntoIter<TenantName>,
    disk: Disk,
    /// The next parts but those that are ready, for which other threads look at the disk.
    ahead: VecDeque<JoinHandle<Vec<AppStatus>>>,
    /// The next parts.
    ready: VecDeque<AppStatus>,
    begun: bool,
}

impl<'a> Parts<'a> {
    fn of(queue: &'a RequestQueue, tenants: Vec<TenantName>, watch: Option<WatchId>) -> Self {
        Self {
            queue,
            watch,
            rest: tenants.into_iter(),
            disk: Disk::default(),
            ahead: VecDeque::new(),
            ready: VecDeque::new(),
            begun: false,
        }
    }

    /// The next part, and whether it is the last one. There is at least one part, which may be
    /// empty.
    async fn next(&mut self) -> io::Result<Option<(AppStatus, bool)>> {
        match self.ready.is_empty() {
            true => self.look_ahead().await?,
            // The loop has other work in between.
            false => yield_now().await,
        }
        let next = self.ready.pop_front();
        let is_last = self.ready.is_empty() && self.ahead.is_empty() && !self.has_more();
        Ok(next.map(|status| (status, is_last)))
    }

    /// Begins to make what is ahead, and waits for the first of it.
    async fn look_ahead(&mut self) -> io::Result<()> {
        while self.ahead.len() < AHEAD && self.has_more() {
            let mut some = Vec::new();
            while some.len() < TOGETHER && self.has_more() {
                some.push(ask(self.queue, self.watch, &mut self.rest).await?);
                self.begun = true;
            }
            let disk = self.disk.clone();
            let compared = spawn_local(async move { disk.compare(some).await });
            self.ahead.push_back(compared);
        }
        if let Some(compared) = self.ahead.pop_front() {
            match compared.await {
                Ok(parts) => self.ready.extend(parts),
                // It is never cancelled, so it panicked.
                Err(error) => resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }

    /// Whether the loop was not asked for all parts yet.
    fn has_more(&self) -> bool {
        !self.begun || self.rest.len() > 0
    }
}

/// Asks the loop for the state of the next tenants.
async fn ask(
    queue: &RequestQueue,
    watch: Option<WatchId>,
    rest: &mut std::vec::IntoIter<TenantName>,
) -> io::Result<Part> {
    let tenants = rest.take(PART).collect();
    let ask = |reply: oneshot::Sender<Part>| Request::Part {
        tenants,
        watch,
        reply,
    };
    queue.send(ask).await.map_err(|_| ended())
}

/// Sends the state of these tenants: with `more` in several replies, otherwise in one reply, which
/// is also written and sent in parts.
pub(crate) async fn status(
    queue: &RequestQueue,
    tenants: Vec<TenantName>,
    more: bool,
    writer: &Writer,
) -> Result<(), Unsent> {
    let ask = |reply| Request::Names { tenants, reply };
    let names = queue
        .send(ask)
        .await
        .map_err(|closed| refused(closed.into()));
    let names = names?.map_err(|unknown| refused(unknown.into()))?;
    let mut parts = Parts::of(queue, names, None);
    let mut whole = Whole::default();
    while let Some((status, last)) = parts.next().await? {
        if more {
            writer.send(&message(&status, !last)).await?;
        } else {
            let part = whole.part(&status, last).map_err(io::Error::from)?;
            writer.send(&part).await?;
        }
    }
    Ok(())
}

/// Sends an answer or a refusal that may be long, written as JSON once.
pub(crate) async fn whole<T: Serialize>(
    answer: &Result<T, Refusal>,
    writer: &Writer,
) -> Result<(), Unsent> {
    match answer {
        Ok(answer) => writer.send(&message(answer, false)).await?,
        Err(refusal) => {
            let mut bytes = serde_json::to_vec(refusal).map_err(io::Error::from)?;
            bytes.push(0);
            writer.send(&bytes).await?;
        }
    }
    Ok(())
}

fn refused(refusal: Refusal) -> Unsent {
    Unsent::Refused(refusal)
}

/// One reply, written in parts.
#[derive(Default)]
struct Whole {
    begun: bool,
    any: bool,
}

impl Whole {
    /// The bytes of the next part. The fields before the tenants come from the first part.
    fn part(&mut self, status: &AppStatus, last: bool) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if !self.begun {
            self.begun = true;
            let head = AppStatus {
                tenants: Vec::new(),
                ..status.clone()
            };
            bytes.extend_from_slice(b"{\"parameters\":");
            serde_json::to_writer(&mut bytes, &head)?;
            // The tenants are the last field; they follow in later parts.
            debug_assert!(bytes.ends_with(b"[]}"));
            bytes.truncate(bytes.len() - b"]}".len());
        }
        for tenant in &status.tenants {
            if std::mem::replace(&mut self.any, true) {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, tenant)?;
        }
        if last {
            bytes.extend_from_slice(b"]}}\0");
        }
        Ok(bytes)
    }
}

/// Serves a subscription until it ends: sends the snapshot, and then the events.
pub(crate) async fn watch(
    queue: &RequestQueue,
    (tenants, requests): (Vec<TenantName>, bool),
    pid: Option<i32>,
    writer: &Writer,
) -> Result<(), Unsent> {
    let ask = |reply| Request::Watch {
        tenants,
        requests,
        pid,
        reply,
    };
    let feed = queue
        .send(ask)
        .await
        .map_err(|closed| refused(closed.into()));
    let mut feed: Feed = feed?.map_err(|unknown| refused(unknown.into()))?;
    let overdue = feed.overdue();
    let sent = send_updates(queue, &mut feed, writer);
    tokio::select! {
        biased;
        sent = sent => Ok(sent?),
        () = overdue => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn send_updates(queue: &RequestQueue, feed: &mut Feed, writer: &Writer) -> io::Result<()> {
    let mut parts = Parts::of(queue, std::mem::take(&mut feed.tenants), Some(feed.id));
    while let Some((status, complete)) = parts.next().await? {
        // Tenants are missing from this part.
        if feed.end().is_some() {
            break;
        }
        let part = Update::Snapshot(Snapshot {
            app: status.app,
            pid: status.pid,
            tracking: status.tracking,
            logs: status.logs,
            tenants: status.tenants,
            complete,
        });
        writer.send(&message(&part, true)).await?;
    }
    while let Some(batch) = feed.next(BATCH).await {
        writer.send(&batch).await?;
    }
    match feed.end() {
        Some(reason) => writer.send(&message(&Update::End(reason), false)).await,
        None => Err(ended()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::{LogPlace, NetworkState, StateWord, TenantStatus, Tracking};

    fn status(names: &[&str]) -> AppStatus {
        let tenant = |name: &&str| TenantStatus {
            pid: Some(4711),
            restarts: 12,
            ready: Some(true),
            why: Some("[]}".to_owned()),
            ..TenantStatus::bare(
                name.parse().unwrap(),
                std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
                StateWord::Up,
            )
        };
        AppStatus {
            app: "wiki".parse().unwrap(),
            pid: 99,
            tracking: Tracking::Cgroup,
            logs: LogPlace::Files,
            unwatched: None,
            network: NetworkState::default(),
            manifest: None,
            tenants: names.iter().map(tenant).collect(),
        }
    }

    #[test]
    fn a_reply_in_parts_equals_the_whole_reply() {
        for parts in [&[&["a", "b"][..], &["c"]][..], &[&[], &["a"], &[]], &[&[]]] {
            let mut whole = Whole::default();
            let mut bytes = Vec::new();
            for (at, names) in parts.iter().enumerate() {
                bytes.extend(whole.part(&status(names), at + 1 == parts.len()).unwrap());
            }
            let expected = serde_json::json!({ "parameters": status(&parts.concat()) });
            assert_eq!(bytes.pop(), Some(0));
            let sent: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(sent, expected);
        }
    }
}
