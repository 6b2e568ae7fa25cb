//! The cgroups of the tenants: a leaf is made together with the watch on it.

use tenantd_core::name::TenantName;
use tenantd_core::stage::Failure;
use tenantd_host::cgroup::{Leaf, Tree, Watch};
use tenantd_host::crash;

/// The cgroup tree with the leaves of all tenants, and the watch on them.
pub(crate) struct Cgroups {
    pub(crate) tree: Tree,
    pub(crate) watch: Watch,
}

impl Cgroups {
    /// Recreates a leaf that an earlier launch has used, for the next launch.
    pub(crate) fn recreate(&self, leaf: &Leaf) -> Result<(), Failure> {
        // A tenant may have been ended while it was paused.
        leaf.thaw()?;
        leaf.recreate()?;
        crash::point("launch: leaf recreated", leaf.path());
        self.watch.add(leaf)
    }

    pub(crate) fn leaf(&self, tenant: &TenantName) -> Result<Leaf, Failure> {
        let leaf = self.tree.leaf(tenant)?;
        match self.watch.add(&leaf) {
            Ok(()) => Ok(leaf),
            Err(why) => {
                if let Err(failure) = leaf.remove() {
                    tracing::warn!(%tenant, "cleaning up a failed provision: {failure}");
                }
                Err(why)
            }
        }
    }
}
