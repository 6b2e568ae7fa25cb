//! Pipes of tenants that write faster than `log_rate`: they are not read for a while, and their programs wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Pipes;
use crate::logs::Logs;
use crate::logs::pace::Pace;
use tenantd_core::name::TenantName;

/// How often the loop is told of a tenant at most.
const TELL: Duration = Duration::from_secs(1);

/// How many tenants may wait for the loop. Others are told of later.
const NOTICES_MAX: usize = 64;

/// The pipes that are not read for a while.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// When each is read on.
    keys: BTreeSet<(Instant, u64)>,
    /// None if nobody wants to know.
    notices: Option<mpsc::Sender<HeldBack>>,
}

/// What is known of the pace of a tenant.
#[derive(Debug)]
pub(super) struct Paced {
    pace: Pace,
    /// How often its pipes were not read on.
    times: u64,
    told: Option<Instant>,
}

impl Paced {
    pub(super) fn new() -> Self {
        Self {
            pace: Pace::new(None),
            times: 0,
            told: None,
        }
    }
}

/// A tenant that writes faster than its lines are read.
#[derive(Debug)]
pub(crate) struct HeldBack {
    /// The tenant.
    pub(crate) tenant: TenantName,
    /// How often, since its pipes were opened.
    pub(crate) times: u64,
}

impl Logs {
    /// The tenants that write faster than their output is read, from now on.
    pub(crate) fn held_back(&self) -> mpsc::Receiver<HeldBack> {
        let (notices, held_back) = mpsc::channel(NOTICES_MAX);
        self.reader.pipes.borrow_mut().waiting.notices = Some(notices);
        held_back
    }

    /// Reads so many bytes a second of a tenant's output from now on.
    pub(crate) fn pace(&self, tenant: &TenantName, rate: u64) {
        if let Some(pair) = self.reader.pipes.borrow_mut().pair(tenant) {
            pair.paced.pace.set(rate);
        }
    }
}

impl Pipes {
    /// Counts the bytes and lines that were read of a pipe, which is read on at once or later.
    pub(super) fn read_on(&mut self, key: u64, read: (usize, usize)) {
        let now = Instant::now();
        let Some(pair) = self.open.get_mut(&(key / 2)) else {
            return;
        };
        let Some(at) = pair.paced.pace.read(read, now) else {
            return self.ready.push_back(key);
        };
        self.waiting.keys.insert((at, key));
        let paced = &mut pair.paced;
        paced.times += 1;
        if paced.told.is_none_or(|told| told + TELL <= now) {
            paced.told = Some(now);
            let tenant = pair.tenant.clone();
            let times = paced.times;
            // Without room, the next notice has the sum.
            let notices = self.waiting.notices.as_ref();
            let _full = notices.map(|it| it.try_send(HeldBack { tenant, times }));
        }
    }

    /// Reads the pipes on whose time has come. Returns when that of the next one comes.
    pub(super) fn end_waiting(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(at, key)) = self.waiting.keys.first() {
            if at > now {
                return Some(at);
            }
            self.waiting.keys.pop_first();
            self.ready.push_back(key);
        }
        None
    }
}
