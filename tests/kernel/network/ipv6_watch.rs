//! What other programs of the host take from tenants with IPv6 is put back, under load.

use tenantd_core::plan::model::Mode;

use crate::network::watch::{HUB, TENANT, each_is_mended_in_ipv6};

const ROUTE: &str = "the route fd00:77::2/128";
const ENTRY: &str = "the neighbour entry of fd00:77::2";

#[test]
fn what_is_taken_from_a_routed_tenant_is_put_back_in_ipv6() {
    each_is_mended_in_ipv6(
        Mode::Routed,
        &[
            ("-6 route del fd00:77::2", TENANT, ROUTE),
            ("-6 neigh del fd00:77::2 dev vt-2", TENANT, ENTRY),
            (
                "-6 neigh replace fd00:77::2 dev vt-2 lladdr 02:02:02:02:02:02 nud permanent",
                TENANT,
                ENTRY,
            ),
            ("link set vt-2 down", TENANT, ROUTE),
            ("link set vt-2 down; link set vt-2 up", TENANT, ROUTE),
        ],
    );
}

#[test]
fn what_is_taken_from_the_hub_is_put_back_in_ipv6() {
    each_is_mended_in_ipv6(
        Mode::Routed,
        &[
            (
                "-6 addr flush dev td-wiki",
                HUB,
                "the address fd00:77::1/128",
            ),
            ("link set td-wiki down", HUB, "the address fd00:77::1/128"),
            ("link del td-wiki", HUB, "the link td-wiki"),
        ],
    );
}

#[test]
fn what_is_taken_from_a_bridge_is_put_back_in_ipv6() {
    each_is_mended_in_ipv6(
        Mode::Bridge,
        &[
            ("-6 route del fd00:77::2", TENANT, ROUTE),
            ("-6 neigh del fd00:77::2 dev td-wiki", TENANT, ENTRY),
            (
                "-6 addr flush dev td-wiki",
                HUB,
                "the address fd00:77::1/128",
            ),
        ],
    );
}

/// In a lab of its own: what is taken away six times is mended slowly.
#[test]
fn what_is_taken_from_the_hub_of_a_bridge_is_put_back_in_ipv6() {
    each_is_mended_in_ipv6(
        Mode::Bridge,
        &[
            ("link set td-wiki down", TENANT, ROUTE),
            ("link set vt-2 down", TENANT, "the state up of vt-2"),
            ("link del td-wiki", TENANT, ROUTE),
        ],
    );
}
