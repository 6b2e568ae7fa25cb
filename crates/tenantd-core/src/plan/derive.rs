//! Derives interface names and MAC addresses from the names of application and tenant.
//!
//! The results must be the same on every host and in every version, because they identify the links
//! of running tenants.

use crate::name::{AppName, IfName, TenantName};
use crate::plan::model::{EndPlan, MacAddr};

/// The prefix of a host end's name.
pub const HOST_END: &str = "td";

/// The prefix of a hub's name.
pub const HUB: &str = "tg";

/// The name of the other end of what [`marker_end`] makes. It is down and has no address.
pub const MARKER: &str = "tenantd0";

/// The name of every tenant end: the usual name of the first interface.
pub const TENANT_END: &str = "eth0";

// The first octets of the MAC addresses. All are locally administered and unicast (IEEE 802 §8.4).
const TENANT_OCTET: u8 = 0x02;
const HOST_OCTET: u8 = 0x06;
const HUB_OCTET: u8 = 0x0a;
const MARKER_OCTET: u8 = 0x0e;
/// Higher than that of any card: a bridge takes the lowest address of its ports.
const PORT_OCTET: u8 = 0xfe;

/// A 48-bit hash: the upper 48 bits of 64-bit FNV-1a with the finalizer of MurmurHash3. FNV-1a
/// alone mixes the last characters poorly, in which tenants' names often differ.
#[must_use]
pub fn hash(text: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    hash >> 16
}

/// The lower 40 bits of a [`hash`], which fit into a MAC address. Tenants that differ in them
/// differ in every derived name too.
#[must_use]
pub fn mac_part(hash: u64) -> u64 {
    hash & 0xff_ffff_ffff
}

/// The hash from which the name of a tenant's link is derived.
#[must_use]
pub fn tenant_hash(app: &AppName, tenant: &TenantName) -> u64 {
    hash(&format!("{app}/{tenant}"))
}

/// The name of the user that only this tenant has, if that is neither too long nor taken.
#[must_use]
pub fn own_user_name(app: &AppName, tenant: &TenantName) -> String {
    let name = format!("{app}-{tenant}");
    // A name that begins with a digit may be taken for a number.
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name,
        false => format!("t{name}"),
    }
}

/// The host end of a tenant's link.
#[must_use]
pub fn host_end(hash: u64) -> EndPlan {
    end(HOST_END, HOST_OCTET, hash)
}

/// The end on the host that only bears the mark of a tenant whose link is a macvlan. It has the name of a host end, so
/// that a tenant has one of the two at most, and another MAC address.
#[must_use]
pub fn marker_end(hash: u64) -> EndPlan {
    end(HOST_END, MARKER_OCTET, hash)
}

/// The end on the host that is a port of a bridge which the host has.
#[must_use]
pub fn port_end(hash: u64) -> EndPlan {
    end(HOST_END, PORT_OCTET, hash)
}

/// Whether this is the MAC address of such a port.
#[must_use]
pub fn is_port(mac: &[u8]) -> bool {
    mac.first() == Some(&PORT_OCTET)
}

/// Whether this is the MAC address of an end that only bears the mark.
#[must_use]
pub fn is_marker(mac: &[u8]) -> bool {
    mac.first() == Some(&MARKER_OCTET)
}

/// The tenant end of a tenant's link.
#[must_use]
pub fn tenant_end(hash: u64) -> EndPlan {
    EndPlan {
        name: TENANT_END.parse().expect("it is an interface's name"),
        mac: mac(TENANT_OCTET, hash),
    }
}

/// The hub of an application.
#[must_use]
pub fn hub(app: &AppName) -> EndPlan {
    end(HUB, HUB_OCTET, hash(app.as_str()))
}

/// The upper half of the groups of all links of tenantd.
pub const GROUPS: u32 = 0x7e4a_0000;

/// The group of the links of an application, see the `group` of ip-link(8). Two applications may have the
/// same: then each refuses what it does not know of the other's.
#[must_use]
pub fn group(mark: &str) -> u32 {
    let [_, _, _, _, _, _, high, low] = hash(mark).to_be_bytes();
    GROUPS | u32::from(u16::from_be_bytes([high, low]))
}

/// The name of an application's tables of nftables. The names of applications have no `_`, and those of
/// tables no `-`.
#[must_use]
pub fn nft_table(app: &str) -> String {
    format!("{NFT_TABLE}{}", app.replace('-', "_"))
}

