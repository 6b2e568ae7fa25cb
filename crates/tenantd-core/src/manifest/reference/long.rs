//! Long descriptions of keys of `[app]`.

pub(super) const LOGS: &str = "Log files that the program writes itself, in folders of the datastore. Their new lines \
     are added to the tenant's log, through rotations too; the files stay. `*` and `?` are \
     wildcards in the last part of a path. What is written to standard output, standard \
     error and syslog is in the log anyway. A change takes effect with a reload.";

pub(super) const HOST: &str = "What tenants may do with the files of the host. `read-only`: they can write only to \
     what is their own: the datastore, private folders, `/tmp`, `/var/tmp`, `/run` and \
     `/dev/shm`. `writable`: they can write wherever their user can; what they write \
     outside of the datastore is not separate, and `tenantd check` reports that.";

pub(super) const PRIVATE_SIZE: &str = "The maximum size of each private folder, and of `/tmp`, `/var/tmp`, `/run` and \
     `/dev/shm`, which are a tenant's own.";
