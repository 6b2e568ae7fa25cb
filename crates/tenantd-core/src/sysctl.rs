//! The settings of the kernel (sysctls) that a tenant may have for itself: those of its network namespace that
//! concern no other, see the kernel's Documentation/networking/ip-sysctl.rst and Documentation/admin-guide/sysctl/net.rst.

use std::fmt;

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A number, from a least to a greatest.
    Number(i64, i64),
    /// Two numbers, the first not greater than the second, from a least to a greatest.
    Range(i64, i64),
    /// Three numbers, each at least 1 and none greater than the next: minimum, default and maximum.
    Sizes,
    /// A word, such as the name of an algorithm.
    Word,
}

const COUNT: Holds = Holds::Number(0, i32::MAX as i64);
const SECONDS: Holds = Holds::Number(1, 32767);

/// The settings. Forwarding, redirects and what else would make a tenant a router are not among them; nor are
/// those of all namespaces, which the kernel shows in each.
const LIST: &[(&str, Holds)] = &[
    ("net.core.somaxconn", COUNT),
    ("net.ipv4.icmp_echo_ignore_all", Holds::Number(0, 1)),
    ("net.ipv4.ip_default_ttl", Holds::Number(1, 255)),
    ("net.ipv4.ip_local_port_range", Holds::Range(1, 65535)),
    ("net.ipv4.ip_nonlocal_bind", Holds::Number(0, 1)),
    (
        "net.ipv4.ip_unprivileged_port_start",
        Holds::Number(0, 65535),
    ),
    ("net.ipv4.ping_group_range", Holds::Range(0, 4_294_967_294)),
    ("net.ipv4.tcp_congestion_control", Holds::Word),
    ("net.ipv4.tcp_ecn", Holds::Number(0, 5)),
    ("net.ipv4.tcp_fastopen", COUNT),
    ("net.ipv4.tcp_fin_timeout", SECONDS),
    ("net.ipv4.tcp_keepalive_intvl", SECONDS),
    ("net.ipv4.tcp_keepalive_probes", Holds::Number(1, 255)),
    ("net.ipv4.tcp_keepalive_time", Holds::Number(1, 2_147_483)),
    ("net.ipv4.tcp_max_syn_backlog", COUNT),
    ("net.ipv4.tcp_max_tw_buckets", COUNT),
    ("net.ipv4.tcp_mtu_probing", Holds::Number(0, 2)),
    (
        "net.ipv4.tcp_notsent_lowat",
        Holds::Number(0, u32::MAX as i64),
    ),
    ("net.ipv4.tcp_retries1", Holds::Number(0, 255)),
    ("net.ipv4.tcp_retries2", Holds::Number(0, 255)),
    ("net.ipv4.tcp_rmem", Holds::Sizes),
    ("net.ipv4.tcp_sack", Holds::Number(0, 1)),
    ("net.ipv4.tcp_slow_start_after_idle", Holds::Number(0, 1)),
    ("net.ipv4.tcp_syn_retries", Holds::Number(1, 127)),
    ("net.ipv4.tcp_synack_retries", Holds::Number(0, 255)),
    ("net.ipv4.tcp_syncookies", Holds::Number(0, 2)),
    ("net.ipv4.tcp_timestamps", Holds::Number(0, 2)),
    ("net.ipv4.tcp_tw_reuse", Holds::Number(0, 2)),
    ("net.ipv4.tcp_wmem", Holds::Sizes),
    ("net.unix.max_dgram_qlen", COUNT),
];

/// One setting that a tenant may have for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sysctl(&'static str);

