//! Links that the kernel is about to remove, since their network namespaces are closed.
//!
//! The kernel ends all namespaces together that were closed while it ended earlier ones, and tells of each link that it
//! has removed. The watch hears that, and the release looks. Many take longer than one: each millisecond.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::link::Found;
use super::provision::Provisioner;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

/// The time limit for the kernel to destroy an unused namespace. It takes 15 to 50 ms, and was seen
/// to take some hundred ms on a host under load.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// How much more time each further one has that is destroyed at the same time. It takes a millisecond or less.
const GONE_WITHIN_EACH: Duration = Duration::from_millis(5);

/// How many times that limit may pass while others vanish.
const ROUNDS_MAX: u32 = 8;

/// The shortest pause between two looks at a link if the kernel tells of it, and if it does not; and the longest one.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(4),
    Duration::from_millis(500),
];

/// For each so many links that are waited for, the pause is as long once more.
const MANY: u32 = 512;

/// The links that are waited for.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    waiting: RefCell<BTreeMap<u32, Rc<Notify>>>,
    /// When the last of them vanished.
    last: Cell<Option<Instant>>,
    /// Whether the kernel's messages are read.
    told: Cell<bool>,
}

impl Leaving {
    /// Notes whether the kernel's messages are read.
    pub(super) fn are_told(&self, told: bool) {
        self.told.set(told);
    }

    /// Has a link looked at of which the kernel has told that it is gone. One that leaves its bridge is there still.
    pub(super) fn hear(&self, index: Option<u32>) {
        let waiting = self.waiting.borrow();
        if let Some(one) = index.and_then(|index| waiting.get(&index)) {
            one.notify_one();
        }
    }

    /// Has all looked at.
    pub(super) fn look(&self) {
        for one in self.waiting.borrow().values() {
            one.notify_one();
        }
    }

    /// How many links are waited for.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.waiting.borrow().len()).unwrap_or(u32::MAX)
    }

    /// When the last of them vanished.
    pub(super) fn last_vanished(&self) -> Option<Instant> {
        self.last.get()
    }

    /// The pause before the next look at a link that is waited for so long. A look costs the more, the more namespaces there
    /// are, and the kernel has the lock that it needs while it ends them.
    fn pause(&self, waited: Duration) -> Duration {
        let [told, untold, longest] = LOOK_AGAIN;
        let shortest = if self.told.get() { told } else { untold };
        let pause = (waited / 2).clamp(shortest, longest);
        pause * (1 + self.count() / MANY)
    }

    /// Whether a link that is waited for since `start` has had its time.
    fn is_late(&self, start: Instant) -> bool {
        let others = self.count().saturating_sub(1);
        let limit = GONE_WITHIN + GONE_WITHIN_EACH.saturating_mul(others);
        let since = self.last.get().map_or(start, |last| last.max(start));
        since.elapsed() >= limit || start.elapsed() >= limit * ROUNDS_MAX
    }
}

/// A link that is waited for.
struct Awaited<'a>(&'a Leaving, u32, Rc<Notify>);

impl<'a> Awaited<'a> {
    fn new(leaving: &'a Leaving, index: u32) -> Self {
        let mut waiting = leaving.waiting.borrow_mut();
        let told = Rc::clone(waiting.entry(index).or_default());
        Self(leaving, index, told)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().remove(&self.1);
    }
}

impl Provisioner {
    /// Whether the link is removed in time.
    pub(super) async fn vanishes(&self, made: &Found, link: &LinkPlan) -> Result<bool, Failure> {
        let start = Instant::now();
        let one = Awaited::new(&self.leaving, made.index);
        while exists(made.index) {
            let pause = self.leaving.pause(start.elapsed());
            if timeout(pause, one.2.notified()).await.is_ok() {
                continue;
            }
            match self.links.find_index(made.index).await? {
                Some(found) if found.is_ours(&link.mark, link.host.mac) => {}
                _ => break,
            }
            if self.leaving.is_late(start) {
                return Ok(false);
            }
        }
        self.leaving.last.set(Some(Instant::now()));
        Ok(true)
    }
}

/// Whether the host has a link with this index. Uses an ioctl, see netdevice(7), because a netlink reply would contain
/// all attributes of the link. If it fails, the link is looked up in another way.
fn exists(index: u32) -> bool {
    let flags = SocketFlags::CLOEXEC;
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
    let named = any.and_then(|any| index_to_name(&any, index));
    !matches!(named, Err(Errno::NODEV | Errno::NXIO))
}
