//! What the chains of another program do with the packets of tenants. Pure: it is told the rules.
//!
//! Only conditions about the links of tenants are known. A rule with any other condition is taken for one that does
//! not match, because nobody can say whether it matches all packets.

use tenantd_core::plan::derive;

/// The most chains that call each other. The kernel has the same limit.
const DEPTH: u32 = 16;

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// The packet comes from a link of this group; the second number is the mask.
    FromGroup(u32, u32),
    /// The packet leaves by a link of this group.
    ToGroup(u32, u32),
    /// The packet comes from a link whose name begins like this.
    FromName(String),
    /// The packet leaves by a link whose name begins like this.
    ToName(String),
    /// Something else.
    Other,
}

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Refuse,
    /// Rules of this chain, and then those after this one.
    Jump(String),
    /// Rules of this chain, and then those after the one that jumped here.
    Goto(String),
    Return,
    Nothing,
}

/// A rule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) chain: String,
    pub(super) conditions: Vec<Condition>,
    pub(super) verdict: Verdict,
}

/// A packet of a tenant that the host forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    /// It comes from a link whose name begins like this.
    From(&'static str),
    /// It goes to one.
    To(&'static str),
}

/// Host ends and hubs, in both directions.
pub(super) const PACKETS: [Packet; 4] = [
    Packet::From(derive::HOST_END),
    Packet::From(derive::HUB),
    Packet::To(derive::HOST_END),
    Packet::To(derive::HUB),
];

/// Whether a chain refuses a packet, by its rules or its policy.
pub(super) fn refuses(rules: &[Rule], chain: &str, policy_refuses: bool, packet: Packet) -> bool {
    match pass(rules, chain, packet, 0) {
        Some(is_accepted) => !is_accepted,
        None => policy_refuses,
    }
}

/// Whether the rules of a chain accept a packet. None if they do not decide.
fn pass(rules: &[Rule], chain: &str, packet: Packet, depth: u32) -> Option<bool> {
    if depth > DEPTH {
        return None;
    }
    let mut matching = rules.iter().filter(|rule| {
        let matches = |condition| matches(condition, packet);
        rule.chain == chain && rule.conditions.iter().all(matches)
    });
    let into = |chain: &str| pass(rules, chain, packet, depth + 1);
    matching.find_map(|rule| match &rule.verdict {
        Verdict::Accept => Some(Some(true)),
        Verdict::Refuse => Some(Some(false)),
        Verdict::Jump(chain) => into(chain).map(Some),
        Verdict::Goto(chain) => Some(into(chain)),
        Verdict::Return => Some(None),
        Verdict::Nothing => None,
    })?
}

fn matches(condition: &Condition, packet: Packet) -> bool {
    let is_group =
        |group: u32, mask: u32| mask & 0xffff_0000 == mask && group & mask == derive::GROUPS & mask;
    match (condition, packet) {
        (Condition::FromGroup(group, mask), Packet::From(_))
        | (Condition::ToGroup(group, mask), Packet::To(_)) => is_group(*group, *mask),
        (Condition::FromName(begin), Packet::From(name))
        | (Condition::ToName(begin), Packet::To(name)) => name.starts_with(begin.as_str()),
        (
            Condition::FromGroup(..)
            | Condition::ToGroup(..)
            | Condition::FromName(_)
            | Condition::ToName(_)
            | Condition::Other,
            _,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(chain: &str, conditions: &[Condition], verdict: Verdict) -> Rule {
        Rule {
            chain: chain.to_owned(),
            conditions: conditions.to_vec(),
            verdict,
        }
    }

    fn refused(rules: &[Rule]) -> Vec<Packet> {
        let all = PACKETS.into_iter();
        all.filter(|packet| refuses(rules, "FORWARD", true, *packet))
            .collect()
    }

    #[test]
    fn a_policy_counts_where_no_rule_decides() {
        assert_eq!(refused(&[]), PACKETS);
        assert!(!refuses(&[], "FORWARD", false, PACKETS[0]));
        let other = rule("FORWARD", &[Condition::Other], Verdict::Accept);
        assert_eq!(refused(&[other]), PACKETS);
    }

    #[test]
    fn rules_for_the_group_of_our_links_accept_in_one_direction_each() {
        let jump = rule("FORWARD", &[], Verdict::Jump("DOCKER-USER".into()));
        let (group, mask) = (derive::GROUPS, 0xffff_0000);
        let from = [Condition::FromGroup(group, mask)];
        let to = [Condition::ToGroup(group, mask)];
        let from = rule("DOCKER-USER", &from, Verdict::Accept);
        let to = rule("DOCKER-USER", &to, Verdict::Accept);
        let back = rule("DOCKER-USER", &[], Verdict::Return);
        assert_eq!(
            refused(&[jump.clone(), from.clone(), back.clone()]),
            PACKETS[2..]
        );
        assert_eq!(
            refused(&[jump.clone(), from.clone(), to.clone(), back.clone()]),
            []
        );
        // Behind a rule that returns, they have no effect, and neither in a chain that no rule names.
        assert_eq!(refused(&[jump, back, from.clone(), to.clone()]), PACKETS);
        assert_eq!(refused(&[from, to]), PACKETS);
    }

    #[test]
    fn the_group_of_one_application_is_not_all_of_them() {
        let one = Condition::FromGroup(derive::GROUPS | 7, u32::MAX);
        assert_eq!(
            refused(&[rule("FORWARD", &[one], Verdict::Accept)]),
            PACKETS
        );
    }

    #[test]
    fn a_chain_that_was_gone_to_does_not_come_back() {
        let name = [Condition::FromName("td".into())];
        let to_trusted = rule("FORWARD", &name, Verdict::Goto("trusted".into()));
        let accept = rule("FORWARD", &[], Verdict::Accept);
        let only_td = refused(&[to_trusted.clone(), accept.clone()]);
        assert_eq!(only_td, [Packet::From("td")]);
        let trusted = rule("trusted", &[], Verdict::Accept);
        assert_eq!(refused(&[to_trusted, accept, trusted]), []);
    }

    #[test]
    fn chains_that_call_each_other_end() {
        let own = rule("FORWARD", &[], Verdict::Jump("FORWARD".into()));
        assert_eq!(refused(&[own]), PACKETS);
    }
}
