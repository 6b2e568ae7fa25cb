//! The keys of limits of cgroups: those of a tenant, and those of all tenants together.

use super::Fallback::{Derived, Value};
use super::{Fallback, Key, Kind, Table, keys};
use crate::cgroup::Form;

const BYTES: Kind = Kind::Group(Form::Bytes);
const NO_LIMIT: Fallback = Derived("no limit");
const NONE: Fallback = Derived("none");
const EQUAL: Fallback = Derived("100");

pub(super) const LIMITS: &str = "Resource limits. `memory`, `cpu`, `io`, `pids` and `hugetlb` limit all processes of \
     a tenant together, those of `tenantd exec` included, see [app.limits.memory]. `disk` \
     limits its datastore, see [app.limits.disk]. The \
     others are limits of each process, see getrlimit(2). Of these, a single value \
     sets both the soft and the hard limit. A string such as `\"1024:65536\"` sets \
     the soft limit, which the program may raise itself, and the hard limit. \
     `\"unlimited\"` means no limit. `limits` in `[defaults]` and of a tenant override \
     these, one by one. A change is applied to running processes, without a restart. \
     A limit that is not set is inherited from tenantd, except that of core files.";
pub(super) const MEMORY: &str = "The memory of all processes of a tenant together, and of the files that it has in \
     memory (such as those of its private folders). `memory` in `[defaults.limits]` and in the `limits` of a \
     tenant override this table, key by key; so it is with `cpu`, `io`, `pids` and `hugetlb`. The limits are \
     written to the tenant's cgroup before its program starts. A change is applied to the running tenant, and \
     counts as applied once the kernel has it. They need a unified cgroup tree with the controller that each \
     belongs to: a tenant whose limits cannot be set is not started, and `tenantd check` names the controller. \
    .";
pub(super) const CPU: &str = "The processor time of a tenant, see [app.limits.memory] for what all these limits have in \
     common.";
pub(super) const IO: &str = "What a tenant reads from and writes to block devices, see [app.limits.memory] for what all \
     these limits have in common.";
pub(super) const PIDS: &str = "The number of processes and threads of a tenant, see [app.limits.memory] for what all \
     these limits have in common.";
pub(super) const DISK: &str = "The quota of a tenant's datastore: of what is in its folder on the host, whoever made it. A \
     write beyond it fails with EDQUOT (\"Disk quota exceeded\"). Merged and applied like [app.limits.memory]. The \
     filesystem must count it. On ext4 and xfs, that is a project quota (mount option `prjquota`): the folder and what is \
     in it get a project of their own, from number 1409286144 on. On btrfs, that is the quota of a subvolume: quotas must be on \
     in the filesystem, and tenantd makes each new datastore there a subvolume. Other filesystems have no such quota. \
     A tenant whose quota cannot be set is not started, and `tenantd check` says what mends it. The quota \
     counts neither private folders (see `private_size`) nor `shared` paths.";
pub(super) const TOTAL: &str = "Limits of all tenants of the application together, in addition to their own: those of the \
     cgroup above theirs. The keys are those of [app.limits.memory], [app.limits.cpu], [app.limits.io] and \
     [app.limits.pids]. A change is applied with a reload. No tenant is started without them.";
pub(super) const HUGETLB: &str = "The most huge pages of each size, in bytes. The sizes are named as by the kernel: \
     `2MB`, `1GB`.";

keys! {
    Memory {
        "max", BYTES, NO_LIMIT, "\"512 MiB\"",
            "The most memory. When it is reached and none can be freed, the kernel kills processes of the tenant. \
             It is rounded down to whole pages.";
        "high", BYTES, NO_LIMIT, "\"400 MiB\"",
            "Above this, the kernel slows the tenant down and takes memory from it, and kills nothing.";
        "swap", BYTES, NO_LIMIT, "\"1 GiB\"",
            "The most swap space. `0` for none.";
        "low", BYTES, NONE, "\"64 MiB\"",
            "Memory that is taken from the tenant only if no other has any to give.";
        "min", BYTES, NONE, "\"32 MiB\"",
            "Memory that is never taken from the tenant.";
        "group_kill", Kind::Group(Form::Flag), Derived("false"), "true",
            "Whether all processes of the tenant are killed when memory is short, instead of one of them: for programs \
             that do not work without one of their processes.";
    }
    Cpu {
        "quota", Kind::Group(Form::Quota), NO_LIMIT, "\"150 %\"",
            "The most processor time: `\"150 %\"` and `1.5` both are that of one and a half processors.";
        "weight", Kind::Group(Form::Weight), EQUAL, "50",
            "The share of processor time when there is not enough for all, relative to that of others.";
        "cpus", Kind::Group(Form::List), Derived("all"), "\"0-3,8\"",
            "The processors that the tenant runs on.";
        "mems", Kind::Group(Form::List), Derived("all"), "\"0\"",
            "The memory nodes (NUMA) that it has memory of.";
    }
    Io {
        "weight", Kind::Group(Form::Weight), EQUAL, "50",
            "The share of each block device, relative to that of others. The kernel uses it with some of its \
             schedulers only.";
        "max", Kind::Group(Form::Devices), NO_LIMIT, "{ \"/dev/sda\" = { wbps = \"20 MiB\", wiops = 500 } }",
            "The most that is read (`rbps`) and written (`wbps`) in bytes a second, and the most operations a second \
             (`riops`, `wiops`), for each block device, by its path or its number such as `8:0`: a whole disk, not a partition.";
    }
    Pids {
        "max", Kind::Group(Form::Count), NO_LIMIT, "200",
            "The most processes and threads. fork(2) fails with EAGAIN when there are as many.";
    }
    Disk {
        "max", Kind::Group(Form::Space), NO_LIMIT, "\"10 GiB\"",
            "The most space on the disk, at least 1 MiB.";
        "files", Kind::Group(Form::Files), NO_LIMIT, "500000",
            "The most files and folders. btrfs has no such limit.";
    }
    Total {
        "memory", Kind::Table(Table::Memory), Value("{}"), "{ max = \"8 GiB\" }",
            "Memory of all tenants together, with the keys of [app.limits.memory].";
        "cpu", Kind::Table(Table::Cpu), Value("{}"), "{ quota = 4 }",
            "Processor time of all tenants together, with the keys of [app.limits.cpu].";
        "io", Kind::Table(Table::Io), Value("{}"), "{ weight = 50 }",
            "Block devices, for all tenants together, with the keys of [app.limits.io].";
        "pids", Kind::Table(Table::Pids), Value("{}"), "{ max = 10000 }",
            "Processes of all tenants together, with the keys of [app.limits.pids].";
        "hugetlb", Kind::Group(Form::Pages), NO_LIMIT, "{ 2MB = \"64 MiB\" }", HUGETLB;
    }
}
