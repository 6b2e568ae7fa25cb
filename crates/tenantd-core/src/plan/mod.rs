//! The plan: manifest and host facts, with everything derived and nothing left to decide.
//!
//! Both sides stand on it: `supervisor` reads a tenant's [`model::Policy`], `host` carries out the
//! rest. Pure: no I/O, no clock.

pub mod address;
mod build;
pub mod changes;
mod datastore;
pub mod derive;
pub mod diff;
pub mod effect;
pub mod facts;
pub mod fields;
pub mod holders;
mod identity;
mod limits;
pub mod model;
mod network;
pub mod paths;
mod policy;
pub mod render;

use crate::manifest::{self, problem::Problems};

pub use network::BRIDGE_TENANTS_MAX;

/// Reads a manifest and derives everything from it.
///
/// # Errors
/// With every problem of the text and of what it says about the host, in the order of the text.
///
/// # Panics
/// Never: a plan that is incomplete without a problem would be a defect of this program.
pub fn read(
    source: &manifest::Source,
    host: &dyn facts::HostFacts,
) -> Result<model::Plan, Problems> {
    let mut problems = Problems::new(&source.name, &source.text);
    let Some(folder) = source.folder.to_str() else {
        problems
            .report(&(0..0), "the manifest's folder has a name that is no UTF-8")
            .help("keep the manifest in another folder");
        return Err(problems);
    };
    let manifest = manifest::read(source, &mut problems);
    let plan = build::plan(&manifest, folder, host, &mut problems);
    if !problems.is_empty() {
        problems.sort();
        return Err(problems);
    }
    Ok(plan.expect("what is not known has been reported"))
}
