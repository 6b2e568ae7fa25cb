//! Names and patterns as typed, and the tenants that they mean.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::AppStatus;
use tenantd_core::name::{AppName, NameError, TenantName};

/// A tenant's name, or a pattern of names: `*` is any text, `?` one character, `[a-f]` one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// The name of a tenant.
    Name(TenantName),
    /// A pattern.
    Glob(String),
}

impl FromStr for NamePattern {
    type Err = NameError;

    fn from_str(typed: &str) -> Result<Self, NameError> {
        if !typed.contains(['*', '?', '[']) {
            return typed.parse().map(Self::Name);
        }
        let is_allowed = |c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '*' | '?' | '[' | ']' | '!');
        match typed.chars().find(|c| !is_allowed(*c)) {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(Self::Glob(typed.to_owned())),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Glob(pattern) => write!(f, "'{pattern}'"),
        }
    }
}

impl NamePattern {
    fn is_match(&self, name: &TenantName) -> bool {
        match self {
            Self::Name(exact) => exact == name,
            Self::Glob(pattern) => is_match(pattern.as_bytes(), name.as_str().as_bytes()),
        }
    }
}

/// Names consist of ASCII characters, so bytes are characters.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| is_match(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, name @ ..]) => is_match(rest, name),
        ([b'[', rest @ ..], [first, name @ ..]) => match one_of(rest, *first) {
            Some((found, rest)) => found && is_match(rest, name),
            None => *first == b'[' && is_match(rest, name),
        },
        ([wanted, rest @ ..], [first, name @ ..]) => wanted == first && is_match(rest, name),
        (_, []) | ([], _) => false,
    }
}

/// Whether a character is in the set that `pattern` begins with, and the pattern after it. `None` if
/// the set has no end.
fn one_of(pattern: &[u8], character: u8) -> Option<(bool, &[u8])> {
    let end = pattern.iter().position(|c| *c == b']')?;
    let (set, rest) = (&pattern[..end], &pattern[end + 1..]);
    let (negated, mut set) = match set {
        [b'!', set @ ..] => (true, set),
        set => (false, set),
    };
    let mut found = false;
    while let [first, after @ ..] = set {
        let (last, after) = match after {
            [b'-', last, after @ ..] => (last, after),
            after => (first, after),
        };
        found |= (*first..=*last).contains(&character);
        set = after;
    }
    Some((found != negated, rest))
}

/// Names and patterns that mean no tenant. Nothing was done to any tenant.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.text())]
pub(super) struct NoSuchTenants(Unmatched);

#[derive(Debug)]
struct Unmatched {
    app: AppName,
    /// Each with the nearest name, if one is near.
    typed: Vec<(NamePattern, Option<TenantName>)>,
}

impl Unmatched {
    fn text(&self) -> String {
        let app = &self.app;
        let all = format!("`{}` lists the tenants", super::typed(app, "status"));
        let line = |(typed, near): &(NamePattern, Option<TenantName>)| {
            let what = match typed {
                NamePattern::Name(_) => "no such tenant",
                NamePattern::Glob(_) => "no tenant has such a name",
            };
            let near = near.as_ref();
            let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            (format!("{typed}: {what}"), near)
        };
        if let [one] = &self.typed[..] {
            let (what, near) = line(one);
            return match near.is_empty() {
                true => format!("{what} in {app}: {all}"),
                false => format!("{what} in {app}{near} {all}"),
            };
        }
        let lines = self.typed.iter().map(|one| {
            let (what, near) = line(one);
            format!("  {what}{near}\n")
        });
        let lines: String = lines.collect();
        let count = self.typed.len();
        format!("{count} names mean no tenant of {app}, nothing was done:\n{lines}{all}")
    }
}

