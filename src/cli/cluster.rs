//! `cluster`: prints the commands that make the tenants of a manifest resources of Pacemaker.

use std::io::Write;
use std::path::Path;

use super::End;
use super::args::{Cluster, Task};
use super::plan;
use tenantd_core::plan::cluster::{self, Hosts, Shell};

/// Prints the commands for a manifest.
pub(super) fn cluster(config: &Path, what: &Cluster) -> anyhow::Result<End> {
    let (plan, _) = plan::read(config)?;
    let shell = if what.pcs { Shell::Pcs } else { Shell::Crm };
    let hosts = Hosts {
        local: what.local.clone(),
        sizes: what.size.clone(),
    };
    match what.task {
        Task::Plan => {
            let text = cluster::text(&plan, shell, &hosts)?;
            std::io::stdout().lock().write_all(text.as_bytes())?;
        }
    }
    Ok(End::Done)
}
