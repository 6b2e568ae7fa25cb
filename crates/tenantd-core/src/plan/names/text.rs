//! The texts of a tenant's resolv.conf(5) and hosts(5), from those of the host.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::plan::model::LinkPlan;
use crate::plan::traffic::{EgressRule, Outbound, Protocol, Service};

/// The port of name servers.
const DNS: u16 = 53;

/// The most name servers that the C library asks.
const SERVERS_MAX: usize = 3;

/// An option that trusts what a stub of the host has validated.
const TRUST: &str = "trust-ad";

/// What the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNames {
    /// Its resolv.conf(5); empty if there is none.
    pub resolv: String,
    /// Files of the same form, with the servers that a stub of the host asks. The first with one that is no stub counts.
    pub upstreams: Vec<String>,
    /// Its hosts(5); empty if there is none.
    pub hosts: String,
    /// Its name, see gethostname(2).
    pub hostname: String,
    /// Its addresses, without those of loopback.
    pub addresses: BTreeSet<IpAddr>,
}

impl HostNames {
    /// All name servers that are mentioned.
    #[must_use]
    pub fn servers(&self) -> Vec<IpAddr> {
        let texts = self.upstreams.iter().chain([&self.resolv]);
        texts.flat_map(|text| servers(text)).collect()
    }
}

/// The values of all lines with one of these words. Comments are left out.
fn values<'a>(text: &'a str, words: &'a [&str]) -> impl Iterator<Item = Vec<&'a str>> {
    text.lines().filter_map(|line| {
        let mut line = line.split_whitespace();
        let word = line.next()?;
        words.contains(&word).then(|| line.collect())
    })
}

/// The name servers of a text. What a resolver does not understand is left out, and a scope of a link is not
/// the tenant's.
fn servers(text: &str) -> Vec<IpAddr> {
    let lines = values(text, &["nameserver"]);
    lines
        .filter_map(|line| line.first()?.parse().ok())
        .collect()
}

/// Whether only the host itself reaches it.
fn is_stub(server: &IpAddr) -> bool {
    server.is_loopback() || server.is_unspecified()
}

/// The name servers that the host asks, its stubs replaced by theirs.
fn of_host(host: &HostNames) -> Vec<IpAddr> {
    let said = servers(&host.resolv);
    let real = |servers: Vec<IpAddr>| -> Vec<IpAddr> {
        servers.into_iter().filter(|it| !is_stub(it)).collect()
    };
    // Without any, it is the stub on 127.0.0.1.
    if !said.is_empty() && !said.iter().any(is_stub) {
        return said;
    }
    let upstreams = host.upstreams.iter().map(|text| real(servers(text)));
    let found = upstreams.into_iter().find(|servers| !servers.is_empty());
    found.unwrap_or_else(|| real(said))
}

/// The name servers that a tenant asks: those of its plan or of the host that it can reach.
#[must_use]
pub fn asked(host: &HostNames, link: &LinkPlan) -> Vec<IpAddr> {
    let names = &link.names;
    let all = names.nameservers.clone().unwrap_or_else(|| of_host(host));
    let reached = all.into_iter().filter(|it| reaches(*it, host, link));
    let mut found: Vec<IpAddr> = reached.take(SERVERS_MAX).collect();
    if found.is_empty() && names.nameservers.is_none() && serves(link) {
        found.push(names.gateway.into());
    }
    found
}

/// Whether the host serves names to the tenant.
fn serves(link: &LinkPlan) -> bool {
    let dns = Service {
        port: DNS,
        protocol: Protocol::Udp,
    };
    !link.names.is_macvlan && (!link.names.is_filtered || link.traffic.host_services.contains(&dns))
}

/// Whether the plan lets a tenant ask a name server.
fn reaches(server: IpAddr, host: &HostNames, link: &LinkPlan) -> bool {
    let (names, traffic) = (&link.names, &link.traffic);
    // In the tenant these are its own.
    if is_stub(&server) || link.addresses.iter().any(|it| it == server) {
        return true;
    }
    if server.is_ipv6() && !link.addresses.iter().any(|it| it.is_ipv6()) {
        return false;
    }
    if !names.is_macvlan && server == names.gateway || host.addresses.contains(&server) {
        return serves(link);
    }
    if !names.is_filtered {
        return true;
    }
    if !names.is_macvlan && IpNetwork::V4(names.subnet).contains(server) {
        let mut named = traffic.peers.named.values();
        return traffic.peers.all || named.any(|peer| peer.iter().any(|it| it == server));
    }
    traffic.outbound != Outbound::None && allows(&traffic.egress, server)
}

