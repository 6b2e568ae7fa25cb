//! What the host takes from the network of an application, and what became of it.

use serde::{Deserialize, Serialize};

use tenantd_core::stage::Failure;

/// The state of the links, addresses, routes and neighbour entries that tenantd made on the host: of one
/// tenant, or of all together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// How often something was different from the plan and was corrected, since the supervisor started.
    pub mended: u64,
    /// What differs from the plan and could not be corrected, and what to do about it; null if nothing does.
    pub drift: Option<Failure>,
}
