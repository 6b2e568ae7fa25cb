//! The keys of what tenants have in common or of their own: limits, wall, network, control, defaults, tenants.

use super::Fallback::{Derived, Required, Value};
use super::{Fallback, Key, Kind, Table, control, keys, limits, names, network, traffic, wall};
use crate::cgroup::Form;
use crate::manifest::engine::ENGINES;
use crate::manifest::limit::Measure;
use crate::manifest::storage::KINDS;
use crate::manifest::template::{ALL, OF_TENANT};
use crate::rights::Right;

const BYTES: Kind = Kind::Limit {
    measure: Measure::Bytes,
    min: 0,
};
const INHERITED: Fallback = Derived("inherited from tenantd");
const NO_LIMIT: Fallback = Derived("no limit");
const OUTBOUND: Kind = Kind::Choice(&["none", "nat", "routed"]);
const NONE: Fallback = Derived("none");
const DEFAULTS: Fallback = Derived("that of [defaults]");
const RIGHTS: &[&str] = &Right::WORDS;

keys! {
    Limits {
        "open_files", Kind::Limit { measure: Measure::Number, min: 64 }, INHERITED, "65536",
            "The maximum number of open files of a process (`RLIMIT_NOFILE`), at most fs.nr_open. \
             `\"1024:65536\"` suits programs that use select(2) and need a soft limit of 1024.";
        "core", BYTES, Derived("no core files"), "\"0:unlimited\"",
            "The maximum size of a core file (`RLIMIT_CORE`): bytes, or a size such as \
             `\"64 MiB\"`. Without it there is none, and a program that kernel.core_pattern names, \
             such as systemd-coredump, gets none (the limit is 1 byte); with 0 it gets one.";
        "locked_memory", BYTES, INHERITED, "\"64 MiB\"",
            "The maximum of memory that a process may lock into RAM (`RLIMIT_MEMLOCK`): bytes, or \
             a size such as `\"64 MiB\"`.";
        "memory", Kind::Table(Table::Memory), Value("{}"), "{ max = \"512 MiB\" }",
            "Memory of the tenant, see [app.limits.memory].";
        "cpu", Kind::Table(Table::Cpu), Value("{}"), "{ quota = \"150 %\" }",
            "Processor time of the tenant, see [app.limits.cpu].";
        "io", Kind::Table(Table::Io), Value("{}"), "{ weight = 50 }",
            "What the tenant reads from and writes to block devices, see [app.limits.io].";
        "pids", Kind::Table(Table::Pids), Value("{}"), "{ max = 200 }",
            "Processes of the tenant, see [app.limits.pids].";
        "hugetlb", Kind::Group(Form::Pages), NO_LIMIT, "{ 2MB = \"64 MiB\" }", limits::HUGETLB;
        "disk", Kind::Table(Table::Disk), Value("{}"), "{ max = \"10 GiB\" }",
            "The quota of the datastore, see [app.limits.disk].";
    }
    Process {
        "umask", Kind::Umask, Derived("0022"), "\"0027\"",
            "The file mode creation mask in octal, see umask(2).";
        "nice", Kind::Integer { min: -20, max: 19 }, Derived("0"), "5",
            "The nice value, see setpriority(2): a higher one leaves more processor time to others.";
        "oom_score_adj", Kind::Integer { min: -1000, max: 1000 }, Derived("0"), "500",
            "How likely the kernel kills the processes when memory is short, see \
             proc_pid_oom_score_adj(5). A value below that of tenantd needs CAP_SYS_RESOURCE.";
    }
    Wall {
        "landlock", Kind::Flag, Value("true"), "false",
            wall::LANDLOCK;
        "hidepid", Kind::Flag, Value("true"), "false",
            wall::HIDEPID;
        "exec_reaches", Kind::Flag, Value("false"), "true",
            wall::EXEC_REACHES;
        "require", Kind::Choices(&["landlock", "uid"]), Value("[]"), "[\"landlock\", \"uid\"]",
            "What the program is not started without. `\"landlock\"`: a domain that confines signals \
             too (Linux 6.12). `\"uid\"`: a user that is neither root nor that of another tenant of \
             the application.";
        "capabilities", Kind::Capabilities,
            Derived("`[\"@service\"]` for a program that starts as root, otherwise none"),
            "[\"@service\", \"sys_nice\"]",
            wall::CAPABILITIES;
        "set_id_programs", Kind::Flag, Value("false"), "true",
            wall::SET_ID_PROGRAMS;
        "system_calls", Kind::Choice(&["service", "strict", "none"]), Value("\"service\""), "\"strict\"",
            wall::SYSTEM_CALLS;
        "log_system_calls", Kind::Flag, Value("false"), "true",
            "Whether what `system_calls` refuses is written to the log of the kernel, as a message of \
             type SECCOMP, and is not refused. For finding out what a program needs.";
    }
    Network {
        "mode", Kind::Choice(&["routed", "bridge", "macvlan"]), Value("\"routed\""), "\"bridge\"",
            network::MODE;
        "parent", Kind::Interface, Derived("none"), "\"eth0\"",
            network::PARENT;
        "bridge", Kind::Interface, Derived("none"), "\"br0\"",
            network::BRIDGE;
        "subnet", Kind::Subnet, Value("\"10.77.0.0/24\""), "\"10.77.0.0/16\"",
            network::SUBNET;
        "gateway", Kind::Address, Derived("the first address of the subnet"), "\"10.77.0.254\"",
            network::GATEWAY;
        "subnet6", Kind::Subnet6, Derived("no IPv6"), "\"fd00:77::/64\"",
            network::SUBNET6;
        "gateway6", Kind::Address6, Derived("the first address of `subnet6`"), "\"fd00:77::fe\"",
            network::GATEWAY6;
        "uplink", Kind::Interface, Derived("none"), "\"eth0\"", network::UPLINK;
        "set_uplink", Kind::Flag, Value("false"), "true", network::SET_UPLINK;
        "firewall", Kind::Choice(&["on", "off"]), Value("\"on\""), "\"off\"", traffic::FIREWALL;
        "mtu", Kind::Count { min: 1280, max: 65535 },
            Derived("that of the uplink, or of the interface of the host's default route, or 1500"), "9000",
            network::MTU;
    }
    Control {
        "read", Kind::Groups, Value("[]"), "[\"adm\"]",
            control::READ;
        "operators", Kind::Operators, Value("[]"),
            "[{ group = \"support\", rights = [\"restart\"], tenants = [\"acme\"] }]", control::OPERATORS;
    }
    Operator {
        "group", Kind::Account, Required, "\"support\"",
            "The group, by name or number.";
        "rights", Kind::Choices(RIGHTS), Required, "[\"restart\", \"kill\"]", control::RIGHTS;
        "tenants", Kind::Tenancies, Derived("all tenants"), "[\"acme\"]",
            "The tenants that the rights are for.";
    }
    Defaults {
        "environment", Kind::Environment(ALL), Value("{}"), "{ LANG = \"C.UTF-8\" }",
            "Added to the program's environment.";
        "vars", Kind::Vars, Value("{}"), "{ colour = \"blue\" }",
            "Variables, in addition to those of [app], see there.";
        "secrets", Kind::Secrets, Value("{}"), "{ token = \"/etc/tenantd/secrets/token\" }",
            "Secrets, in addition to those of [app], see there.";
        "arguments", Kind::Texts(ALL), Value("[]"), "[\"--site={tenant}\"]",
            "Appended to the command of every tenant that has no `arguments` of its own.";
        "user", Kind::Account, Derived("that of [app]"), "\"www-data\"",
            "The user that the program runs as.";
        "group", Kind::Account, Derived("that of [app]"), "\"www-data\"",
            "The group that the program runs as.";
        "autostart", Kind::Flag, Value("true"), "false",
            "Whether the tenants start with tenantd.";
        "engine", Kind::Choice(ENGINES), Value("\"tenantd\""), "\"pacemaker\"",
            "What starts and stops the tenants: `\"tenantd\"`, as `autostart` and operators say; `\"pacemaker\"`, by its \
             agent `ocf:tenantd:tenant`, see [cluster.md](cluster.md); `\"other\"`, another program. Unless it is \
             `\"tenantd\"`, tenantd starts none of them by itself, `autostart` has no effect, and `start` is refused.";
        "storage", Kind::Choice(KINDS), Value("\"local\""), "\"shared\"",
            "Which hosts reach the tenants' data: `\"local\"`, the host that runs the tenant, so `tenantd move` copies it, \
             and no other host starts the tenant if that host is lost; `\"shared\"`, all hosts at the same path, so nothing \
             is copied; `\"replicated\"`, a device that another program copies and that is promoted before a start. \
             `cluster plan` and `move` follow it, see [cluster.md](cluster.md).";
        "limits", Kind::Table(Table::Limits), Derived("those of [app]"), "{ open_files = 65536 }",
            "Resource limits of the tenants' processes, see [app.limits].";
        "process", Kind::Table(Table::Process), Derived("those of [app]"), "{ nice = 5 }",
            "Attributes of the tenants' processes, see [app.process].";
        "sysctls", Kind::Sysctls, Value("{}"), "{ \"net.core.somaxconn\" = 8192 }",
            "Settings of the kernel for the tenants, in addition to those of [app], see there.";
        "outbound", OUTBOUND, Derived("`\"none\"`"), "\"nat\"", traffic::OUTBOUND;
        "egress", Kind::Egress, Derived("everything"), "[\"allow 198.51.100.0/24:443/tcp\"]", traffic::EGRESS;
        "outbound_from", Kind::HostAddresses, Derived("that of the link by which a packet leaves"), "\"203.0.113.9\"",
            traffic::OUTBOUND_FROM;
        "peers", Kind::Peers, NONE, "[\"*\"]", traffic::PEERS;
        "host_services", Kind::Services, NONE, "[\"dns\"]", traffic::HOST_SERVICES;
        "expose_loopback", Kind::Exposed, NONE, "[5432, \"53/udp\"]", traffic::EXPOSED;
        "rate", Kind::Rates, Derived("no limit"), "{ in = \"100 Mbit/s\", out = \"20 Mbit/s\" }", traffic::RATE;
        "resolv", Kind::Table(Table::Resolv), Derived("the name servers of the host"),
            "{ nameservers = [\"198.51.100.53\"] }", names::RESOLV;
        "hosts", names::FILE, names::OWN, "\"host\"", names::HOSTS;
    }
    Resolv {
        "nameservers", Kind::NameServers, Derived("those of the host"), "[\"198.51.100.53\"]",
            names::NAMESERVERS;
        "search", Kind::Words, Derived("that of the host"), "[\"example.com\"]",
            "The domains in which a short name is looked up.";
        "options", Kind::Words, Derived("those of the host"), "[\"timeout:2\", \"rotate\"]",
            "Options of resolv.conf(5).";
        "file", names::FILE, names::OWN, "\"host\"", names::RESOLV_FILE;
    }
    Tenant {
        "ip", Kind::Addresses, Required, "\"10.77.0.11\"",
            network::IP;
        "mac", Kind::Mac, Derived("made from the names of application and tenant"), "\"02:00:00:12:34:56\"",
            network::MAC;
        "environment", Kind::Environment(ALL), Derived("none"), "{ TITLE = \"Acme\" }",
            "Added to the program's environment.";
        "vars", Kind::Vars, Derived("none"), "{ colour = \"green\" }",
            "Variables, in addition to those of [app] and [defaults], see [app].";
        "secrets", Kind::Secrets, Derived("none"), "{ token = \"/etc/tenantd/secrets/acme\" }",
            "Secrets, in addition to those of [app] and [defaults], see [app].";
        "arguments", Kind::Texts(ALL), Derived("those of [defaults]"), "[\"--verbose\"]",
            "Appended to the command.";
        "datastore", Kind::Path(OF_TENANT), Derived("the tenant's name"), "\"legacy-7\"",
            "The folder with the tenant's data: absolute, or relative to the `root` of the \
             datastores. Tenants must not share a datastore, and datastores must not be nested. \
             The parent folder of an absolute datastore is hidden from every tenant.";
        "user", Kind::Account, Derived("that of [defaults], or of [app]"), "\"acme\"",
            "The user that the program runs as.";
        "group", Kind::Account, Derived("that of [defaults] or of [app], or the user's primary group"),
            "\"acme\"",
            "The group that the program runs as.";
        "autostart", Kind::Flag, Derived("that of [defaults]"), "false",
            "Whether the tenant starts with tenantd.";
        "engine", Kind::Choice(ENGINES), DEFAULTS, "\"pacemaker\"",
            "What starts and stops the tenant, see [defaults].";
        "storage", Kind::Choice(KINDS), DEFAULTS, "\"shared\"",
            "Which hosts reach the tenant's data, see [defaults].";
        "limits", Kind::Table(Table::Limits), Derived("those of [defaults], or of [app]"), "{ open_files = 65536 }",
            "Resource limits of the tenant's processes, see [app.limits].";
        "process", Kind::Table(Table::Process), Derived("those of [defaults], or of [app]"), "{ nice = 5 }",
            "Attributes of the tenant's processes, see [app.process].";
        "sysctls", Kind::Sysctls, Derived("none"), "{ \"net.core.somaxconn\" = 8192 }",
            "Settings of the kernel for the tenant, in addition to those of [app] and [defaults], see [app].";
        "outbound", OUTBOUND, DEFAULTS, "\"nat\"", traffic::OUTBOUND_OWN;
        "egress", Kind::Egress, DEFAULTS, "[\"deny any:25\", \"allow any\"]", traffic::EGRESS_OWN;
        "outbound_from", Kind::HostAddresses, DEFAULTS, "\"203.0.113.9\"", traffic::OUTBOUND_FROM_OWN;
        "peers", Kind::Peers, DEFAULTS, "[\"globex\"]", traffic::PEERS_OWN;
        "host_services", Kind::Services, DEFAULTS, "[\"5432/tcp\"]", traffic::HOST_SERVICES_OWN;
        "expose_loopback", Kind::Exposed, DEFAULTS, "[5432]", traffic::EXPOSED_OWN;
        "rate", Kind::Rates, DEFAULTS, "\"100 Mbit/s\"", traffic::RATE_OWN;
        "resolv", Kind::Table(Table::Resolv), DEFAULTS, "{ search = [\"acme.example.com\"] }",
            "How the tenant looks names up, see [defaults.resolv]. Overrides that of [defaults], key by key.";
        "hosts", names::FILE, DEFAULTS, "\"host\"", "Whose `/etc/hosts` the tenant has, see [defaults].";
        "publish", Kind::Published, NONE, "[\"203.0.113.7:8080 -> 80/tcp\"]", traffic::PUBLISH;
    }
}
