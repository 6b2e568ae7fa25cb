//! Names that other programs use for keys of the manifest, for suggestions.

use super::reference::{Key, Table};

/// Lower-case names of other programs, and the key with the same meaning.
const ALIASES: &[(&str, Table, &str)] = &[
    ("nofile", Table::Limits, "open_files"),
    ("limitnofile", Table::Limits, "open_files"),
    ("rlimit_nofile", Table::Limits, "open_files"),
    ("max_open_files", Table::Limits, "open_files"),
    ("files", Table::Limits, "open_files"),
    ("descriptors", Table::Limits, "open_files"),
    ("limitcore", Table::Limits, "core"),
    ("rlimit_core", Table::Limits, "core"),
    ("core_size", Table::Limits, "core"),
    ("coredump", Table::Limits, "core"),
    ("memlock", Table::Limits, "locked_memory"),
    ("limitmemlock", Table::Limits, "locked_memory"),
    ("rlimit_memlock", Table::Limits, "locked_memory"),
    ("mlock", Table::Limits, "locked_memory"),
    ("memorymax", Table::Limits, "memory"),
    ("memory_max", Table::Limits, "memory"),
    ("memory_limit", Table::Limits, "memory"),
    ("memorylimit", Table::Limits, "memory"),
    ("mem_limit", Table::Limits, "memory"),
    ("mem", Table::Limits, "memory"),
    ("ram", Table::Limits, "memory"),
    ("memoryhigh", Table::Limits, "memory"),
    ("memoryswapmax", Table::Limits, "memory"),
    ("cpus", Table::Limits, "cpu"),
    ("cpuquota", Table::Limits, "cpu"),
    ("cpu_quota", Table::Limits, "cpu"),
    ("cpuweight", Table::Limits, "cpu"),
    ("cpu_shares", Table::Limits, "cpu"),
    ("cpushares", Table::Limits, "cpu"),
    ("cpuset", Table::Limits, "cpu"),
    ("allowedcpus", Table::Limits, "cpu"),
    ("ioweight", Table::Limits, "io"),
    ("blkio", Table::Limits, "io"),
    ("tasksmax", Table::Limits, "pids"),
    ("pids_limit", Table::Limits, "pids"),
    ("pids_max", Table::Limits, "pids"),
    ("nproc", Table::Limits, "pids"),
    ("limitnproc", Table::Limits, "pids"),
    ("hugepages", Table::Limits, "hugetlb"),
    ("soft", Table::Memory, "high"),
    ("hard", Table::Memory, "max"),
    ("limit", Table::Memory, "max"),
    ("limit", Table::Pids, "max"),
    ("reservation", Table::Memory, "low"),
    ("swap_max", Table::Memory, "swap"),
    ("oom_group", Table::Memory, "group_kill"),
    ("max", Table::Cpu, "quota"),
    ("shares", Table::Cpu, "weight"),
    ("cpuset", Table::Cpu, "cpus"),
    ("umask", Table::App, "process"),
    ("nice", Table::App, "process"),
    ("oom_score_adj", Table::App, "process"),
    ("oomscoreadjust", Table::Process, "oom_score_adj"),
    ("oom_score", Table::Process, "oom_score_adj"),
    ("landlock", Table::App, "wall"),
    ("hidepid", Table::App, "wall"),
    ("protectproc", Table::Wall, "hidepid"),
    ("nonewprivileges", Table::Wall, "set_id_programs"),
    ("caps", Table::Wall, "capabilities"),
    ("capabilityboundingset", Table::Wall, "capabilities"),
    ("ambientcapabilities", Table::Wall, "capabilities"),
    ("seccomp", Table::Wall, "system_calls"),
    ("systemcallfilter", Table::Wall, "system_calls"),
    ("no_new_privs", Table::Wall, "set_id_programs"),
    ("rlimits", Table::App, "limits"),
    ("rlimit", Table::App, "limits"),
    ("ulimits", Table::App, "limits"),
    ("ulimit", Table::App, "limits"),
    ("application", Table::Top, "app"),
    ("service", Table::Top, "app"),
    ("program", Table::Top, "app"),
    ("net", Table::Top, "network"),
    ("default", Table::Top, "defaults"),
    ("customers", Table::Top, "tenants"),
    ("instances", Table::Top, "tenants"),
    ("cmd", Table::App, "command"),
    ("exec", Table::App, "command"),
    ("execstart", Table::App, "command"),
    ("program", Table::App, "command"),
    ("binary", Table::App, "command"),
    ("cwd", Table::App, "working_directory"),
    ("workdir", Table::App, "working_directory"),
    ("workingdirectory", Table::App, "working_directory"),
    ("chdir", Table::App, "working_directory"),
    ("envs", Table::App, "environment"),
    ("tmpfs", Table::App, "private"),
    ("host_sockets", Table::App, "visible"),
    ("sockets", Table::App, "visible"),
    ("volume", Table::App, "datastore"),
    ("data", Table::App, "datastore"),
    ("data_dir", Table::App, "datastore"),
    ("forking", Table::App, "daemonizes"),
    ("daemon", Table::App, "daemonizes"),
    ("target", Table::Datastore, "path"),
    ("mount", Table::Datastore, "path"),
    ("source", Table::Datastore, "root"),
    ("permissions", Table::Datastore, "mode"),
    ("initialize", Table::App, "init"),
    ("initialise", Table::App, "init"),
    ("execstartpre", Table::App, "before"),
    ("pre_start", Table::App, "before"),
    ("prestart", Table::App, "before"),
    ("timeout", Table::Stop, "grace"),
    ("killsignal", Table::Stop, "signal"),
    ("policy", Table::Restart, "when"),
    ("retries", Table::Restart, "strikes"),
    ("max_restarts", Table::Restart, "strikes"),
    ("restartsec", Table::Restart, "delay"),
    ("backoff", Table::Restart, "delay"),
    ("port", Table::Ready, "tcp"),
    ("timeout", Table::Ready, "within"),
    ("timeout", Table::Init, "within"),
    ("timeout", Table::Before, "within"),
    ("cidr", Table::Network, "subnet"),
    ("range", Table::Network, "subnet"),
    ("hwaddr", Table::Tenant, "mac"),
    ("mac_address", Table::Tenant, "mac"),
    ("bandwidth", Table::Tenant, "rate"),
    ("rate_limit", Table::Tenant, "rate"),
    ("dns", Table::Tenant, "resolv"),
    ("nameservers", Table::Tenant, "resolv"),
    ("resolvconf", Table::Tenant, "resolv"),
    ("resolver", Table::Tenant, "resolv"),
    ("nameserver", Table::Resolv, "nameservers"),
    ("servers", Table::Resolv, "nameservers"),
    ("domains", Table::Resolv, "search"),
    ("address", Table::Tenant, "ip"),
    ("adress", Table::Tenant, "ip"),
    ("addr", Table::Tenant, "ip"),
    ("ipv4", Table::Tenant, "ip"),
    ("ip_address", Table::Tenant, "ip"),
    ("args", Table::Tenant, "arguments"),
    ("env", Table::Tenant, "environment"),
    ("data", Table::Tenant, "datastore"),
    ("enabled", Table::Tenant, "autostart"),
    ("enable", Table::Tenant, "autostart"),
];

/// Returns the key that other programs call `name`, in this table if it has one.
pub(super) fn key(name: &str, table: Table) -> Option<&'static Key> {
    let lower = name.to_lowercase();
    let mut meant = ALIASES.iter().filter(|(alias, ..)| *alias == lower);
    let first = meant.clone().next()?;
    let (_, table, key) = meant.find(|(_, of, _)| *of == table).unwrap_or(first);
    Key::find(*table, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_maps_to_a_key() {
        for (alias, table, name) in ALIASES {
            assert_eq!(key(alias, *table).unwrap().name, *name);
            assert_eq!(*alias, alias.to_lowercase());
        }
        let key = |name, table| key(name, table).unwrap().name;
        assert_eq!(key("LimitNOFILE", Table::App), "open_files");
        assert_eq!(key("timeout", Table::Ready), "within");
        assert_eq!(key("timeout", Table::App), "grace");
    }
}
