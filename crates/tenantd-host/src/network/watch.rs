//! Notices what other programs of the host take from the application's network, and has it mended.
//!
//! A message of the kernel is only a reason to look: what is there now is queried and compared with the plan,
//! because messages are late, and some losses have none (a link that is set down loses its IPv4 routes in
//! silence). So the changes of this thread itself cause at most a look, and most of them not even that. There
//! is no timer unless something has to be looked at again.

mod admission;
mod model;
mod pace;
mod socket;
pub(super) mod tables;
mod uplink;
mod wire;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::{Failure, Stage};

use super::hub;
use super::leaving::Leaving;
use super::mend::Outcome;
use super::provision::Provisioner;
use admission::Unadmitted;
use model::{Model, Part};
use pace::Pace;
use socket::{Received, Subscription};

/// Something that happened to the network of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The mark of the link concerned: that of a tenant's, or of the hub.
    pub mark: String,
    /// What happened.
    pub news: News,
}

/// What happened to a part of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something was different from the plan, and was corrected.
    Mended(Vec<String>),
    /// It differs from the plan, and could not be corrected; or it does not differ any longer.
    Drift(Option<Failure>),
    /// The tenant's link is gone.
    Lost(Failure),
}

/// After so long is it tried again to give a tenant the traffic of its plan: the kernel does not tell that a port
/// is free.
const ADMIT_AGAIN: Duration = Duration::from_secs(1);

/// The watch, and what is to be looked at.
pub(super) struct Watch {
    socket: Option<Subscription>,
    leaving: Rc<Leaving>,
    model: Model,
    due: BTreeMap<Part, Instant>,
    paces: BTreeMap<Part, Pace>,
    drifts: BTreeMap<Part, Failure>,
    /// Why the traffic of tenants is not that of their plans. It is tried again.
    unadmitted: BTreeMap<Part, Unadmitted>,
    notes: UnboundedSender<Note>,
}

impl Watch {
    /// Watches the network namespace of the calling thread.
    pub(super) fn new(provisioner: &Provisioner, notes: UnboundedSender<Note>) -> Self {
        let mut watch = Self {
            socket: None,
            leaving: Rc::clone(&provisioner.leaving),
            model: Model::new(provisioner.network.clone(), provisioner.hub.get()),
            due: BTreeMap::new(),
            paces: BTreeMap::new(),
            drifts: BTreeMap::new(),
            unadmitted: BTreeMap::new(),
            notes,
        };
        match Subscription::open(provisioner.links.port()) {
            Ok(socket) => {
                watch.socket = Some(socket);
                watch.leaving.are_told(true);
            }
            Err(error) => watch.blind(&error),
        }
        if provisioner.network.parent.is_some() {
            // It is not ours, so it was not made as planned.
            watch.suspect(Part::Hub, Instant::now());
        }
        watch
    }

    fn blind(&mut self, error: &std::io::Error) {
        self.socket = None;
        self.leaving.are_told(false);
        let errno = error.raw_os_error().unwrap_or(0);
        let why = Failure::errno(Stage::Linked, "", errno)
            .with("what the host changes about links and routes is not noticed");
        self.set_drift(Part::Hub, Some(why));
    }

    /// Sends a note. Nobody may be there for it.
    fn note(&self, part: Part, news: News) {
        if let Some(mark) = self.model.mark(part) {
            let _gone = self.notes.send(Note { mark, news });
        }
    }

    /// Watches a tenant from now on. If it is `known`, it was provisioned right now by this thread; else it
    /// is looked at once.
    pub(super) fn keep(&mut self, link: LinkPlan, index: u32, known: bool) {
        // Its own provision is told by messages that are not read yet.
        self.read();
        // What the uplink has lost meanwhile was told for no tenant.
        let is_by_uplink = !link.traffic.by_uplink.is_empty();
        let is_early = self.model.add(link, index) || is_by_uplink;
        if is_early || !known {
            self.suspect(Part::Tenant(index), Instant::now());
        }
    }

    /// Notes that a tenant has no link, although it is provisioned.
    pub(super) fn missing(&self, link: &LinkPlan) {
        let why = "it is missing on the host";
        let why = Failure::detail(Stage::Linked, link.host.name.as_str(), why);
        let (mark, news) = (link.mark.clone(), News::Lost(why));
        let _gone = self.notes.send(Note { mark, news });
    }

    /// Watches a tenant no longer.
    pub(super) fn forget(&mut self, link: &LinkPlan) {
        if let Some(index) = self.model.remove(&link.mark) {
            self.forget_part(Part::Tenant(index));
        }
    }

    /// Makes what all tenants share as planned, with the firewall's elements of each.
    pub(super) async fn restore(&mut self, provisioner: &Provisioner) -> Result<(), Failure> {
        let before = provisioner.hub.get();
        let restored = provisioner.restore(&self.model.links()).await;
        if provisioner.hub.get() != before {
            self.model.set_hub(provisioner.hub.get());
        }
        restored
    }

    fn forget_part(&mut self, part: Part) {
        self.unadmitted.remove(&part);
        self.due.remove(&part);
        self.paces.remove(&part);
        self.drifts.remove(&part);
    }

