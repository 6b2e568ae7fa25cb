//! The commands for pcs(8). They change a copy of the configuration, which is then applied: else a tenant would be
//! started before it is known which host has its data.

use std::fmt::Write;

use super::wanted::{META, Operation, pairs, properties};
use super::{Resource, Size};

pub(super) fn script(resources: &[Resource<'_>], sizes: &[&Size]) -> String {
    let mut out =
        "set -e\ncib=$(mktemp)\ntrap 'rm -f \"$cib\"' EXIT\npcs cluster cib \"$cib\"\n".to_owned();
    let wanted = pairs(properties(!sizes.is_empty()));
    let _ = writeln!(out, "pcs -f \"$cib\" property set {wanted}");
    for size in sizes {
        let (host, parts) = (&size.host, pairs(size.parts()));
        let _ = writeln!(out, "pcs -f \"$cib\" node utilization {host} {parts}");
    }
    for it in resources {
        let id = &it.id;
        let _ = write!(
            out,
            "pcs -f \"$cib\" resource create {id} ocf:tenantd:tenant \\\n    {} \\\n    op",
            pairs(it.parameters())
        );
        for Operation {
            name,
            timeout,
            interval,
        } in it.operations()
        {
            let _ = write!(out, " {name} timeout={timeout}s");
            if interval > 0 {
                let _ = write!(out, " interval={interval}s");
            }
        }
        let _ = writeln!(out, " \\\n    meta {}", pairs(META));
        if !it.uses.is_empty() {
            let _ = writeln!(
                out,
                "pcs -f \"$cib\" resource utilization {id} {}",
                it.uses()
            );
        }
        if let Some(host) = it.host {
            let _ = writeln!(
                out,
                "pcs -f \"$cib\" constraint location add {} {id} {host} INFINITY resource-discovery=exclusive",
                it.tie()
            );
        }
    }
    out + "pcs cluster cib-push \"$cib\" --config\n"
}
