//! What a kernel lacks for the firewall, in words.

use netlink_packet_netfilter::nftables::NfTablesMessage;

use tenantd_core::stage::{Failure, Stage};

use super::rules;

/// The failure to make the tables.
pub(super) fn unavailable(table: &str, errno: i32) -> Failure {
    let failure = Failure::errno(Stage::Firewall, format!("table {table}"), errno);
    match errno {
        libc::EPROTONOSUPPORT | libc::EOPNOTSUPP => failure.with(
            "this kernel has no nf_tables: load the module, or set `firewall = \"off\"` in [network]",
        ),
        libc::EPERM => failure.with("another process owns it"),
        _ => failure,
    }
}

/// What of nftables a message needs, for a kernel that lacks it.
pub(super) fn lacking(message: &NfTablesMessage) -> String {
    let what = match message {
        NfTablesMessage::NewTable(_) => "tables of nf_tables".to_owned(),
        NfTablesMessage::NewChain(_) => "a chain type of nf_tables (filter, nat)".to_owned(),
        NfTablesMessage::NewRule(rule) => match rules::expressions_of(rule).as_slice() {
            [] => "an expression of nf_tables".to_owned(),
            names => format!(
                "one of these expressions of nf_tables: {}",
                names.join(", ")
            ),
        },
        _ => "a part of nf_tables".to_owned(),
    };
    format!(
        "the kernel may lack {what}: load the module, or set `firewall = \"off\"` in [network], which leaves \
         tenants open to each other as far as the host forwards"
    )
}
