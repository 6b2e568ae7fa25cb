//! Limits of processes and of cgroups, as written.

use super::{Known, Read, Span, Table};
use crate::cgroup::GroupValue;
use crate::manifest::limit::Limit;
use crate::manifest::read::Reader;

tables! {
    /// `limits`, of the application, of `[defaults]` or of a tenant.
    Limits in Limits {
        open_files: Known<Limit>,
        core: Known<Limit>,
        locked_memory: Known<Limit>,
        memory: Memory,
        cpu: Cpu,
        io: Io,
        pids: Pids,
        hugetlb: Known<GroupValue>,
        disk: Disk,
    }

    /// `disk`, of `limits`.
    Disk in Disk {
        max: Known<GroupValue>,
        files: Known<GroupValue>,
    }

    /// `memory`, of `limits` or of `total`.
    Memory in Memory {
        max: Known<GroupValue>,
        high: Known<GroupValue>,
        swap: Known<GroupValue>,
        low: Known<GroupValue>,
        min: Known<GroupValue>,
        group_kill: Known<GroupValue>,
    }

    /// `cpu`, of `limits` or of `total`.
    Cpu in Cpu {
        quota: Known<GroupValue>,
        weight: Known<GroupValue>,
        cpus: Known<GroupValue>,
        mems: Known<GroupValue>,
    }

    /// `io`, of `limits` or of `total`.
    Io in Io {
        weight: Known<GroupValue>,
        max: Known<GroupValue>,
    }

    /// `pids`, of `limits` or of `total`.
    Pids in Pids {
        max: Known<GroupValue>,
    }

    /// `[app.total]`.
    Total in Total {
        memory: Memory,
        cpu: Cpu,
        io: Io,
        pids: Pids,
        hugetlb: Known<GroupValue>,
    }
}
