//! Mends what `verify` has found of a tenant's network, on request: also what is not noticed by itself, such as what
//! is inside the tenant.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::thread;

use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Handle, LinkUnspec};

use crate::netns::Netns;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::hub;
use super::mend::Outcome;
use super::provision::Provisioner;
use super::refusal::{broken, refused};
use super::tenant::TenantSocket;

impl Provisioner {
    /// Makes the hub and the tables of the firewall as they are to be, with the elements of these tenants.
    pub(super) async fn restore(&self, tenants: &[(LinkPlan, u32)]) -> Result<(), Failure> {
        let (index, _) = hub::mend(&self.links, &self.network, self.hub.get()).await?;
        self.hub.set(index);
        if self.network.parent.is_some() {
            return Ok(());
        }
        let hub = LinkUnspec::new_with_index(index).mtu(self.network.mtu);
        let set = self
            .links
            .handle()
            .link()
            .change(hub.build())
            .execute()
            .await;
        let name = self.network.hub.name.as_str();
        let set = self.links.done(set);
        set.map_err(|error| refused(Stage::Link, name, error))?;
        match &self.firewall {
            Some(firewall) if !firewall.is_whole(tenants)? => firewall.restore(tenants),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes both sides of a tenant's link as planned.
    pub(super) async fn repair(&self, link: &LinkPlan, netns: &Netns) -> Result<(), Failure> {
        let name = link.host.name.as_str();
        let Some(found) = self.links.find(name).await? else {
            return Err(Failure::detail(
                Stage::Linked,
                name,
                "it is missing on the host",
            ));
        };
        if let Outcome::Lost(why) = self.mend(found.index, link).await? {
            return Err(why);
        }
        let end = LinkUnspec::new_with_index(found.index).mtu(self.network.mtu);
        let set = self
            .links
            .handle()
            .link()
            .change(end.build())
            .execute()
            .await;
        let set = self.links.done(set);
        set.map_err(|error| refused(Stage::Link, name, error))?;
        // The addresses inside are corrected below.
        self.admit(link, None).await?;
        let network = &self.network;
        self.expose(link, netns).await?;
        inside(netns, || repair_inside(network, link))?;
        self.guard_again(link, netns)?;
        // The link was perhaps down inside.
        match self.mend(found.index, link).await? {
            Outcome::Whole(_) => Ok(()),
            Outcome::Lost(why) => Err(why),
        }
    }
}

/// Runs a closure on a thread of its own in a tenant's network namespace.
fn inside(netns: &Netns, act: impl FnOnce() -> Result<(), Failure> + Send) -> Result<(), Failure> {
    thread::scope(|scope| {
        let visit = thread::Builder::new().name("repair".to_owned());
        let visit = visit.spawn_scoped(scope, || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Failure::errno(Stage::EnterNetns, "", errno as i32))?;
            act()
        });
        let visit = visit.map_err(|error| broken(Stage::EnterNetns, "", &error))?;
        visit
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn repair_inside(network: &NetworkPlan, link: &LinkPlan) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| broken(Stage::Link, "(in the tenant)", &error))?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|error| broken(Stage::Link, "(in the tenant)", &error))?;
        tokio::spawn(connection);
        correct_end(&handle, network, link).await?;
        TenantSocket::open(link)?.set_up_again(network, link).await
    })
}

/// Corrects the tenant end, and removes addresses that are not planned.
async fn correct_end(
    handle: &Handle,
    network: &NetworkPlan,
    link: &LinkPlan,
) -> Result<(), Failure> {
    let name = link.tenant.name.as_str();
    let fail = |error| refused(Stage::Link, format!("{name} (in the tenant)"), error);
    let request = handle.link().get().match_name(name.to_owned());
    let Some(found) = request.execute().try_next().await.map_err(fail)? else {
        return Err(Failure::errno(Stage::Link, name, libc::ENODEV));
    };
    let index = found.header.index;
    let end = LinkUnspec::new_with_index(index)
        .mtu(network.mtu)
        .address(link.tenant.mac.0.to_vec())
        .up();
    let set = handle.link().change(end.build()).execute().await;
    set.map_err(fail)?;
    let addresses = handle.address().get().set_link_index_filter(index);
    let present: Vec<AddressMessage> = addresses.execute().try_collect().await.map_err(fail)?;
    for address in present {
        let is_foreign = local(&address).is_some_and(|it| {
            let is_link_local = matches!(it, IpAddr::V6(it) if it.is_unicast_link_local());
            !is_link_local && link.addresses.iter().all(|planned| planned != it)
        });
        if is_foreign {
            let removed = handle.address().del(address).execute().await;
            removed.map_err(fail)?;
        }
    }
    Ok(())
}

fn local(address: &AddressMessage) -> Option<IpAddr> {
    let mut found = None;
    for part in &address.attributes {
        match part {
            AddressAttribute::Local(local) => found = Some(*local),
            // IPv6 has this one only.
            AddressAttribute::Address(address) => found = found.or(Some(*address)),
            _ => {}
        }
    }
    found
}
