//! Tenants with several addresses.

use super::{plain, sample};
use tenantd_core::plan::address::Addresses;

#[test]
fn several_addresses_fit_a_terminal() {
    let mut status = sample();
    let others = ["fd00:77::11", "10.77.0.12"].map(|text| text.parse().unwrap());
    let first = status.tenants[0].addresses.first();
    status.tenants[0].addresses = Addresses::new(first, others.into());
    let shown = plain(&status, Some(80));
    assert!(shown.contains(" 10.77.0.11 +2 "), "{shown}");
    let mut table = shown.lines().skip(1).take(3);
    assert!(table.all(|line| line.chars().count() <= 80), "{shown}");
    let whole = plain(&status, None);
    assert!(whole.contains(" 10.77.0.11, fd00:77::11, 10.77.0.12 "));
    status.tenants.truncate(1);
    let alone = plain(&status, Some(80));
    let line = "\n  ADDRESSES 10.77.0.11, fd00:77::11, 10.77.0.12\n";
    assert!(alone.contains(line), "{alone}");
}
