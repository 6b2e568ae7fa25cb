//! What is known of the mounts and of the domain of a launch, in a record.

use serde::{Deserialize, Serialize};

use tenantd_host::launch::LaunchView;

/// What is known of the mounts and of the domain of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct View2 {
    #[serde(rename = "lid")]
    pub(super) lid: Option<String>,
    #[serde(rename = "mounts")]
    pub(super) mount_namespace: u64,
    /// Programs of earlier versions do not write this.
    #[serde(rename = "domain", default, skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<String>,
}

/// What a later version has written may not be understood.
pub(super) fn read(view: View2) -> LaunchView {
    let View2 {
        lid,
        mount_namespace,
        domain,
    } = view;
    LaunchView {
        lid: lid.and_then(|lid| lid.parse().ok()),
        domain: domain.and_then(|domain| domain.parse().ok()),
        mount_namespace,
    }
}

pub(super) fn write(view: LaunchView) -> View2 {
    let LaunchView {
        lid,
        domain,
        mount_namespace,
    } = view;
    View2 {
        lid: lid.map(|lid| lid.to_string()),
        mount_namespace,
        domain: domain.map(|domain| domain.to_string()),
    }
}
