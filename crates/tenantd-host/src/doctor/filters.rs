//! Chains of other programs (Docker, ufw, firewalld, an operator) that refuse packets of tenants which the host
//! forwards, and the line that makes them accept.
//!
//! Their chains are asked after the application's own, and a packet that one of them refuses is lost. Nothing is
//! changed.

mod judge;
mod nft;
mod xtables;

use rustix::io::Errno;

use super::{Finding, Grade};
use judge::{PACKETS, Packet, Rule, refuses};
use nft::{Chain, Found};
use tenantd_core::plan::derive;

const SUBJECT: &str = "forwarded packets";

/// The chain in which Docker leaves room for rules of others. It comes first.
const DOCKER_USER: &str = "DOCKER-USER";

/// The table of firewalld.
const FIREWALLD: &str = "firewalld";

/// Puts the links of tenants into the zone whose packets are accepted, now and permanently. A `+` at the end stands
/// for any text, as in iptables(8).
const TRUST: &str = "for o in '' --permanent; do for i in td+ tg+; do firewall-cmd $o --zone=trusted \
                     --add-interface=$i; done; done";

/// What the firewalls of this network namespace do with packets of tenants. Empty if there is none, or the host's own
/// rules accept them all.
#[must_use]
pub fn filters() -> Vec<Finding> {
    let of_nft = match nft::read() {
        Ok(found) => of_nft(&found),
        Err(error) => match error.raw_os_error() {
            // The kernel has no nf_tables.
            Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::ENOENT | libc::EINVAL) => {
                Vec::new()
            }
            _ => vec![unread("nf_tables", &error)],
        },
    };
    let xtables = xtables::FAMILIES.iter();
    let of_xtables = xtables.filter_map(|family| match xtables::read(family) {
        Ok(table) => of_xtables(family.program, &table?),
        // The kernel does not have it any more.
        Err(Errno::NOPROTOOPT) => None,
        Err(errno) => Some(unread(family.program, &errno)),
    });
    of_nft.into_iter().chain(of_xtables).collect()
}

fn unread(what: &str, error: &dyn std::fmt::Display) -> Finding {
    let found = format!("the rules of {what} cannot be read: {error}");
    Finding::new(Grade::Weak, SUBJECT, found)
}

fn of_nft(found: &Found) -> Vec<Finding> {
    let none = Vec::new();
    let chains = found.chains.iter();
    let findings = chains.filter_map(|chain| {
        let of_table = (chain.family, chain.table.clone());
        let rules = found.rules.get(&of_table).unwrap_or(&none);
        let of_firewalld = chain.family == "inet" && chain.table == FIREWALLD;
        let refuses = |packet| refuses(rules, &chain.name, chain.policy_refuses, packet);
        let concerned = PACKETS.into_iter().filter(|packet| match packet {
            Packet::From(_) => true,
            // It accepts connections that were translated, and others to a tenant are its own business.
            Packet::To(_) => !of_firewalld,
        });
        concerned
            .into_iter()
            .any(refuses)
            .then(|| match of_firewalld {
                true => firewalld(),
                false => refused(&named(chain), &accepting(chain, rules)),
            })
    });
    findings.collect()
}

fn named(chain: &Chain) -> String {
    let Chain {
        family,
        table,
        name,
        ..
    } = chain;
    format!("the chain {name} of the nftables table {family} {table}")
}

/// The commands that make a chain of nf_tables accept what comes from tenants or goes to them. The tables of
/// iptables-nft(8) are changed with it: it cannot read rules with groups of links that nft(8) has made.
fn accepting(chain: &Chain, rules: &[Rule]) -> String {
    let Chain {
        family,
        table,
        name,
        ..
    } = chain;
    let program = match (*family, table.as_str()) {
        ("ip", "filter") => "iptables-nft",
        ("ip6", "filter") => "ip6tables-nft",
        _ => {
            let groups = derive::GROUPS;
            let one = |side| {
                format!(
                    "nft insert rule {family} {table} {name} meta {side}group and 0xffff0000 == {groups:#x} accept"
                )
            };
            return format!("{} && {}", one("iif"), one("oif"));
        }
    };
    by_iptables(program, has_docker_user(rules))
}

