//! The plan: everything that follows from a manifest and facts about the host.
//!
//! A plan is complete. The supervisor reads each tenant's [`model::Policy`] from it, and the host
//! code carries out the rest without further decisions. This module does no I/O and reads no clock.

pub mod address;
pub mod alive;
mod build;
pub mod changes;
pub mod cluster;
mod control;
pub mod data;
mod datastore;
pub mod derive;
pub mod diff;
pub mod effect;
pub mod facts;
pub mod fields;
pub mod files;
mod folders;
pub mod hash;
pub mod holders;
mod identity;
mod idmap;
mod limits;
pub mod logs;
pub mod model;
pub mod names;
mod network;
pub mod notify;
pub mod paths;
pub mod phase;
pub mod places;
mod policy;
pub mod privileges;
pub mod process;
pub mod rate;
pub mod reload;
pub mod render;
pub mod secrets;
pub mod success;
pub mod traffic;
pub mod typed;
mod unified;
mod vars;
mod view;
pub mod wall;

use crate::manifest::{self, problem::Problems};

pub use network::BRIDGE_TENANTS_MAX;

/// Reads a manifest and derives the plan from it.
///
/// # Errors
/// All problems of the manifest, alone and in relation to the host, in the order of its text.
///
/// # Panics
/// Only if a plan is incomplete and no problem was reported, which would be a bug.
pub fn read(
    source: &manifest::Source,
    host: &dyn facts::HostFacts,
) -> Result<model::Plan, Problems> {
    let mut problems = Problems::new(&source.name, &source.text);
    let Some(folder) = source.folder.to_str() else {
        problems
            .report(
                &(0..0),
                "the path of the manifest's folder is not valid UTF-8",
            )
            .help("move the manifest to another folder");
        return Err(problems);
    };
    let mut manifest = manifest::read(source, &mut problems);
    let given = network::give(&mut manifest, host, &mut problems);
    let plan = build::plan((&manifest, given), folder, host, &mut problems);
    if !problems.is_empty() {
        problems.sort();
        return Err(problems);
    }
    Ok(plan.expect("what is not known has been reported"))
}
