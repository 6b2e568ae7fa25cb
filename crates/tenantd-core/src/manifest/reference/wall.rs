//! Long descriptions of keys of `[app.wall]`.

pub(super) const CAPABILITIES: &str = "The capabilities that the program can have, see capabilities(7). A program that starts as \
     root has them, and one that starts as another user too (as ambient capabilities). \
     `@service` stands for chown, dac_override, fowner, fsetid, kill, setgid, setuid, \
     setpcap, net_bind_service, sys_chroot and audit_write. A program needs none to use a \
     port below 1024. Those that lead out of a tenant cannot be listed: sys_admin, \
     sys_ptrace, net_admin, mknod and others.";

pub(super) const SYSTEM_CALLS: &str = "Which system calls are refused, with EPERM (clone3(2) and other architectures: ENOSYS). `service`: those that mount, make or enter namespaces, \
     load or trace code of the kernel, use io_uring or keys, or change what the host has \
     once; sockets other than unix, IPv4, IPv6 and netlink; and all calls of programs of \
     another architecture, such as 32-bit programs, which cannot run. `strict`: also those \
     that change priority, limits or processors of another process. `none`: no call.";
