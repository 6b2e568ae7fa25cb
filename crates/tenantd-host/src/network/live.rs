//! Adds and removes addresses of a tenant that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::netns::{self, Netns};
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::stage::{Failure, Stage};

use super::announce::announce;
use super::link::Found;
use super::provision::Provisioner;
use super::refusal::broken;
use super::tenant::TenantSocket;

/// How long another tenant may still have an address: it is about to be changed, or stopped.
const FREE_WITHIN: Duration = Duration::from_secs(60);

/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Which addresses each tenant has. Both ways, so that the work for one does not grow with the number of tenants.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_mark: BTreeMap<String, BTreeSet<IpAddr>>,
    owners: BTreeMap<IpAddr, String>,
}

impl Held {
    fn set(&mut self, mark: &str, addresses: BTreeSet<IpAddr>) {
        self.remove(mark, |_| true);
        let owned = addresses.iter().map(|it| (*it, mark.to_owned()));
        self.owners.extend(owned);
        self.by_mark.insert(mark.to_owned(), addresses);
    }

    /// Removes those of a tenant that are gone.
    fn remove(&mut self, mark: &str, is_gone: impl Fn(&IpAddr) -> bool) {
        let Some(addresses) = self.by_mark.get_mut(mark) else {
            return;
        };
        for gone in addresses.extract_if(.., |address| is_gone(address)) {
            if self.owners.get(&gone).is_some_and(|owner| owner == mark) {
                self.owners.remove(&gone);
            }
        }
        if addresses.is_empty() {
            self.by_mark.remove(mark);
        }
    }
}

impl Provisioner {
    /// Notes which addresses a tenant has.
    pub(super) fn hold(&self, link: &LinkPlan) {
        let mut held = self.held.borrow_mut();
        held.set(&link.mark, link.addresses.iter().collect());
    }

    /// The addresses of the plan, and those that the tenant has by another one.
    pub(super) fn all_held(&self, link: &LinkPlan) -> BTreeSet<IpAddr> {
        let held = self.held.borrow();
        let held = held.by_mark.get(&link.mark).into_iter().flatten().copied();
        held.chain(link.addresses.iter()).collect()
    }

    /// Whether another tenant has an address.
    pub(super) fn is_held_by_another(&self, link: &LinkPlan, address: IpAddr) -> bool {
        let held = self.held.borrow();
        let owner = held.owners.get(&address);
        owner.is_some_and(|owner| *owner != link.mark)
    }

    /// Notes that a tenant has no address any longer.
    pub(super) fn let_go(&self, link: &LinkPlan) {
        self.held.borrow_mut().remove(&link.mark, |_| true);
    }

    /// Gives a tenant the addresses of its plan, and takes those of an earlier one away. Its traffic must be admitted
    /// between the two: `admit` does it.
    pub(super) async fn readdress(
        &self,
        link: &LinkPlan,
        found: &Found,
        netns: &Netns,
        admit: impl Fn(&LinkPlan) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let planned: BTreeSet<IpAddr> = link.addresses.iter().collect();
        if self.held.borrow().by_mark.get(&link.mark) == Some(&planned) {
            return admit(link);
        }
        let Some(number) = self.links.number_of(netns.as_fd()).await? else {
            return admit(link);
        };
        let present = self.links.all_addresses_in(number).await?;
        let is_ours = |it: &&IpAddr| {
            let mut subnets = self.network.subnets();
            subnets.any(|subnet| subnet.contains(**it)) || self.network.is_by_uplink(**it)
        };
        let present: BTreeSet<IpAddr> = present.iter().filter(is_ours).copied().collect();
        let gone: Vec<IpAddr> = present.difference(&planned).copied().collect();
        let new: Vec<IpAddr> = planned.difference(&present).copied().collect();
        let way = self.way(found.index);
        self.answer_no_longer(link, gone.iter().copied()).await?;
        for address in &gone {
            self.links.unroute(way, &self.network, *address).await?;
        }
        self.change_inside(link, netns, &gone, &[]).await?;
        // In a transaction of its own: another tenant may get the same elements in the next.
        let stays = link
            .addresses
            .iter()
            .filter(|address| present.contains(address));
        if let Some(addresses) = Addresses::of(stays).filter(|_| !gone.is_empty()) {
            admit(&LinkPlan {
                addresses,
                ..link.clone()
            })?;
        }
        self.keep_of(link, &gone);
        self.until_free(link, &new).await?;
        self.probe(link, &new).await?;
        admit(link)?;
        self.hold(link);
        for address in &new {
            self.links.refuse_own_address(*address, None).await?;
        }
        self.change_inside(link, netns, &[], &new).await?;
        for address in &new {
            let routed = self
                .links
                .route_to(way, &self.network, *address, &link.tenant);
            routed.await?;
        }
        self.answer_for(new.iter().copied()).await?;
        match self.network.mode {
            Mode::Bridge if !new.is_empty() => announce(netns, link, new.into_iter()),
            Mode::Bridge | Mode::Routed | Mode::Macvlan | Mode::Port => Ok(()),
        }
    }

    pub(super) async fn change_inside(
        &self,
        link: &LinkPlan,
        netns: &Netns,
        gone: &[IpAddr],
        new: &[IpAddr],
    ) -> Result<(), Failure> {
        if gone.is_empty() && new.is_empty() {
            return Ok(());
        }
        let open =
            || TenantSocket::open(link).map_err(|why| std::io::Error::other(why.to_string()));
        let socket = netns::visit(netns, open);
        let socket = socket.map_err(|error| broken(Stage::Address, "(in the tenant)", &error))?;
        socket.change(&self.network, link, gone, new).await
    }

    /// Notes that a tenant does not have these addresses any longer.
    pub(super) fn keep_of(&self, link: &LinkPlan, gone: &[IpAddr]) {
        let mut held = self.held.borrow_mut();
        held.remove(&link.mark, |address| gone.contains(address));
    }

    /// Waits until no other tenant has one of these addresses.
    pub(super) async fn until_free(&self, link: &LinkPlan, new: &[IpAddr]) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let other = new.iter().find_map(|address| {
                let held = self.held.borrow();
                let owner = held.owners.get(address);
                let other = owner.filter(|mark| **mark != link.mark);
                other.map(|mark| (*address, mark.clone()))
            });
            let Some((address, mark)) = other else {
                return Ok(());
            };
            if begun.elapsed() > FREE_WITHIN {
                let why = format!("{mark} has it still");
                let object = address.to_string();
                return Err(Failure::errno(Stage::Address, object, libc::EADDRINUSE).with(why));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
