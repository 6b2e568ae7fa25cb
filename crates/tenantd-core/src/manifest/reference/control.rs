//! Long descriptions of keys of `[control]`.

pub(super) const READ: &str = "Groups, by name or number, whose members may see the state of the tenants: `status`, \
     `list` and `events` work for them without root. They can change nothing, and see \
     neither environments nor output. A change takes effect with a reload.";

pub(super) const OPERATORS: &str = "Groups that may do more with tenants without root, see \
     [[control.operators]]. A change takes effect with a reload.";

pub(super) const RIGHTS: &str = "The commands that the members may use: `start`, `stop`, `restart`, `reload-app`, \
     `kill`, `pause`, `set`, `logs` and `exec`, on these tenants only. `pause` also stands for `resume` and `hibernate`; `set` is without `--permanent`. `status`, which also stands for `list` and `events`, is \
     included in each of them. `exec` is for the tenant's user, without `--user` and `--offline`. Its command can do \
     what the program can, and sees the environment and the secrets of the tenant. It is refused where the user is \
     root, and where it is that of several tenants, unless the group has the right for all tenants. What can change another tenant, or who may do what, needs root: the \
     manifest, `reload`, `upgrade`, `detach`, `gc`, and `diff`, which shows environments.";
