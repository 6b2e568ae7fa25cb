//! The commands for crm(8): one, which reads all from its standard input, and applies all or nothing. It can be
//! repeated.

use std::fmt::Write;

use super::{Resource, Size};

pub(super) fn script(resources: &[Resource<'_>], sizes: &[&Size]) -> String {
    let mut out = "crm configure load update - <<'END'\n".to_owned();
    // One line: a second one of the same kind is refused.
    out += "property stonith-enabled=true";
    out += if sizes.is_empty() {
        "\n"
    } else {
        " placement-strategy=balanced\n"
    };
    for Size { host, memory, cpu } in sizes {
        let _ = writeln!(out, "node {host} utilization memory={memory} cpu={cpu}");
    }
    for it in resources {
        let Resource {
            id,
            app,
            tenant,
            start,
            stop,
            ..
        } = it;
        let storage = it.storage.word();
        let _ = write!(
            out,
            "primitive {id} ocf:tenantd:tenant \\\n    \
             params app={app} name={tenant} storage={storage} \\\n    \
             op start timeout={start}s interval=0s \\\n    \
             op stop timeout={stop}s interval=0s \\\n    \
             op monitor timeout=20s interval=10s \\\n    "
        );
        if !it.uses.is_empty() {
            let _ = write!(out, "utilization {} \\\n    ", it.uses());
        }
        out += "meta migration-threshold=1 resource-stickiness=100\n";
        if let Some(host) = it.host {
            let _ = writeln!(
                out,
                "location {id}.data {id} resource-discovery=exclusive inf: {host}"
            );
        }
    }
    out + "END\n"
}
