//! Checks `bridge`: a bridge that the host has, of which tenants are to be ports.

use std::net::IpAddr;

use toml::Spanned;

use super::BRIDGE_TENANTS_MAX;
use super::macvlan::Of;
use crate::manifest::problem::Problems;
use crate::manifest::raw::{Manifest, Network};
use crate::manifest::value;
use crate::plan::derive;
use crate::plan::facts::{Bridge, HostAddress, HostFacts, Parent, ParentKind};
use crate::plan::model::Interface;

/// Whether tenants are to be ports of a bridge of the host.
pub(super) fn is_wanted(network: &Network) -> bool {
    let mode = network.mode.as_ref();
    mode.is_some_and(|mode| *mode.get_ref() == value::Mode::Bridge)
        && network.bridge.value.is_some()
}

/// Reports the key in another mode.
pub(super) fn check_keys(network: &Network, problems: &mut Problems) {
    // A mode that is invalid is reported already.
    if let (Some(bridge), Some(_), false) =
        (&network.bridge.value, &network.mode, is_wanted(network))
    {
        problems
            .report(&bridge.span(), "`bridge` has no effect in this mode")
            .help("add `mode = \"bridge\"`, or remove it");
    }
}

/// Whether a gateway is the host, as a machine of the bridge's network.
pub(super) fn is_host(gateway: IpAddr, host: &[&HostAddress], bridge: Option<&Of>) -> bool {
    let is_by = |interface: &str| bridge.is_some_and(|it| it.name.as_str() == interface);
    let mut all = host.iter();
    all.any(|it| it.network.ip() == gateway && is_by(&it.interface))
}

/// Looks the bridge up, and reports one that cannot have the tenants as ports.
pub(super) fn fact(
    bridge: &Spanned<Interface>,
    manifest: &Manifest,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<Parent> {
    let (name, at) = (bridge.get_ref(), bridge.span());
    if derive::is_derived(derive::HUB, name.as_str()) {
        problems
            .report(&at, format!("{name} is a link of tenantd"))
            .help("name a bridge that the host has, see `ip -brief link show type bridge`");
        return None;
    }
    let found = match host.parent(name.as_str()) {
        Ok(found) => found,
        Err(errno) => {
            let message = format!("cannot look up the interface {name}: {}", errno.desc());
            problems.report(&at, message);
            return None;
        }
    };
    let (message, help) = match &found {
        None => (
            format!("the host has no interface {name}"),
            format!("make it first, such as by `ip link add {name} up type bridge`"),
        ),
        Some(Parent {
            kind: ParentKind::Bridge(bridge),
            mtu,
        }) => {
            check_mtu(name, *mtu, manifest, problems);
            match trouble(name, bridge, manifest) {
                None => return found,
                Some(trouble) => trouble,
            }
        }
        Some(Parent {
            kind: ParentKind::Port(of),
            ..
        }) => (
            format!("{name} is a port of {of}, and no bridge"),
            format!("use `bridge = \"{of}\"`"),
        ),
        Some(_) => (
            format!("{name} is no bridge"),
            "name a bridge, see `ip -brief link show type bridge`; `mode = \"macvlan\"` needs none"
                .to_owned(),
        ),
    };
    problems.report(&at, message).help(help);
    None
}

/// A port with a smaller MTU would make that of the bridge smaller, and the kernel forwards no larger frames.
fn check_mtu(name: &Interface, mtu: u32, manifest: &Manifest, problems: &mut Problems) {
    let written = manifest.network.mtu.value.as_ref();
    if let Some(written) = written.filter(|it| *it.get_ref() != mtu) {
        let message = format!("{name} has an MTU of {mtu} bytes, and its ports have the same");
        problems
            .report(&written.span(), message)
            .help("remove `mtu`: tenants have that of the bridge");
    }
}

/// Why a bridge cannot have the tenants as ports, and what to do.
fn trouble(name: &Interface, bridge: &Bridge, manifest: &Manifest) -> Option<(String, String)> {
    if bridge.vlan == Some(0) {
        return Some((
            format!("{name} filters VLANs, and new ports of it are in none"),
            "use another bridge, or one with a default VLAN (`vlan_default_pvid`)".to_owned(),
        ));
    }
    let app = manifest.app.name.as_ref()?.get_ref();
    let own = format!("{}/", derive::hub_mark(app));
    let others = bridge.ports.iter().filter(|it| !it.starts_with(&own));
    let (others, tenants) = (others.count(), manifest.tenants.len());
    if others + tenants > BRIDGE_TENANTS_MAX {
        let left = BRIDGE_TENANTS_MAX.saturating_sub(others);
        return Some((
            format!(
                "{name} has {others} ports of others, and room for {left} of the {tenants} tenants"
            ),
            "`mode = \"routed\"` with `uplink` has no such limit".to_owned(),
        ));
    }
    None
}
