//! The tables of the manifest.

/// A table of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// The top level.
    Top,
    /// `[app]`.
    App,
    /// `[app.uids]`.
    Uids,
    /// `[app.datastore]`.
    Datastore,
    /// One entry of `folders` in `[app.datastore]`.
    Folder,
    /// One entry of `private` in `[app]`.
    Private,
    /// One entry of `files` in `[app]`.
    File,
    /// `[app.init]`.
    Init,
    /// `[app.before]`.
    Before,
    /// `[app.stop]`.
    Stop,
    /// `[app.restart]`.
    Restart,
    /// `[app.ready]`.
    Ready,
    /// `[app.alive]`.
    Alive,
    /// `[app.reload]`.
    Reload,
    /// `[app.limits]`, `[defaults.limits]` and a tenant's `limits`.
    Limits,
    /// `memory` in `limits` and in `[app.total]`.
    Memory,
    /// `cpu` in `limits` and in `[app.total]`.
    Cpu,
    /// `io` in `limits` and in `[app.total]`.
    Io,
    /// `pids` in `limits` and in `[app.total]`.
    Pids,
    /// `disk` in `limits`.
    Disk,
    /// `[app.total]`.
    Total,
    /// `[app.process]`, `[defaults.process]` and a tenant's `process`.
    Process,
    /// `[app.wall]`.
    Wall,
    /// `resolv` in `[defaults]` and of a tenant.
    Resolv,
    /// `[network]`.
    Network,
    /// `[control]`.
    Control,
    /// One entry of `operators` in `[control]`.
    Operator,
    /// `[defaults]`.
    Defaults,
    /// One entry of `[tenants]`.
    Tenant,
}

/// What is said of one entry of `folders`.
const FOLDER: &str = "One folder of `folders`: its path as a string, or a table with these keys. They \
     apply when the folder is made, at the first start of a tenant that has it.";

/// What is said of one entry of `private`.
const PRIVATE: &str = "One folder of `private`: its path as a string, or a table with these keys.";

/// What is said of one entry of `files`.
const FILE: &str = "One file of `files`. Braces that are no placeholder are part of the contents: \
     JSON, or the configuration of nginx, is written as it is. Only a word in braces \
     that is a placeholder, or nearly one, is not: for the text `{ip}` write `{{ip}}`. \
     In a folder of the datastore, in `/run` and in a private folder, the file is \
     written at each start of the tenant, over what the tenant has made of it. \
     Elsewhere, the tenant sees its folder with the file added, read-only; what the \
     host changes in that folder meanwhile may not be seen until the next start, and \
     what the host mounts below it is not seen.";

impl Table {
    /// All tables, in the order of the reference.
    pub const EACH: &'static [Table] = &[
        Table::Top,
        Table::App,
        Table::Uids,
        Table::Datastore,
        Table::Folder,
        Table::Private,
        Table::File,
        Table::Init,
        Table::Before,
        Table::Stop,
        Table::Restart,
        Table::Ready,
        Table::Alive,
        Table::Reload,
        Table::Limits,
        Table::Memory,
        Table::Cpu,
        Table::Io,
        Table::Pids,
        Table::Disk,
        Table::Total,
        Table::Process,
        Table::Wall,
        Table::Network,
        Table::Control,
        Table::Operator,
        Table::Defaults,
        Table::Resolv,
        Table::Tenant,
    ];

    /// Its header.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Table::Top => "the manifest",
            Table::App => "[app]",
            Table::Uids => "[app.uids]",
            Table::Datastore => "[app.datastore]",
            Table::Folder => "[[app.datastore.folders]]",
            Table::Private => "[[app.private]]",
            Table::File => "[[app.files]]",
            Table::Init => "[app.init]",
            Table::Before => "[app.before]",
            Table::Stop => "[app.stop]",
            Table::Restart => "[app.restart]",
            Table::Ready => "[app.ready]",
            Table::Alive => "[app.alive]",
            Table::Reload => "[app.reload]",
            Table::Limits => "[app.limits]",
            Table::Memory => "[app.limits.memory]",
            Table::Cpu => "[app.limits.cpu]",
            Table::Io => "[app.limits.io]",
            Table::Pids => "[app.limits.pids]",
            Table::Disk => "[app.limits.disk]",
            Table::Total => "[app.total]",
            Table::Process => "[app.process]",
            Table::Wall => "[app.wall]",
            Table::Resolv => "[defaults.resolv]",
            Table::Network => "[network]",
            Table::Control => "[control]",
            Table::Operator => "[[control.operators]]",
            Table::Defaults => "[defaults]",
            Table::Tenant => "[tenants]",
        }
    }

    /// Its description.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Table::Top => "One manifest describes one application and all its tenants.",
            Table::App => "The program, the same for all tenants.",
            Table::Uids => UIDS,
            Table::Datastore => {
                "Where the program's data is on the host, and where the program expects it. A \
                 program without data needs neither `path` nor `folders`."
            }
            Table::Folder => FOLDER,
            Table::Private => PRIVATE,
            Table::File => FILE,
            Table::Init => INIT,
            Table::Before => BEFORE,
            Table::Stop => "How the program is stopped.",
            Table::Restart => {
                "What happens when the program exits without a request. Each such exit is a \
                 strike. The delay before the next start doubles with each strike. After too many \
                 strikes within a window, the tenant becomes failed until an operator acts. With \
                 the defaults, a program that exits at once becomes failed after 51 seconds, and \
                 one that runs for ten seconds each time is always restarted."
            }
            Table::Ready => {
                "When a tenant is ready. Set at most one of `tcp`, `notify` and `lived`. Without \
                 them, a tenant is ready as soon as its program has been executed."
            }
            Table::Alive => ALIVE,
            Table::Reload => RELOAD,
            Table::Limits => super::limits::LIMITS,
            Table::Memory => super::limits::MEMORY,
            Table::Cpu => super::limits::CPU,
            Table::Io => super::limits::IO,
            Table::Pids => super::limits::PIDS,
            Table::Disk => super::limits::DISK,
            Table::Total => super::limits::TOTAL,
            Table::Process => {
                "Attributes of the processes of a tenant. They are set at each start, so that a \
                 tenant is the same whatever started tenantd. `process` in `[defaults]` and of a \
                 tenant override these, one by one. Where tenantd lacks the privilege to set a \
                 default, the attribute is inherited from tenantd."
            }
            Table::Wall => WALL,
            Table::Resolv => super::names::TABLE,
            Table::Network => "The network that the tenants share.",
            Table::Control => {
                "Who may use the control socket of the supervisor. Root always may, for all \
                 requests. No process inside a tenant does, whatever its user is."
            }
            Table::Operator => OPERATOR,
            Table::Defaults => {
                "Defaults for all tenants. A tenant's own settings override them. Environments are \
                 merged: variables of the tenant override those of `[defaults]`, which override \
                 those of `[app]`."
            }
            Table::Tenant => {
                "One line per tenant: its name (at most 63 lower-case letters, digits and dashes) \
                 and its settings. The minimum is `acme = { ip = \"10.77.0.11\" }`."
            }
        }
    }
}

