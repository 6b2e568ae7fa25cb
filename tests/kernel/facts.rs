//! Reads the addresses of a real host.

use crate::support;

use tenantd_core::plan::facts::HostFacts;
use tenantd_host::facts::Live;

#[test]
fn reads_the_addresses_of_all_interfaces() {
    support::enter();
    let added = std::process::Command::new("ip")
        .args(["address", "add", "192.0.2.7/28", "dev", "lo"])
        .status()
        .unwrap();
    assert!(added.success());
    let addresses = Live.addresses().unwrap();
    let found: Vec<String> = addresses
        .iter()
        .map(|address| format!("{} {}", address.interface, address.network))
        .collect();
    assert_eq!(found, ["lo 127.0.0.1/8", "lo 192.0.2.7/28", "lo ::1/128"]);
}
