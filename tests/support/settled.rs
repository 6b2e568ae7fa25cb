//! When the IPv6 addresses of a test host are complete.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Waits until each IPv6 address of the test host has its local route. The kernel adds that route from a work queue,
/// after ip(8) has returned, and once no other machine was found to have the address: a list of the routes made before that
/// lacks some.
///
/// # Panics
/// After ten seconds.
pub fn settled() {
    super::until("each IPv6 address has its local route", || {
        let links = list(&["-6", "address", "show"]);
        let routes = list(&["-6", "route", "show", "table", "all", "type", "local"]);
        let routes: BTreeSet<&str> = routes.iter().filter_map(|it| it["dst"].as_str()).collect();
        let mut addresses = links.iter().filter(|it| is_up(it)).flat_map(addresses);
        addresses.all(|it| it["local"].as_str().is_some_and(|it| routes.contains(it)))
    });
}

/// Whether a link has a carrier: without one, an address waits for it.
fn is_up(link: &Value) -> bool {
    let flags = link["flags"].as_array();
    flags.is_some_and(|flags| flags.iter().any(|flag| flag == "LOWER_UP"))
}

fn addresses(link: &Value) -> impl Iterator<Item = &Value> {
    link["addr_info"].as_array().into_iter().flatten()
}

/// The list that `ip -j` prints with these arguments.
fn list(words: &[&str]) -> Vec<Value> {
    let output = Command::new("ip").arg("-j").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {output:?}");
    match output.stdout.trim_ascii() {
        [] => Vec::new(),
        text => serde_json::from_slice(text).unwrap(),
    }
}