    /// Reads what has arrived.
    fn read(&mut self) {
        let Self {
            socket,
            model,
            leaving,
            ..
        } = self;
        let Some(subscription) = socket else {
            return;
        };
        let mut suspects = Vec::new();
        let received = subscription.read(|datagram| {
            for message in wire::messages(datagram) {
                if message.kind == wire::DEL_LINK {
                    leaving.hear(message.index());
                }
                model.hear(message, &mut suspects);
            }
        });
        let now = Instant::now();
        if suspects.contains(&Part::Drifted) {
            suspects.extend(self.drifts.keys());
        }
        match received {
            Ok(Received::Datagram | Received::Nothing) => {}
            Ok(Received::Overrun) => {
                self.leaving.look();
                suspects.extend(self.model.parts());
            }
            Err(error) => self.blind(&error),
        }
        for part in suspects {
            self.suspect(part, now);
        }
    }

    fn suspect(&mut self, part: Part, now: Instant) {
        if part == Part::Drifted {
            return;
        }
        let due = self.paces.entry(part).or_default().due(now);
        // What waits for calm is looked at earlier.
        let at = self.due.entry(part).or_insert(due);
        *at = due.min(*at);
    }

    /// Waits for the next part that is to be looked at now. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> Part {
        loop {
            let now = Instant::now();
            let due = self.due.iter().find(|(_, due)| **due <= now);
            if let Some((part, _)) = due {
                return *part;
            }
            let next = self.due.values().min().copied();
            let socket = &self.socket;
            let readable = async {
                match socket {
                    Some(socket) => socket.readable().await,
                    None => std::future::pending().await,
                }
            };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                readable = readable => match readable {
                    Ok(()) => self.read(),
                    Err(error) => self.blind(&error),
                },
                () = due => {}
            }
        }
    }

    /// Looks at a part, and mends it.
    pub(super) async fn mend(&mut self, provisioner: &Provisioner, part: Part) {
        self.due.remove(&part);
        self.admit_again(provisioner, part).await;
        let outcome = match (part, self.look_at(provisioner, part).await) {
            (Part::Tenant(_), Some(Err(_))) => {
                // It needs the hub, whose loss may be told after its own.
                let hub = self.mend_hub(provisioner).await;
                self.conclude(Part::Hub, hub);
                self.look_at(provisioner, part).await
            }
            (_, outcome) => outcome,
        };
        match outcome {
            Some(outcome) => self.conclude(part, outcome),
            None => self.forget_part(part),
        }
    }

    /// None if there is no such part.
    async fn look_at(
        &mut self,
        provisioner: &Provisioner,
        part: Part,
    ) -> Option<Result<Outcome, Failure>> {
        match part {
            Part::Hub => Some(self.mend_hub(provisioner).await),
            Part::Tenant(index) => {
                let link = self.model.link(index)?;
                Some(provisioner.mend(index, link).await)
            }
            Part::Drifted => None,
        }
    }

    fn conclude(&mut self, part: Part, outcome: Result<Outcome, Failure>) {
        match outcome {
            Ok(Outcome::Lost(why)) => {
                self.note(part, News::Lost(why));
                if let Part::Tenant(index) = part {
                    self.model.remove_index(index);
                }
                self.forget_part(part);
            }
            Ok(Outcome::Whole(mended)) => self.mended(part, mended),
            Err(why) => self.failed(part, why),
        }
    }

    async fn mend_hub(&mut self, provisioner: &Provisioner) -> Result<Outcome, Failure> {
        let before = provisioner.hub.get();
        let (links, network) = (&provisioner.links, &provisioner.network);
        let (index, mended) = hub::mend(links, network, before).await?;
        if index != before {
            provisioner.hub.set(index);
            self.model.set_hub(index);
        }
        if !mended.is_empty() {
            // Their routes need its address, and their ports it.
            let now = Instant::now();
            for part in self.model.parts() {
                if part != Part::Hub {
                    self.suspect(part, now);
                }
            }
        }
        Ok(Outcome::Whole(mended))
    }

    fn mended(&mut self, part: Part, mended: Vec<String>) {
        let now = Instant::now();
        let pace = self.paces.entry(part).or_default();
        if mended.is_empty() {
            pace.whole();
            if pace.is_often() && !pace.is_calm(now) {
                let at = pace.calm_at(now);
                self.due.entry(part).or_insert(at);
                return;
            }
            if pace.is_calm(now) {
                self.paces.remove(&part);
            }
            return self.set_drift(part, None);
        }
        pace.mended(now);
        if !pace.is_often() {
            self.set_drift(part, None);
            return self.note(part, News::Mended(mended));
        }
        let (at, count) = (pace.calm_at(now), pace.count());
        self.due.entry(part).or_insert(at);
        let what = mended.join(" and ");
        self.note(part, News::Mended(mended));
        if !self.drifts.contains_key(&part) {
            let why = format!(
                "another program takes it away again and again (mended {count} times, from now on after a \
                 delay): keep that program away from links of tenantd"
            );
            self.set_drift(part, Some(Failure::detail(Stage::Linked, what, why)));
        }
    }

    fn failed(&mut self, part: Part, why: Failure) {
        let now = Instant::now();
        if let Some(at) = self.paces.entry(part).or_default().failed(now) {
            self.due.entry(part).or_insert(at);
        }
        self.set_drift(part, Some(why));
    }

    fn set_drift(&mut self, part: Part, drift: Option<Failure>) {
        let drift = drift.or_else(|| self.unadmitted.get(&part).map(|it| it.why.clone()));
        if self.drifts.get(&part) == drift.as_ref() {
            return;
        }
        match &drift {
            Some(why) => self.drifts.insert(part, why.clone()),
            None => self.drifts.remove(&part),
        };
        self.note(part, News::Drift(drift));
    }
}
