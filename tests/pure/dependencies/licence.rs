//! Licence expressions, as SPDX defines them.

use std::collections::BTreeSet;

/// Whether the package can be had under these licences alone. An older form of `OR` is `/`.
pub(super) fn is_allowed(text: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let found = any(&mut rest, allowed);
    found == Some(true) && rest.is_empty()
}

fn any(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> Option<bool> {
    let mut found = all(rest, allowed)?;
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        found |= all(rest, allowed)?;
    }
    Some(found)
}

fn all(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> Option<bool> {
    let mut found = one(rest, allowed)?;
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        found &= one(rest, allowed)?;
    }
    Some(found)
}

/// `None` if it is no expression.
fn one(rest: &mut &[&str], allowed: &BTreeSet<&str>) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == "(" {
        let found = any(rest, allowed)?;
        let [")", after @ ..] = *rest else {
            return None;
        };
        *rest = after;
        return Some(found);
    }
    // A licence with an exception is another one.
    if let ["WITH", exception, after @ ..] = *rest {
        *rest = after;
        return Some(allowed.contains(format!("{first} WITH {exception}").as_str()));
    }
    Some(allowed.contains(first))
}

#[test]
fn expressions_are_evaluated() {
    let allowed = BTreeSet::from(["MIT", "Unicode-3.0"]);
    for good in [
        "MIT",
        "GPL-3.0-only OR MIT",
        "Apache-2.0/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "MIT WITH GPL-exception",
        "MIT MIT",
        "(MIT",
        "MIT OR",
        "GPL-3.0-only OR MIT AND Apache-2.0",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
