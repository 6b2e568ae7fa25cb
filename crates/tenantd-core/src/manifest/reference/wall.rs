//! Long descriptions of `secrets` and of keys of `[app.wall]`.

/// Of `[app]`.
pub(super) const SECRETS: &str = "Files of the host that the program reads and no other user may: passwords, keys. Each is a file \
     of this name, for the tenant's user alone, in the folder that `CREDENTIALS_DIRECTORY` names, \
     as with `LoadCredential=` in systemd.exec(5). A file is read when the program starts: after a \
     change, type `tenantd restart`. It must be root's with the mode 0600 or 0400, in folders in \
     which only root can write, also where the path leads through symbolic links, and has at most 1 \
     MiB. A relative path begins at the folder of the manifest. Secrets of [defaults] and of a \
     tenant are added, or replace those of the same name. They need `host = \"read-only\"`.";

pub(super) const CAPABILITIES: &str = "The capabilities that the program can have, see capabilities(7). A program that starts as \
     root has them, and one that starts as another user too (as ambient capabilities). \
     `@service` stands for chown, dac_override, fowner, fsetid, kill, setgid, setuid, \
     setpcap, net_bind_service, sys_chroot and audit_write. A program needs none to use a \
     port below 1024. Those that lead out of a tenant cannot be listed: sys_admin, \
     sys_ptrace, net_admin, mknod and others.";

pub(super) const SYSTEM_CALLS: &str = "Which system calls are refused, with EPERM (clone3(2) and other architectures: ENOSYS). `service`: those that mount, make or enter namespaces, \
     load or trace code of the kernel, use io_uring or keys, or change what the host has \
     once; requests of ioctl(2) by which files leave the quota of a datastore (those that set \
     flags or the project of a file, or make subvolumes of btrfs); sockets other than unix, IPv4, IPv6 and netlink; and all calls of programs of \
     another architecture, such as 32-bit programs, which cannot run. `strict`: also those \
     that change priority, limits or processors of another process. `none`: no call.";

pub(super) const LANDLOCK: &str = "Whether the program runs in a Landlock domain of its own, see landlock(7). Then it can neither \
     trace nor signal a process outside of the domain, whatever its user. `false` is for a \
     program that must signal processes that it did not start, or that sends by POSIX message \
     queues (mq_overview(7)) and has a user that others have too: it gets EACCES, unless \
     `user = \"per-tenant\"` or `host = \"writable\"`.";

pub(super) const HIDEPID: &str = "Whether the tenant has a `/proc` of its own that lists only processes that the reader may \
     trace (`hidepid=4`, see proc(5)). A program that starts as root does not see there its \
     processes of another user.";

pub(super) const EXEC_REACHES: &str = "Whether a command of `tenantd exec` sees the program's processes, and can signal and trace \
     them as far as its user may: `kill`, `strace -p`, `gdb -p` and `nginx -s reload`. The program does \
     not reach the command, and neither reaches another tenant. It takes a process of tenantd for each \
     tenant, of about 2 MiB, and Linux 6.12. Without it, a command is in a domain beside the program's: \
     it neither sees nor signals the program, for which there are `tenantd kill` and \
     `tenantd reload-app`.";

pub(super) const SET_ID_PROGRAMS: &str = "Whether programs with the set-user-ID or set-group-ID bit, or with file capabilities, get \
     these rights: mail helpers such as postdrop(1), unix_chkpwd(8), sudo(8). Without it \
     they run with the rights of who starts them (`no_new_privs`), and may not say so: PHP's \
     mail() waits for ever for a postdrop that cannot write to its queue.";
