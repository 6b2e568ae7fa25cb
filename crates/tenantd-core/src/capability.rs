//! The capabilities of Linux, by name, see capabilities(7).

use std::fmt;

/// The names, by number.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// The capability with this name, in any case, with or without `CAP_`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let name = lower.strip_prefix("cap_").unwrap_or(&lower);
        let at = NAMES.iter().position(|one| *one == name)?;
        u8::try_from(at).ok().map(Self)
    }

    /// The capability with this number; `None` if there can be none.
    #[must_use]
    pub fn numbered(number: u32) -> Option<Self> {
        u8::try_from(number).ok().filter(|it| *it < 64).map(Self)
    }

    /// The kernel's number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.into()
    }

    /// Its name in a manifest, such as `mknod`. Empty for one that is too new.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or_default()
    }

    /// Why no tenant can have it; `None` if one can.
    #[must_use]
    pub fn danger(self) -> Option<&'static str> {
        Some(match self.name() {
            "dac_read_search" => "it opens any file by its handle, also in hidden folders",
            "net_admin" => "it makes links in other network namespaces",
            "sys_module" => "it loads code into the kernel",
            "sys_rawio" => "it reads and writes the memory of the machine",
            "sys_ptrace" => "it enters the files and the memory of other processes",
            "sys_admin" => "it removes mounts, and enters other namespaces",
            "sys_boot" => "it starts another kernel",
            "mknod" => "it makes a device of the disk with all data",
            "perfmon" | "bpf" => "it reads the kernel's memory and the packets of others",
            "mac_override" | "mac_admin" => "it turns off the rules of a security module",
            "ipc_owner" => "it uses the shared memory and the queues of others",
            "sys_time" => "it sets the clock of the host",
            "audit_control" | "audit_read" => "it reads or turns off the audit of the host",
            "checkpoint_restore" => "it opens the files of other processes",
            _ => return None,
        })
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "" => write!(f, "capability {}", self.0),
            name => write!(f, "CAP_{}", name.to_ascii_uppercase()),
        }
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);

    /// What programs that are started by root need to prepare their files and to become another
    /// user: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service,
    /// sys_chroot, and audit_write, without which PAM refuses every login on a host with audit.
    pub const SERVICE: Self = Self(
        Capability(0).bit()
            | Capability(1).bit()
            | Capability(3).bit()
            | Capability(4).bit()
            | Capability(5).bit()
            | Capability(6).bit()
            | Capability(7).bit()
            | Capability(8).bit()
            | Capability(10).bit()
            | Capability(18).bit()
            | Capability(29).bit(),
    );

    /// This set and one more.
    #[must_use]
    pub fn with(self, one: Capability) -> Self {
        Self(self.0 | one.bit())
    }

    /// What is in either set.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether it has a capability.
    #[must_use]
    pub fn has(self, one: Capability) -> bool {
        self.0 & one.bit() != 0
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as the kernel writes it: bit N is capability N.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Its capabilities, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..64).map(Capability).filter(move |one| self.has(*one))
    }

    /// Their names in a manifest.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Capability::name).collect()
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_empty() {
            true => f.write_str("none"),
            false => f.write_str(&self.names().join(", ")),
        }
    }
}

/// The name that an unknown one may mean.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let name = lower.strip_prefix("cap_").unwrap_or(&lower);
    let distance = |one: &&&str| strsim::damerau_levenshtein(one, name);
    let near = NAMES.iter().min_by_key(|one| distance(one))?;
    (distance(&near) <= 3).then_some(*near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_kernel() {
        // By hand from linux/capability.h.
        for (name, number) in [
            ("chown", 0),
            ("CAP_DAC_READ_SEARCH", 2),
            ("net_bind_service", 10),
            ("cap_sys_chroot", 18),
            ("sys_admin", 21),
            ("mknod", 27),
            ("audit_write", 29),
            ("bpf", 39),
            ("checkpoint_restore", 40),
        ] {
            assert_eq!(Capability::named(name).unwrap().number(), number, "{name}");
        }
        assert_eq!(Capability::named("sys_adm"), None);
        assert_eq!(nearest("net_bind_servce"), Some("net_bind_service"));
        assert_eq!(nearest("everything"), None);
    }

    #[test]
    fn no_preset_has_a_dangerous_one() {
        let refused = Capabilities::SERVICE.iter().find_map(Capability::danger);
        assert_eq!(refused, None);
        assert_eq!(Capabilities::SERVICE.iter().count(), 11);
        assert_eq!(Capabilities::NONE.to_string(), "none");
        let one = Capabilities::NONE.with(Capability(5));
        assert_eq!((one.to_string(), one.bits()), ("kill".to_owned(), 32));
        assert_eq!(Capability(5).to_string(), "CAP_KILL");
    }
}
