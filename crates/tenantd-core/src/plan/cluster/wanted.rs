//! What the cluster is to have: the one description that both shells print, and that a running cluster is compared with.

use super::{Resource, Size};

/// The agent, as class, provider and type.
pub(super) const AGENT: [&str; 3] = ["ocf", "tenantd", "tenant"];

/// The meta attributes of each resource.
pub(super) const META: [(&str, &str); 2] = [
    // tenantd has restarted the program before.
    ("migration-threshold", "1"),
    // It does not move back when its host returns.
    ("resource-stickiness", "100"),
];

/// An operation of a resource.
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Seconds.
    pub(super) timeout: u64,
    /// Seconds; 0 if it is not repeated.
    pub(super) interval: u64,
}

impl Resource<'_> {
    /// The parameters of the agent.
    pub(super) fn parameters(&self) -> [(&'static str, &str); 3] {
        [
            ("app", self.app),
            ("name", self.tenant.as_str()),
            ("storage", self.storage.word()),
        ]
    }

    pub(super) fn operations(&self) -> [Operation; 3] {
        let operation = |name, timeout, interval| Operation {
            name,
            timeout,
            interval,
        };
        [
            operation("start", self.start, 0),
            operation("stop", self.stop, 0),
            operation("monitor", 20, 10),
        ]
    }

    /// The name of the constraint that ties it to the host with its data.
    pub(super) fn tie(&self) -> String {
        format!("{}.data", self.id)
    }
}

impl Size {
    /// What it is called in the cluster, as what a resource uses.
    pub(super) fn parts(&self) -> [(&'static str, u64); 2] {
        [("memory", self.memory), ("cpu", self.cpu)]
    }
}

/// The properties of the cluster.
pub(super) fn properties(is_sized: bool) -> Vec<(&'static str, &'static str)> {
    let fencing = ("stonith-enabled", "true");
    let placement = ("placement-strategy", "balanced");
    let placement = is_sized.then_some(placement);
    [fencing].into_iter().chain(placement).collect()
}

/// `a=1 b=2`.
pub(super) fn pairs<V: std::fmt::Display>(
    all: impl IntoIterator<Item = (&'static str, V)>,
) -> String {
    let each = all.into_iter().map(|(key, value)| format!("{key}={value}"));
    each.collect::<Vec<_>>().join(" ")
}