const UIDS: &str = "The users of tenants with `user = \"per-tenant\"`: one number per tenant, for its user and its \
     group. It is recorded in `/var/lib/tenantd/.uids/APP/TENANT` before the tenant's first start, \
     stays the tenant's, also if the tenant is removed from the manifest and added again, and \
     is never given to another tenant. Nothing removes the record: once the data of a former \
     tenant is gone, you may remove its file there and in `/var/lib/tenantd/.datastores`. \
     The user's name is `APP-TENANT`, or shorter with the number if that name is too long or taken; \
     its home is `path` of [app.datastore]. What the host's folders and files give to \
     another user (copies of folders, private folders, groups of files) belongs to \
     the tenant's user instead, unless `user` or `group` is set there.";

const OPERATOR: &str = "One group, and what its members may do without root. A group may have several \
     entries.";

const WALL: &str = "What separates a tenant from the others and from the host, beyond its two namespaces. \
     The commands of [app.init] and [app.before] have the same, but for `capabilities`, which is \
     for the user of the program: for root otherwise, `@service`. A command of `tenantd exec` has \
     the same filter of system calls, and a domain of its own. \
     `tenantd status` shows by what a running program is confined, and `tenantd check` what is \
     not apart.";

const INIT: &str = "A command that initializes a new datastore, such as initdb(1). It runs in the \
     tenant, before the first start of the program, and never again once it has \
     succeeded. If it fails, its output is in the log, the tenant becomes failed, and \
     the datastore is made empty again; `tenantd start`, or a reload that changes the \
     tenant's settings, tries again. So it does if tenantd is killed meanwhile, with the \
     next start. A datastore that had data before is never initialized. A \
     change takes effect with a reload.";

const ALIVE: &str = "Whether a program that is ready still works. Set one of `tcp`, `http` and \
     `command`. A program that does not answer counts as one that ended by itself: it \
     is stopped, and [app.restart] decides. Without this table nothing is asked. The \
     kernel accepts connections for a program that hangs, until its queue is full: \
     `http` and `command` notice more than `tcp`. Tenants are asked at different \
     moments of the interval. A program is not asked while it is being stopped, and no \
     failure counts while the tenant is frozen. A change applies to the running program.";

const RELOAD: &str = "How `tenantd reload-app` makes a program read its configuration again. Set either \
     `signal` or `command`. The tenant must be up and ready. What the program does then, \
     and how long it takes, is its own business: a signal counts as done when it is sent. A \
     change of this table takes effect with a reload of the manifest, and interrupts nothing.";

const BEFORE: &str = "A command that runs in the tenant before each start of the program, for example to \
     migrate its data or to check its configuration. If it fails, the program is not \
     started, and the start counts as a strike. A change takes effect with the next \
     start.";
