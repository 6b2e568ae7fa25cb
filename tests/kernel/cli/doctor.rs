//! `doctor`: the host's limits and settings, and the number of its tenants.

use super::*;

fn examined(arguments: &[&str]) -> (i32, serde_json::Value) {
    let output = run(&[&["doctor", "--json"], arguments].concat());
    let whole = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), whole)
}

fn finding<'a>(whole: &'a serde_json::Value, subject: &str) -> &'a serde_json::Value {
    let findings = whole["findings"].as_array().unwrap();
    let mut found = findings.iter().filter(|one| one["subject"] == subject);
    let only = found.next();
    only.unwrap_or_else(|| panic!("no finding about {subject}: {whole}"))
}

#[test]
fn the_tenants_of_running_applications_are_counted() {
    support::enter();
    let count = || examined(&[]).1["tenants"].as_u64().unwrap();
    // Manifests of the machine's own are counted too.
    let others = count();
    Script::new().serve();
    assert_eq!(count(), others + 2);
}

#[test]
fn too_many_tenants_are_said_with_commands_that_make_room() {
    support::enter();
    let (code, whole) = examined(&["--tenants", "4000000"]);
    assert_eq!(code, 1, "the descriptors do not suffice");
    assert_eq!(finding(&whole, "descriptors")["grade"], "bad");
    let processes = finding(&whole, "processes");
    assert_eq!(processes["grade"], "weak");
    let fix = processes["fix"].as_str().unwrap();
    assert_eq!(fix, "sysctl -w kernel.pid_max=33554432");

    let output = run(&["doctor", "--tenants", "4000000"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("\n  mend it: {fix}\n")), "{text}");
    let sum = text.lines().last().unwrap();
    assert!(sum.starts_with("4000000 tenants on this host: "), "{sum}");
}

#[test]
fn settings_of_the_network_are_those_of_the_host() {
    support::enter();
    let path = "/proc/sys/net/ipv4/ip_forward";
    for (value, begin) in [("0", "off for IPv4"), ("1", "on for IPv4")] {
        std::fs::write(path, value).unwrap();
        let (_, whole) = examined(&[]);
        let found = finding(&whole, "forwarding")["found"].as_str().unwrap();
        assert!(found.starts_with(begin), "{found}");
    }
}
