//! The commands for pcs(8). They change a copy of the configuration, which is then applied: else a tenant would be
//! started before it is known which host has its data.

use std::fmt::Write;

use super::{Resource, Size};

pub(super) fn script(resources: &[Resource<'_>], sizes: &[&Size]) -> String {
    let mut out =
        "set -e\ncib=$(mktemp)\ntrap 'rm -f \"$cib\"' EXIT\npcs cluster cib \"$cib\"\n".to_owned();
    out += "pcs -f \"$cib\" property set stonith-enabled=true";
    out += if sizes.is_empty() {
        "\n"
    } else {
        " placement-strategy=balanced\n"
    };
    for Size { host, memory, cpu } in sizes {
        let _ = writeln!(
            out,
            "pcs -f \"$cib\" node utilization {host} memory={memory} cpu={cpu}"
        );
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
            "pcs -f \"$cib\" resource create {id} ocf:tenantd:tenant \\\n    \
             app={app} name={tenant} storage={storage} \\\n    \
             op start timeout={start}s stop timeout={stop}s monitor timeout=20s interval=10s \\\n    \
             meta migration-threshold=1 resource-stickiness=100\n"
        );
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
                "pcs -f \"$cib\" constraint location add {id}.data {id} {host} INFINITY resource-discovery=exclusive"
            );
        }
    }
    out + "pcs cluster cib-push \"$cib\" --config\n"
}
