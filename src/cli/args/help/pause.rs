//! Examples and details of `pause`, `resume` and `hibernate`.

/// Of `pause`.
pub(in crate::cli::args) const PAUSE: &str = "EXAMPLES
  tenantd pause acme
  tenantd resume acme                lets it continue
  tenantd pause 'shop-*'             all tenants with such a name; quote the pattern

Freezes every process of a tenant, also commands of `tenantd exec`, with the freezer of its
cgroup, and waits until the kernel has frozen them. The tenant must be up and ready. It stays
up, and keeps its network and its memory; the kernel still accepts connections for it. No
watchdog and no probe of [app.alive] counts meanwhile. `status` shows it as PAUSED.

A paused tenant stays paused if the supervisor ends, is upgraded or dies. `stop` and
`restart` let it continue and end it as usual. A signal of `tenantd kill` is handled when it
continues, but for KILL. `exec` is refused.

The output is as that of `tenantd start`, with the outcomes done, no-change and refused.

EXIT CODES
  0 all of them are paused   1 a tenant was refused   2 usage error";

/// Of `resume`.
pub(in crate::cli::args) const RESUME: &str = "EXAMPLES
  tenantd resume acme
  tenantd resume --all

Lets tenants continue that `tenantd pause` or `tenantd hibernate` has paused.

The output is as that of `tenantd start`, with the outcomes done, no-change and refused.

EXIT CODES
  0 all of them continue   1 a tenant was refused   2 usage error";

/// Of `hibernate`.
pub(in crate::cli::args) const HIBERNATE: &str = "EXAMPLES
  tenantd hibernate acme
  tenantd resume acme                lets it continue

Does what `tenantd pause` does, then has the kernel take the tenant's memory: it is written to
swap, and what is also on a disk is dropped. Prints by how much the tenant's memory shrank.
Without swap that is little. It needs the memory controller of a unified cgroup tree, and
Linux 5.19; otherwise nothing is done.

The output is as that of `tenantd start`, with the outcomes done and refused.

EXIT CODES
  0 done for all of them   1 a tenant was refused   2 usage error";