fn has_docker_user(rules: &[Rule]) -> bool {
    let chains = rules.iter().map(|rule| rule.chain.as_str());
    chains.into_iter().any(|chain| chain == DOCKER_USER)
}

fn by_iptables(program: &str, has_docker_user: bool) -> String {
    let chain = match has_docker_user {
        true => DOCKER_USER,
        false => "FORWARD",
    };
    let groups = derive::GROUPS;
    let one = |side| {
        format!("{program} -I {chain} -m devgroup --{side}-group {groups:#x}/0xffff0000 -j ACCEPT")
    };
    format!("{} && {}", one("src"), one("dst"))
}

fn of_xtables(program: &str, table: &xtables::Table) -> Option<Finding> {
    let refuses = |packet| refuses(&table.rules, "FORWARD", table.policy_refuses, packet);
    PACKETS.into_iter().any(refuses).then(|| {
        let chain = format!("the chain FORWARD of {program}");
        refused(&chain, &by_iptables(program, has_docker_user(&table.rules)))
    })
}

fn refused(chain: &str, fix: &str) -> Finding {
    let found = format!(
        "{chain} refuses what it does not know, so other hosts and tenants do not reach what `outbound`, `publish` \
         and `peers` allow; keep the rules where that program or the boot finds them"
    );
    Finding::new(Grade::Weak, SUBJECT, found).fix(fix)
}

fn firewalld() -> Finding {
    let found = "firewalld refuses what tenants send to others, and to services of the host: their links are in no \
                 zone that accepts it. With `outbound = \"routed\"`, others reach tenants only by a policy of \
                 firewalld, see firewalld.policies(5)";
    Finding::new(Grade::Weak, SUBJECT, found).fix(TRUST)
}

#[cfg(test)]
mod tests {
    use super::judge::Verdict;
    use super::*;

    fn docker(with_user_chain: bool) -> Found {
        let jump = Rule {
            chain: "FORWARD".into(),
            conditions: Vec::new(),
            verdict: Verdict::Jump(DOCKER_USER.into()),
        };
        let back = Rule {
            chain: DOCKER_USER.into(),
            verdict: Verdict::Return,
            ..jump.clone()
        };
        let rules = match with_user_chain {
            true => vec![jump, back],
            false => Vec::new(),
        };
        Found {
            chains: vec![Chain {
                family: "ip",
                table: "filter".into(),
                name: "FORWARD".into(),
                policy_refuses: true,
            }],
            rules: [(("ip", "filter".to_owned()), rules)].into(),
        }
    }

    fn fix(found: &Found) -> String {
        of_nft(found).remove(0).fix.unwrap()
    }

    #[test]
    fn docker_gets_rules_in_its_chain_for_users() {
        let line = "iptables-nft -I DOCKER-USER -m devgroup --src-group 0x7e4a0000/0xffff0000 -j ACCEPT && \
                    iptables-nft -I DOCKER-USER -m devgroup --dst-group 0x7e4a0000/0xffff0000 -j ACCEPT";
        assert_eq!(fix(&docker(true)), line);
        assert_eq!(fix(&docker(false)), line.replace("DOCKER-USER", "FORWARD"));
    }

    #[test]
    fn other_tables_get_rules_of_nft() {
        let mut found = docker(false);
        found.chains[0].family = "inet";
        found.chains[0].table = "mine".into();
        assert_eq!(
            fix(&found),
            "nft insert rule inet mine FORWARD meta iifgroup and 0xffff0000 == 0x7e4a0000 accept && \
             nft insert rule inet mine FORWARD meta oifgroup and 0xffff0000 == 0x7e4a0000 accept"
        );
    }

    #[test]
    fn a_policy_that_accepts_is_not_said() {
        let mut found = docker(true);
        found.chains[0].policy_refuses = false;
        assert_eq!(of_nft(&found), []);
    }
}