impl Sysctl {
    /// The setting of this name, such as `net.core.somaxconn`, or with slashes, as sysctl(8) reads it too.
    /// `None` if a tenant may not have it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.replace('/', ".");
        Self::all().find(|one| one.0 == name)
    }

    /// All settings, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        LIST.iter().map(|(name, _)| Self(name))
    }

    /// Its name, such as `net.core.somaxconn`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Its path below `/proc/sys`.
    #[must_use]
    pub fn path(self) -> String {
        self.0.replace('.', "/")
    }

    /// A value as the kernel reads it: numbers with one space between them.
    ///
    /// # Errors
    /// What it must be.
    pub fn value(self, text: &str) -> Result<String, Mistake> {
        let holds = self.holds();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
        let fits = match (holds, numbers.as_deref()) {
            (Holds::Number(least, most), Some([one])) => (least..=most).contains(one),
            (Holds::Range(least, most), Some([first, last])) => {
                // An empty range of groups has its first after its last: nobody may ping.
                let empty = *first == 1 && *last == 0 && least == 0;
                empty || (least <= *first && first <= last && *last <= most)
            }
            (Holds::Sizes, Some(sizes @ [first, _, last])) => {
                *first >= 1 && *last <= i64::from(i32::MAX) && sizes.is_sorted()
            }
            (Holds::Word, _) => match words[..] {
                [word] => word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                _ => false,
            },
            _ => false,
        };
        match fits {
            true => Ok(words.join(" ")),
            false => Err(Mistake(holds)),
        }
    }

    fn holds(self) -> Holds {
        let found = LIST.iter().find(|(name, _)| *name == self.0);
        found.map_or(Holds::Word, |(_, holds)| *holds)
    }
}

/// A value that a setting cannot have. Shown, it says what the setting holds: "a number from 1 to 255".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistake(Holds);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Holds::Number(least, most) => write!(f, "a number from {least} to {most}"),
            Holds::Range(least, most) => write!(
                f,
                "two numbers from {least} to {most}, the first not greater than the second"
            ),
            Holds::Sizes => f.write_str(
                "three numbers of bytes in ascending order: minimum, default and maximum",
            ),
            Holds::Word => f.write_str("one word"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, text: &str) -> Result<String, String> {
        let one = Sysctl::named(name).unwrap();
        one.value(text).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn the_list_is_sorted_and_each_is_found_by_its_name() {
        assert!(Sysctl::all().is_sorted());
        assert!(Sysctl::all().all(|one| Sysctl::named(one.name()) == Some(one)));
        assert_eq!(
            Sysctl::named("net/core/somaxconn").unwrap().name(),
            "net.core.somaxconn"
        );
    }

    #[test]
    fn what_makes_a_router_or_is_the_hosts_is_not_in_it() {
        for name in [
            "net.ipv4.ip_forward",
            "net.ipv4.conf.all.forwarding",
            "net.ipv4.conf.all.accept_redirects",
            "net.core.rmem_max",
            "kernel.core_pattern",
            "net.core.somaxconn/../../kernel/core_pattern",
        ] {
            assert_eq!(Sysctl::named(name), None, "{name}");
        }
    }

    #[test]
    fn a_value_is_what_the_setting_holds() {
        assert_eq!(value("net.core.somaxconn", " 65535"), Ok("65535".into()));
        assert_eq!(
            value("net.ipv4.ip_local_port_range", "20000\t30000"),
            Ok("20000 30000".into())
        );
        assert_eq!(value("net.ipv4.ping_group_range", "1 0"), Ok("1 0".into()));
        assert_eq!(
            value("net.ipv4.tcp_congestion_control", "cubic"),
            Ok("cubic".into())
        );
        assert_eq!(
            value("net.ipv4.tcp_rmem", "4096 131072 6291456"),
            Ok("4096 131072 6291456".into())
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_that_says_what_fits() {
        for (name, text, wanted) in [
            (
                "net.ipv4.tcp_keepalive_probes",
                "0",
                "a number from 1 to 255",
            ),
            (
                "net.ipv4.tcp_keepalive_probes",
                "9 9",
                "a number from 1 to 255",
            ),
            (
                "net.ipv4.ip_local_port_range",
                "30000 20000",
                "two numbers from 1 to 65535, the first not greater than the second",
            ),
            (
                "net.ipv4.tcp_rmem",
                "1 2",
                "three numbers of bytes in ascending order: minimum, default and maximum",
            ),
            ("net.ipv4.tcp_congestion_control", "cubic\nreno", "one word"),
            ("net.ipv4.tcp_congestion_control", "", "one word"),
        ] {
            assert_eq!(value(name, text), Err(wanted.into()), "{name} {text:?}");
        }
    }
}
