//! Another machine on the segment has an address that a tenant is about to take.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};
use rustix::net::{SendFlags, send};
use tokio::time::timeout;

use tenantd_core::plan::model::MacAddr;
use tenantd_core::stage::Stage;
use tenantd_host::netns::Netns;
use tenantd_host::network::probe::{On, refuse_taken};

use crate::network::host::{block_on, inside, ip, ip_json};
use crate::support;

const TENANT: MacAddr = MacAddr([2, 0, 0, 2, 0, 2]);
const BRIDGE: MacAddr = MacAddr([2, 0, 0, 3, 0, 3]);
const FAR: &str = "02:09:09:09:09:09";

/// A bridge of the host, a machine in a LAN on it, and the namespace of a tenant that has no address yet.
fn segment() -> Netns {
    support::enter();
    ip(&format!(
        "link add br0 address {BRIDGE} type bridge mcast_snooping 0"
    ));
    ip("link set br0 up");
    ip("netns add lan");
    ip("netns add tenant");
    ip(&format!(
        "link add lan0 master br0 up type veth peer name lan1 netns lan address {FAR}"
    ));
    ip("-n lan link set lan1 up");
    ip(&format!(
        "link add t0 master br0 up type veth peer name eth0 netns tenant address {TENANT}"
    ));
    ip("-n tenant link set eth0 up");
    ip("link set t0 type bridge_slave isolated on");
    for address in ["10.77.0.2/24", "fd00:77::2/64"] {
        ip(&format!(
            "-n lan address add {address} dev lan1{}",
            if address.contains(':') { " nodad" } else { "" }
        ));
    }
    support::until("the ports forward", || {
        let ports = ip_json("link show master br0");
        ports.iter().all(|port| port["operstate"] == "UP")
    });
    let netns = File::open("/run/netns/tenant").unwrap();
    Netns::from_fd(OwnedFd::from(netns)).unwrap()
}

#[test]
fn a_machine_that_has_an_address_is_named() {
    let netns = segment();
    block_on(async {
        for (on, mac) in [
            (On::Tenant(&netns, "eth0"), TENANT),
            (On::Host("br0"), BRIDGE),
        ] {
            for (text, is_taken) in [
                ("10.77.0.2", true),
                ("10.77.0.3", false),
                ("fd00:77::2", true),
                ("fd00:77::3", false),
            ] {
                let address: IpAddr = text.parse().unwrap();
                let begun = Instant::now();
                let outcome = refuse_taken(on, mac, [address]).await;
                assert!(
                    begun.elapsed() < Duration::from_secs(2),
                    "{:?}",
                    begun.elapsed()
                );
                let Some(why) = outcome.err() else {
                    assert!(!is_taken, "{on:?} {text}");
                    continue;
                };
                assert!(is_taken, "{on:?} {text}: {why}");
                assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
                assert_eq!(why.object, text);
                let said = why.to_string();
                assert!(
                    said.contains(&format!("the machine with the MAC address {FAR}")),
                    "{said}"
                );
            }
        }
        // It is free as soon as the machine does not have it any longer.
        ip("-n lan address flush dev lan1");
        let both = ["10.77.0.2", "fd00:77::2"].map(|text| text.parse().unwrap());
        refuse_taken(On::Tenant(&netns, "eth0"), TENANT, both)
            .await
            .unwrap();
    });
}

/// Two machines that are about to take one address at the same time.
#[test]
fn two_that_ask_at_the_same_time_do_not_both_take_an_address() {
    let netns = segment();
    ip("-n lan address flush dev lan1");
    let lan = File::open("/run/netns/lan").unwrap();
    let lan = Netns::from_fd(OwnedFd::from(lan)).unwrap();
    let far = MacAddr([2, 9, 9, 9, 9, 9]);
    for text in ["10.77.0.9", "fd00:77::9"] {
        let address: IpAddr = text.parse().unwrap();
        block_on(async {
            let one = refuse_taken(On::Tenant(&netns, "eth0"), TENANT, [address]);
            let other = refuse_taken(On::Tenant(&lan, "lan1"), far, [address]);
            let (one, other) = tokio::join!(one, other);
            // The one that asked first may be the only one that hears the other.
            let said: Vec<String> = [one, other]
                .into_iter()
                .filter_map(Result::err)
                .map(|why| why.to_string())
                .collect();
            assert!(!said.is_empty(), "{text}");
            let both = [FAR.to_owned(), TENANT.to_string()];
            assert!(
                said.iter()
                    .all(|it| both.iter().any(|mac| it.contains(mac))),
                "{said:?}"
            );
        });
    }
}

/// Sends frames of ARP that concern no tenant, without a pause.
fn flood(lan: &Netns, ends: &AtomicBool) {
    inside(lan, || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let link = socket(AddressFamily::Packet, SockType::Raw, flags, None).unwrap();
        let mut all = getifaddrs()
            .unwrap()
            .filter(|it| it.interface_name == "lan1");
        let address = all
            .find_map(|it| it.address?.as_link_addr().copied())
            .unwrap();
        bind(link.as_raw_fd(), &address).unwrap();
        let sender = [0x02, 9, 9, 9, 9, 9];
        let mut frame = vec![0xff; 6];
        frame.extend(sender);
        frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
        frame.extend(sender);
        frame.extend([10, 77, 0, 2, 0, 0, 0, 0, 0, 0, 10, 77, 0, 50]);
        while !ends.load(Ordering::Relaxed) {
            // The queue may be full.
            let _sent = send(&link, &frame, SendFlags::empty());
        }
    });
}

#[test]
fn a_machine_that_floods_the_segment_does_not_keep_a_tenant_waiting() {
    let netns = segment();
    let lan = File::open("/run/netns/lan").unwrap();
    let lan = Netns::from_fd(OwnedFd::from(lan)).unwrap();
    let ends = AtomicBool::new(false);
    let elapsed = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flood(&lan, &ends));
        }
        let both: Vec<IpAddr> = ["10.77.0.9", "fd00:77::9"]
            .map(|it| it.parse().unwrap())
            .into();
        let all = both.repeat(500);
        let begun = Instant::now();
        let asked = block_on(async {
            let asked = refuse_taken(On::Tenant(&netns, "eth0"), TENANT, all);
            timeout(Duration::from_secs(10), asked).await
        });
        let elapsed = begun.elapsed();
        ends.store(true, Ordering::Relaxed);
        asked.expect("it has an end").unwrap();
        elapsed
    });
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}
