//! Patterns for names of tenants, as they are typed: `*` is any text, `?` is one character.
//!
//! A pattern is compared with the names that a supervisor reports, on the client's side: the
//! protocol knows names only.

use std::fmt;
use std::str::FromStr;

use tenantd_core::name::{NameError, TenantName};

/// The most edits (insertion, removal, change, or two characters swapped) between a typed name and
/// one that is suggested for it.
const EDITS_MAX: usize = 2;

/// The name of a tenant, or a pattern for names, as `shop-*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern for all names.
    #[must_use]
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// The text as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, if the text has neither `*` nor `?`.
    #[must_use]
    pub fn name(&self) -> Option<TenantName> {
        // A name has neither of both.
        self.0.parse().ok()
    }

    /// Whether a name is meant.
    #[must_use]
    pub fn matches(&self, name: &TenantName) -> bool {
        matches(self.0.as_bytes(), name.as_str().as_bytes())
    }
}

/// Goes back to the last `*` only, which is enough, so that the work is at most the product of both
/// lengths. All characters of both are ASCII.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The place after the last `*`, and the part of the name that it stands for ends here.
    let mut last: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), last) {
            (Some(b'*'), _) => {
                last = Some((p + 1, n));
                p += 1;
            }
            (Some(&c), _) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            (_, Some((after, end))) => {
                last = Some((after, end + 1));
                (p, n) = (after, end + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

impl FromStr for Pattern {
    type Err = NameError;

    /// A text without `*` and `?` must be a valid name. A pattern may have only them and the
    /// characters of names, because no other name exists.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if !text.contains(['*', '?']) {
            text.parse::<TenantName>()?;
        }
        let is_allowed = |c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '*' | '?');
        match text.chars().find(|&c| !is_allowed(c)) {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl From<TenantName> for Pattern {
    fn from(name: TenantName) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The patterns that match no name. Each has the name that comes nearest, if one is near.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", said(.0))]
pub struct Unmatched(pub Vec<(Pattern, Option<TenantName>)>);

fn said(unmatched: &[(Pattern, Option<TenantName>)]) -> String {
    let one = |(pattern, near): &(Pattern, Option<TenantName>)| match (pattern.name(), near) {
        (None, _) => format!("{pattern}: no tenant matches"),
        (Some(_), None) => format!("{pattern}: no such tenant"),
        (Some(_), Some(near)) => format!("{pattern}: no such tenant, did you mean `{near}`?"),
    };
    unmatched.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Returns the tenants that are meant, out of all `names`: each once, in the order of the patterns,
/// and in the order of `names` for each.
///
/// # Errors
/// All patterns that match no name, each once.
pub fn resolve(names: &[TenantName], patterns: &[Pattern]) -> Result<Vec<TenantName>, Unmatched> {
    let (mut meant, mut unmatched) = (Vec::new(), Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    for pattern in patterns {
        let mut is_unmatched = true;
        for name in names.iter().filter(|name| pattern.matches(name)) {
            is_unmatched = false;
            if seen.insert(name.as_str()) {
                meant.push(name.clone());
            }
        }
        if is_unmatched && unmatched.iter().all(|(known, _)| known != pattern) {
            let typed = pattern.name();
            let near = typed.and_then(|typed| nearest(typed.as_str(), names));
            unmatched.push((pattern.clone(), near.cloned()));
        }
    }
    match unmatched.is_empty() {
        true => Ok(meant),
        false => Err(Unmatched(unmatched)),
    }
}

/// The name that comes nearest to a typed one, if a slip of the hand explains the difference. Of
/// several, the first.
pub fn nearest<'a, T: AsRef<str>>(
    typed: &str,
    names: impl IntoIterator<Item = &'a T>,
) -> Option<&'a T> {
    let most = EDITS_MAX.min(typed.chars().count() / 2);
    let distance = |name: &&T| strsim::damerau_levenshtein(typed, name.as_ref());
    let names = names.into_iter().map(|name| (distance(&name), name));
    let near = names.min_by_key(|(distance, _)| *distance);
    near.and_then(|(distance, name)| (distance <= most).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<TenantName> {
        text.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    fn patterns(text: &str) -> Vec<Pattern> {
        text.split(' ')
            .map(|typed| typed.parse().unwrap())
            .collect()
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, name, expected) in [
            ("acme", "acme", true),
            ("acme", "acm", false),
            ("acm", "acme", false),
            ("shop-*", "shop-1", true),
            ("shop-*", "shop", false),
            ("shop*", "shop", true),
            ("*", "a", true),
            ("**", "a", true),
            ("*-x", "a-x-x", true),
            ("*-x", "a-x-y", false),
            ("a*b*c", "a-b-b-c-c", true),
            ("a*b*c", "a-c-b", false),
            ("shop-?", "shop-1", true),
            ("shop-?", "shop-12", false),
            ("shop-??", "shop-1", false),
            ("?*", "a", true),
            ("?", "a", true),
            ("*a?", "aaab", true),
        ] {
            let typed: Pattern = pattern.parse().unwrap();
            assert_eq!(
                typed.matches(&name.parse().unwrap()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_pattern_that_takes_long_elsewhere_does_not() {
        let pattern: Pattern = format!("{}b", "a*".repeat(31)).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(63).parse().unwrap()));
    }

    #[test]
    fn what_no_name_has_is_refused() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error("Acme"), NameError::Character { found: 'A' });
        assert_eq!(error("-acme"), NameError::Edge);
        assert_eq!(error("shop-[12]*"), NameError::Character { found: '[' });
        assert_eq!("shop-*".parse::<Pattern>().unwrap().name(), None);
        let exact: Pattern = "acme".parse().unwrap();
        assert_eq!(exact.name(), Some("acme".parse().unwrap()));
    }

    #[test]
    fn each_tenant_is_meant_once_in_the_order_that_was_typed() {
        let all = names("shop-2 acme shop-1 beta");
        let meant = |text| resolve(&all, &patterns(text)).unwrap();
        assert_eq!(
            meant("beta shop-* acme shop-1"),
            names("beta shop-2 shop-1 acme")
        );
        assert_eq!(meant("*"), all);
        assert_eq!(resolve(&all, &[]), Ok(Vec::new()));
    }

    #[test]
    fn all_that_match_nothing_are_reported_with_the_nearest_name() {
        let all = names("acme beta shop-1");
        let error = resolve(&all, &patterns("acem beta zulu acem shop-1? ab")).unwrap_err();
        let near = |(_, near): &(Pattern, Option<TenantName>)| near.clone();
        assert_eq!(
            error.0.iter().map(near).collect::<Vec<_>>(),
            [Some(all[0].clone()), None, None, None]
        );
        assert_eq!(
            error.to_string(),
            "acem: no such tenant, did you mean `acme`?\n\
             zulu: no such tenant\n\
             shop-1?: no tenant matches\n\
             ab: no such tenant"
        );
    }

    #[test]
    fn a_suggestion_needs_few_edits() {
        let words = ["status", "stop", "start"];
        let near = |typed| nearest(typed, &words).copied();
        assert_eq!(near("statsu"), Some("status"));
        assert_eq!(near("stat"), Some("start"));
        assert_eq!(near("enable"), None);
        assert_eq!(near("s"), None);
        assert_eq!(nearest("x", &[] as &[&str]), None);
    }
}
