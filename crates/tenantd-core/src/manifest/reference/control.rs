//! Long descriptions of keys of `[control]`.

pub(super) const READ: &str = "Groups, by name or number, whose members may see the state of the tenants: `status`, \
     `list` and `events` work for them without root. They can change nothing, and see \
     neither environments nor output. A change takes effect with a reload.";

pub(super) const OPERATORS: &str = "Groups that may do more with tenants without root, see \
     [[control.operators]]. A change takes effect with a reload.";

pub(super) const RIGHTS: &str = "The commands that the members may use: `start`, `stop`, `restart`, `reload-app`, \
     `kill` and `logs`, on these tenants only. `status`, which also stands for `list` and `events`, is \
     included in each of them. What can change another tenant, or who may do what, needs root: the \
     manifest, `reload`, `upgrade`, `detach`, `gc`, `exec`, and `diff`, which shows environments.";