/// The tenants that are meant, in the order of the status. Nothing typed means all.
pub(super) fn meant(
    status: &AppStatus,
    typed: &[NamePattern],
) -> Result<Vec<TenantName>, NoSuchTenants> {
    let names = || status.tenants.iter().map(|tenant| &tenant.name);
    let is_unmatched = |typed: &&NamePattern| !names().any(|name| typed.is_match(name));
    let unmatched = typed.iter().filter(is_unmatched).map(|typed| {
        let near = match typed {
            NamePattern::Name(name) => nearest(name.as_str(), names()),
            NamePattern::Glob(_) => None,
        };
        (typed.clone(), near.cloned())
    });
    let unmatched: Vec<_> = unmatched.collect();
    if !unmatched.is_empty() {
        return Err(NoSuchTenants(Unmatched {
            app: status.app.clone(),
            typed: unmatched,
        }));
    }
    let is_meant = |name: &&TenantName| typed.is_empty() || typed.iter().any(|t| t.is_match(name));
    Ok(names().filter(is_meant).cloned().collect())
}

/// The status of the tenants that are meant.
pub(super) fn chosen(
    mut status: AppStatus,
    typed: &[NamePattern],
) -> Result<AppStatus, NoSuchTenants> {
    if !typed.is_empty() {
        let meant = meant(&status, typed)?;
        status.tenants.retain(|tenant| meant.contains(&tenant.name));
    }
    Ok(status)
}

/// Asks the supervisor which tenants are meant. Nothing typed means all, and gives an empty list,
/// as on the wire.
pub(super) async fn ask(
    connection: &mut Connection,
    typed: &[NamePattern],
) -> anyhow::Result<Vec<TenantName>> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let status = connection.status(&[]).await?;
    Ok(meant(&status, typed)?)
}

/// The nearest name, if a slip of the fingers explains the difference.
fn nearest<'a, T: Borrow<str> + 'a>(
    typed: &str,
    names: impl Iterator<Item = &'a T>,
) -> Option<&'a T> {
    let distance = |name: &T| strsim::damerau_levenshtein(typed, name.borrow());
    let near = names.min_by_key(|name| distance(name))?;
    let most = (typed.len() / 3).max(1);
    (distance(near) <= most).then_some(near)
}

/// Adds to an error which name may have been meant: a tenant's or an application's.
pub(super) fn explain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(ClientError::UnknownTenant { app, tenant }) => {
            similar_tenant(app, tenant).map_or(error, Into::into)
        }
        Some(ClientError::NotRunning { app, others }) => {
            match nearest(app.as_str(), others.iter()) {
                Some(near) => anyhow::anyhow!("{error}; did you mean `--app {near}`?"),
                None => error,
            }
        }
        Some(_) | None => error,
    }
}

fn similar_tenant(app: &AppName, tenant: &str) -> Option<NoSuchTenants> {
    let typed = tenant.parse().ok()?;
    let asked = super::converse(async { Ok(Connection::open(app).await?.status(&[]).await?) });
    meant(&asked.ok()?, &[typed]).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_meant(typed: &str, name: &str) -> bool {
        let typed: NamePattern = typed.parse().unwrap();
        typed.is_match(&name.parse().unwrap())
    }

    #[test]
    fn patterns_are_those_of_a_shell() {
        assert!(is_meant("*", "shop-1"));
        assert!(is_meant("shop-*", "shop-1"));
        assert!(is_meant("*-*1", "shop-11"));
        assert!(is_meant("shop-?", "shop-1"));
        assert!(!is_meant("shop-?", "shop-11"));
        assert!(!is_meant("shop", "shop-1"));
        assert!(is_meant("shop-[1-3]", "shop-2"));
        assert!(is_meant("shop-[13]", "shop-3"));
        assert!(!is_meant("shop-[!1-3]", "shop-2"));
        assert!(is_meant("shop-[!1-3]*", "shop-42"));
        assert!(!is_meant("shop-[", "shop-1"));
        assert!("../*".parse::<NamePattern>().is_err());
    }

    #[test]
    fn a_slip_of_the_fingers_has_a_nearest_name() {
        let names: Vec<TenantName> = ["acme", "bolt", "shop-1"]
            .map(|n| n.parse().unwrap())
            .into();
        let near = |typed: &str| nearest(typed, names.iter()).map(TenantName::as_str);
        assert_eq!(near("acem"), Some("acme"));
        assert_eq!(near("shop1"), Some("shop-1"));
        assert_eq!(near("cato"), None);
    }
}