/// The application that a table of nftables belongs to, by its name.
#[must_use]
pub fn app_of_table(table: &str) -> Option<AppName> {
    let app = table.strip_prefix(NFT_TABLE)?;
    app.replace('_', "-").parse().ok()
}

const NFT_TABLE: &str = "tenantd_";

/// The mark of an application's hub.
#[must_use]
pub fn hub_mark(app: &AppName) -> String {
    format!("tenantd:{app}")
}

/// The mark of a tenant's link.
#[must_use]
pub fn link_mark(app: &AppName, tenant: &TenantName) -> String {
    format!("tenantd:{app}/{tenant}")
}

/// The tenant of `app` with this mark of a link; `None` if it is another one's.
#[must_use]
pub fn tenant_of_mark(app: &AppName, mark: &str) -> Option<TenantName> {
    let tenant = mark.strip_prefix(&hub_mark(app))?.strip_prefix('/')?;
    tenant.parse().ok()
}

/// The application and the tenant that a link's mark names.
#[must_use]
pub fn of_link_mark(mark: &str) -> Option<(AppName, TenantName)> {
    let (app, tenant) = mark.strip_prefix("tenantd:")?.split_once('/')?;
    Some((app.parse().ok()?, tenant.parse().ok()?))
}

/// Whether an interface's name is one that a host end or hub could have.
#[must_use]
pub fn is_derived(prefix: &str, interface: &str) -> bool {
    let digits = interface.strip_prefix(prefix);
    digits
        .is_some_and(|d| d.len() == 12 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The hash in the name of such an interface.
#[must_use]
pub fn hash_in(prefix: &str, interface: &str) -> Option<u64> {
    let digits = interface.strip_prefix(prefix)?;
    let hash = u64::from_str_radix(digits, 16).ok()?;
    is_derived(prefix, interface).then_some(hash)
}

fn end(prefix: &str, octet: u8, hash: u64) -> EndPlan {
    let name: Result<IfName, _> = format!("{prefix}{hash:012x}").parse();
    EndPlan {
        name: name.expect("two letters and twelve digits are an interface's name"),
        mac: mac(octet, hash),
    }
}

fn mac(octet: u8, hash: u64) -> MacAddr {
    let [_, _, _, a, b, c, d, e] = mac_part(hash).to_be_bytes();
    MacAddr([octet, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_names_are_stable() {
        let app: AppName = "guestbook".parse().unwrap();
        let hash = tenant_hash(&app, &"acme".parse().unwrap());
        assert_eq!(host_end(hash).name.as_str(), "td839ee0429a9f");
        assert_eq!(host_end(hash).mac.to_string(), "06:9e:e0:42:9a:9f");
        assert_eq!(tenant_end(hash).name.as_str(), "eth0");
        assert_eq!(tenant_end(hash).mac.to_string(), "02:9e:e0:42:9a:9f");
        assert_eq!(hub(&app).name.as_str(), "tg2aff4b11b042");
        assert_eq!(hub(&app).mac.to_string(), "0a:ff:4b:11:b0:42");
    }

    #[test]
    fn tables_have_names_from_which_the_application_follows() {
        assert_eq!(nft_table("a-b"), "tenantd_a_b");
        let app: AppName = "a-b".parse().unwrap();
        assert_eq!(app_of_table("tenantd_a_b"), Some(app));
        assert_eq!(app_of_table("filter"), None);
        assert_eq!(group("tenantd:guestbook") & 0xffff_0000, GROUPS);
    }

    #[test]
    fn the_longest_names_fit_the_kernels_limits() {
        let app: AppName = "a".repeat(32).parse().unwrap();
        let tenant: TenantName = "t".repeat(63).parse().unwrap();
        // IFALIASZ of linux/if_link.h.
        assert!(link_mark(&app, &tenant).len() < 256);
        assert!(is_derived(HUB, hub(&app).name.as_str()));
        assert!(!is_derived(HUB, "tgetherbridge1"));
    }

    #[test]
    fn similar_names_do_not_collide() {
        let hashes: std::collections::BTreeSet<u64> = (0..100_000)
            .map(|n| mac_part(hash(&format!("wiki/tenant-{n}"))))
            .collect();
        assert_eq!(hashes.len(), 100_000);
    }
}
