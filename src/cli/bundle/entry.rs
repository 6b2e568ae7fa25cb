//! What the entry of a bundle may say of this host: a stranger may have written it.

use std::net::IpAddr;
use std::path::Path;

use anyhow::bail;

use tenantd_core::name::TenantName;

/// The keys that are about what the host has: its users, files that root reads, and folders. A bundle does not bring
/// them. Its datastore would be any folder, such as one of systemd or of sshd, with files of root; a placeholder makes a
/// path absolute too, so none is allowed.
const OF_THE_HOST: [&str; 4] = ["user", "group", "secrets", "datastore"];

/// The entry with these addresses in place of its own, if there are any.
pub(super) fn with(
    entry: &[(String, String)],
    addresses: &[IpAddr],
) -> anyhow::Result<Vec<(String, String)>> {
    let quoted: Vec<String> = addresses.iter().map(|it| format!("\"{it}\"")).collect();
    let value = match (quoted.as_slice(), addresses) {
        ([], _) => return Ok(entry.to_vec()),
        ([one], _) => one.clone(),
        ([one, two], [first, second]) if first.is_ipv4() != second.is_ipv4() => {
            format!("[{one}, {two}]")
        }
        _ => bail!("--ip: expected one address, or one of each family"),
    };
    let mut entry: Vec<_> = entry
        .iter()
        .filter(|(key, _)| key != "ip")
        .cloned()
        .collect();
    entry.insert(0, ("ip".to_owned(), value));
    Ok(entry)
}

/// Whether the entry keeps to what is the tenant's own.
pub(super) fn check(
    config: &Path,
    tenant: &TenantName,
    entry: &[(String, String)],
) -> anyhow::Result<()> {
    let has = |name: &&str| {
        entry
            .iter()
            .any(|(key, _)| key.split('.').next() == Some(*name))
    };
    let found: Vec<&str> = OF_THE_HOST.into_iter().filter(has).collect();
    if found.is_empty() {
        return Ok(());
    }
    bail!(
        "{tenant}: not imported: its entry in the bundle has `{}`, which is about what this host has and which a bundle \
         does not bring: write an entry of {tenant} to {} yourself, without a reload, then import it again",
        found.join("`, `"),
        config.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_the_place_of_those_of_the_bundle() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let entry = [pair("title", "1"), pair("ip", "\"10.0.0.1\"")];
        let typed = |words: &[&str]| {
            let addresses: Vec<IpAddr> = words.iter().map(|it| it.parse().unwrap()).collect();
            with(&entry, &addresses)
        };
        assert_eq!(typed(&[]).unwrap(), entry);
        let one = [pair("ip", "\"10.0.0.9\""), pair("title", "1")];
        assert_eq!(typed(&["10.0.0.9"]).unwrap(), one);
        let both = typed(&["10.0.0.9", "fd00::9"]).unwrap();
        assert_eq!(both[0].1, "[\"10.0.0.9\", \"fd00::9\"]");
        for wrong in [
            &["10.0.0.9", "10.0.0.8"][..],
            &["10.0.0.9", "fd00::9", "fd00::8"],
        ] {
            assert!(typed(wrong).is_err(), "{wrong:?}");
        }
    }
}
