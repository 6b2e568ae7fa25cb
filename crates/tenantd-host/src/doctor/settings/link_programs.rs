//! Programs that configure every link that appears, unless a file tells them not to. tenantd's package has these
//! files; who installed tenantd without it may lack them.

use std::fs;
use std::path::Path;

use crate::doctor::{Finding, Grade};

/// A program that configures links.
struct LinkProgram {
    /// Its name in proc_pid_comm(5), which has 15 bytes at most.
    comm: &'static str,
    name: &'static str,
    /// The files that tell it to leave the links of tenants alone.
    files: &'static [&'static str],
    /// How to make one, if none is there.
    fix: &'static str,
}

const PROGRAMS: [LinkProgram; 4] = [
    LinkProgram {
        comm: "NetworkManager",
        name: "NetworkManager",
        files: &[
            "/usr/lib/NetworkManager/conf.d/10-tenantd.conf",
            "/etc/NetworkManager/conf.d/10-tenantd.conf",
        ],
        fix: "printf '[device-tenantd]\\nmatch-device=interface-name:td*,interface-name:tg*\\nmanaged=0\\n' \
              >/etc/NetworkManager/conf.d/10-tenantd.conf",
    },
    LinkProgram {
        comm: "systemd-network",
        name: "systemd-networkd",
        files: &[
            "/usr/lib/systemd/network/10-tenantd.network",
            "/etc/systemd/network/10-tenantd.network",
        ],
        fix: "printf '[Match]\\nName=td* tg*\\n[Link]\\nUnmanaged=yes\\n' >/etc/systemd/network/10-tenantd.network",
    },
    LinkProgram {
        comm: "dhcpcd",
        name: "dhcpcd",
        files: &[],
        fix: "echo 'denyinterfaces td* tg*' >>/etc/dhcpcd.conf",
    },
    LinkProgram {
        comm: "connmand",
        name: "ConnMan",
        files: &[],
        fix: "printf '[General]\\nNetworkInterfaceBlacklist=td,tg\\n' >>/etc/connman/main.conf",
    },
];

/// The line of a configuration file that names the links of tenants.
const NAMED: [(&str, &str, &str); 2] = [
    ("dhcpcd", "/etc/dhcpcd.conf", "denyinterfaces"),
    (
        "connmand",
        "/etc/connman/main.conf",
        "NetworkInterfaceBlacklist",
    ),
];

/// Programs that run and may take the links of tenants for their own.
#[must_use]
pub fn link_programs() -> Vec<Finding> {
    let running = running();
    let exists = |path: &str| Path::new(path).exists();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let runs = |comm: &str| running.iter().any(|one| one == comm);
    found(runs, exists, text)
}

fn found(
    runs: impl Fn(&str) -> bool,
    exists: impl Fn(&str) -> bool,
    text: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let running = PROGRAMS.iter().filter(|one| runs(one.comm));
    let is_told = |one: &LinkProgram| {
        let by_file = one.files.iter().any(|path| exists(path));
        let mut named = NAMED.iter().filter(|(comm, ..)| *comm == one.comm);
        let by_line = named.any(|(_, path, key)| {
            let text = text(path);
            text.lines()
                .any(|line| line.trim_start().starts_with(key) && line.contains("td"))
        });
        by_file || by_line
    };
    let findings = running.map(|one| match is_told(one) {
        true => {
            let found = format!("{} runs, and leaves the links of tenants alone", one.name);
            Finding::new(Grade::Good, "links", found)
        }
        false => {
            let found = format!(
                "{} runs, and may change or remove the links of tenants",
                one.name
            );
            let fix = format!("{}, then restart it", one.fix);
            Finding::new(Grade::Weak, "links", found).fix(fix)
        }
    });
    findings.collect()
}

/// The names of all processes of the host. One that ends meanwhile is left out.
fn running() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    });
    let comms = pids.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    comms.map(|comm| comm.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_told_is_said_with_the_line_that_tells_it() {
        let nothing = |_: &str| false;
        let empty = |_: &str| String::new();
        assert_eq!(found(nothing, nothing, empty), []);
        let all = found(|_| true, nothing, empty);
        assert_eq!(all.len(), PROGRAMS.len());
        assert!(
            all.iter()
                .all(|one| one.grade == Grade::Weak && one.fix.is_some())
        );
    }

    #[test]
    fn a_program_that_is_told_is_good() {
        let nothing = |_: &str| false;
        let empty = |_: &str| String::new();
        let file = |path: &str| path == "/usr/lib/systemd/network/10-tenantd.network";
        let one = found(|comm| comm == "systemd-network", file, empty);
        assert_eq!(one[0].grade, Grade::Good);
        let line = |path: &str| match path {
            "/etc/dhcpcd.conf" => "# denyinterfaces eth0\ndenyinterfaces td* tg*\n".to_owned(),
            _ => String::new(),
        };
        assert_eq!(
            found(|comm| comm == "dhcpcd", nothing, line)[0].grade,
            Grade::Good
        );
        let comment = |_: &str| "#denyinterfaces td*\n".to_owned();
        assert_eq!(
            found(|comm| comm == "dhcpcd", nothing, comment)[0].grade,
            Grade::Weak
        );
    }

    #[test]
    fn the_names_are_as_long_as_the_kernel_keeps_them() {
        assert!(PROGRAMS.iter().all(|one| one.comm.len() <= 15));
    }

    #[test]
    fn the_package_has_the_files_that_are_looked_for() {
        let package = include_str!("../../../../../Cargo.toml");
        for path in PROGRAMS.iter().filter_map(|one| one.files.first()) {
            assert!(package.contains(&format!("dest = \"{path}\"")), "{path}");
        }
    }
}
