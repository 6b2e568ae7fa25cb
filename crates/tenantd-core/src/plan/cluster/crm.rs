//! The commands for crm(8): one, which reads all from its standard input, and applies all or nothing. It can be
//! repeated.

use std::fmt::Write;

use super::wanted::{META, Operation, pairs, properties};
use super::{Resource, Size};

pub(super) fn script(resources: &[Resource<'_>], sizes: &[&Size]) -> String {
    let mut out = "crm configure load update - <<'END'\n".to_owned();
    // One line: a second one of the same kind is refused.
    let _ = writeln!(out, "property {}", pairs(properties(!sizes.is_empty())));
    for size in sizes {
        let _ = writeln!(
            out,
            "node {} utilization {}",
            size.host,
            pairs(size.parts())
        );
    }
    for it in resources {
        let id = &it.id;
        let parameters = pairs(it.parameters());
        let _ = write!(
            out,
            "primitive {id} ocf:tenantd:tenant \\\n    params {parameters} \\\n    "
        );
        for Operation {
            name,
            timeout,
            interval,
        } in it.operations()
        {
            let _ = write!(
                out,
                "op {name} timeout={timeout}s interval={interval}s \\\n    "
            );
        }
        if !it.uses.is_empty() {
            let _ = write!(out, "utilization {} \\\n    ", it.uses());
        }
        let _ = writeln!(out, "meta {}", pairs(META));
        if let Some(host) = it.host {
            let _ = writeln!(
                out,
                "location {} {id} resource-discovery=exclusive inf: {host}",
                it.tie()
            );
        }
    }
    out + "END\n"
}