/// Whether the first rule that matches allows to ask a server.
fn allows(rules: &[EgressRule], server: IpAddr) -> bool {
    let matches = |rule: &&EgressRule| {
        rule.network.is_none_or(|it| it.contains(server))
            && rule
                .ports
                .is_none_or(|(first, last)| (first..=last).contains(&DNS))
            && rule.protocol.is_none_or(|it| it == Protocol::Udp)
    };
    rules.is_empty() || rules.iter().find(matches).is_some_and(|rule| rule.allow)
}

/// The text of a tenant's resolv.conf(5).
#[must_use]
pub fn resolv_conf(host: &HostNames, link: &LinkPlan) -> String {
    let names = &link.names;
    let mut text = head(link);
    let found = asked(host, link);
    for server in &found {
        let _ = writeln!(text, "nameserver {server}");
    }
    if found.is_empty() {
        text += "# The tenant reaches no name server: nothing answers here, so look-ups fail at once.\n\
                 nameserver 127.0.0.1\n";
    }
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    // The last line of either word counts.
    let search = names.search.clone().unwrap_or_else(|| {
        let last = values(&host.resolv, &["search", "domain"]).last();
        owned(last.unwrap_or_default())
    });
    let options = names.options.clone().unwrap_or_else(|| {
        let all = values(&host.resolv, &["options"]).flatten();
        owned(all.filter(|word| *word != TRUST).collect())
    });
    for (word, values) in [("search", search), ("options", options)] {
        if !values.is_empty() {
            let _ = writeln!(text, "{word} {}", values.join(" "));
        }
    }
    text
}

fn head(link: &LinkPlan) -> String {
    let tenant = link.mark.trim_start_matches("tenantd:");
    format!("# Written by tenantd for {tenant}.\n")
}

/// The names of a tenant of an application, the short one first.
fn names_of(app: &str, tenant: &str) -> Vec<String> {
    let long = format!("{tenant}.{app}");
    match tenant == "localhost" {
        true => vec![long],
        false => vec![tenant.to_owned(), long],
    }
}

/// Whether a name is one that the host has itself: its name, or that with a domain.
fn is_hosts(name: &str, hostname: &str) -> bool {
    let rest = name
        .get(..hostname.len())
        .filter(|first| first.eq_ignore_ascii_case(hostname))
        .map(|first| &name[first.len()..]);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The text of a tenant's hosts(5).
#[must_use]
pub fn hosts(host: &HostNames, link: &LinkPlan) -> String {
    let tenant = link.mark.trim_start_matches("tenantd:");
    let (app, tenant) = tenant.split_once('/').unwrap_or(("", tenant));
    let hostname = Some(host.hostname.as_str());
    let hostname = hostname.filter(|it| !it.is_empty() && *it != "localhost");
    // The names of the host in its order: the first one with a domain is the canonical name.
    let mut of_host: Vec<String> = Vec::new();
    if let Some(hostname) = hostname {
        let all = host.hosts.lines().flat_map(|line| entry(line).1);
        for name in all.chain([hostname]).filter(|it| is_hosts(it, hostname)) {
            if !of_host.iter().any(|it| it == name) {
                of_host.push(name.to_owned());
            }
        }
    }
    let own = names_of(app, tenant);
    let mut lines: Vec<(IpAddr, Vec<String>)> = Vec::new();
    for address in link.addresses.iter() {
        lines.extend((!of_host.is_empty()).then(|| (address, of_host.clone())));
        lines.push((address, own.clone()));
    }
    for (peer, addresses) in &link.traffic.peers.named {
        let names = names_of(app, peer.as_str());
        lines.extend(addresses.iter().map(|address| (address, names.clone())));
    }
    let mut text = head(link);
    for (address, names) in &lines {
        let _ = writeln!(text, "{address} {}", names.join(" "));
    }
    let taken: BTreeSet<&str> = lines
        .iter()
        .flat_map(|(_, names)| names.iter().map(String::as_str))
        .collect();
    let is_taken =
        |name: &str| taken.contains(name) || hostname.is_some_and(|it| is_hosts(name, it));
    let has_localhost = host.hosts.lines().any(|line| {
        let (address, names) = entry(line);
        address == Some("127.0.0.1") && names.contains(&"localhost")
    });
    if !has_localhost {
        text += "127.0.0.1 localhost\n";
    }
    for line in host.hosts.lines() {
        let (address, names) = entry(line);
        let (Some(address), true) = (address, names.iter().any(|name| is_taken(name))) else {
            let _ = writeln!(text, "{line}");
            continue;
        };
        let others: Vec<&str> = names.into_iter().filter(|name| !is_taken(name)).collect();
        if !others.is_empty() {
            let _ = writeln!(text, "{address} {}", others.join(" "));
        }
    }
    text
}

/// The address and the names of a line of hosts(5).
fn entry(line: &str) -> (Option<&str>, Vec<&str>) {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    (words.next(), words.collect())
}
