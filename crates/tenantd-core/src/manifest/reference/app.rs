//! Long descriptions of keys of `[app]`, `[app.uids]` and `[app.datastore]`.

pub(super) const VARS: &str = "Variables: `{vars.colour}` stands for the value of `colour` wherever placeholders are \
     available. A value may contain all placeholders, but no variable. `vars` in [defaults] \
     and of a tenant override these, one by one. A variable that a tenant uses and does \
     not have is an error, and so is one that nothing uses. In values that are the same \
     for all tenants, such as the paths of folders, only variables are available that are \
     set here alone.";

pub(super) const USER: &str = "The user that the program runs as, by name or number. \
     `per-tenant`: each tenant has a user and a group of its own, which no other tenant of the \
     host and no other user has, see [app.uids].";

pub(super) const RANGE: &str = "The numbers for users that are recorded from now on. A tenant keeps the user that it \
     has, whatever this says. A number is passed over if it is recorded for another tenant, if \
     a datastore that tenantd remembers had it, if the host has such a user or group, or if it \
     is in /etc/subuid or /etc/subgid. The default is below what containers (/etc/subuid, \
     systemd-nspawn) and above what DynamicUser= of systemd use.";

pub(super) const FOLDERS: &str = "Further folders of the program that each tenant has for itself, beside or instead of \
     `path`: paths, or tables, see [[app.datastore.folders]]. Each is a folder in the \
     tenant's datastore, with the same path: `/var/lib/ldap` is `DATASTORE/var/lib/ldap`. \
     With `folders`, `path` is one of them. A datastore that was made without `folders` is \
     converted at the next start. A folder that is removed from the list stays in the \
     datastore. No folder may contain another one.";

pub(super) const OWNER: &str = "Whose files the datastores have on the host, by name or number, if that is not the \
     tenant's user: each tenant sees them as its own user's, through an idmapped mount, and what it \
     makes is `owner`'s on the host. So data of a former user needs no `tenantd chown`. `per-tenant`: \
     each tenant's files are those of a user of its own on the host, see [app.uids], although its \
     program has a user that others have too. The group is that of the user, or the same number. Root \
     cannot be the owner. The file system must support it, as ext4, xfs, btrfs and tmpfs do: \
     `tenantd check` tries it. A change restarts the program with a reload.";

pub(super) const LOGS: &str = "Log files that the program writes itself, in folders of the datastore. Their new lines \
     are added to the tenant's log, through rotations too; the files stay. `*` and `?` are \
     wildcards in the last part of a path. What is written to standard output, standard \
     error and syslog is in the log anyway. A change takes effect with a reload.";

pub(super) const LOG_RATE: &str = "How many bytes of a tenant's output are read a second, of four seconds at once; the same \
     for its messages to syslog, and for its log files. Reading them takes processor time of the host that no limit of \
     the tenant counts. A program that writes faster waits, as with a full pipe, and `tenantd status` says \
     how often it waited for its standard output or error; of a log file that is 16 MiB ahead, a part is skipped, and a \
     line says so. A change takes effect with a reload.";

pub(super) const HOST: &str = "What tenants may do with the files of the host. `read-only`: they can write only to \
     what is their own: the datastore, private folders, `/tmp`, `/var/tmp`, `/run` and \
     `/dev/shm`. `writable`: they can write wherever their user can; what they write \
     outside of the datastore is not separate, and `tenantd check` reports that.";

pub(super) const PRIVATE_SIZE: &str = "The maximum size of each private folder, and of `/tmp`, `/var/tmp`, `/run` and \
     `/dev/shm`, which are a tenant's own.";

pub(super) const PID_FILE: &str = "The file, as the tenant sees it, with the number of the main process of a program that \
     `daemonizes`. Without it, `MAINPID` names that process (sd_notify(3)), or a guess.";

pub(super) const PRIVATE: &str = "Empty folders that only the tenant sees, in memory, for example for pid files. They \
     have the owner and mode of the host's folder, or belong to the tenant's user. `true` stands for \
     what programs usually need: `/run/{app}`, beside `/tmp`, `/var/tmp` and `/dev/shm`, which are a \
     tenant's own anyway; with `host = \"writable\"`, where they are not, for these three without \
     `/run/{app}`, which the host would have to have. A list may contain tables, see [[app.private]].";

pub(super) const SHARED: &str = "Paths of the host that all tenants may write to, as far as their user can. What they \
     write there is not separate.";

pub(super) const VISIBLE: &str = "Paths of the host below `/run`, `/dev`, `/tmp`, `/var/tmp` or a private folder that \
     tenants see, such as the socket of a service. Without it, no tenant reaches the sockets of \
     D-Bus, docker, podman, containerd, systemd, snapd, libvirt, cups or an X server there, \
     nor those in `/var/lib/incus`, `/var/lib/kubelet`, `/var/lib/libvirt`, `/var/lib/lxd` and \
     `/var/snap`, which are covered with `host = \"writable\"` too. A socket has the same path on \
     the host and in the tenant. Name its folder instead if the service makes the socket again \
     when it restarts. `/etc/machine-id` and `/sys/devices` can be listed too: otherwise a tenant \
     has an id of its own, and sees no device of the machine but processors and memory.";

pub(super) const COMMAND: &str = "The absolute path of the program, and its arguments. No shell is used. In the path, \
     only `{app}` and `{manifest_dir}` are available.";

pub(super) const DATA: &str =
    "The folder in which the program expects its data. Each tenant sees its own datastore there.";
