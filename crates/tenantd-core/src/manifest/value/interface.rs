//! Names of interfaces of the host, which are not tenantd's.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{At, Decode};
use crate::manifest::problem::Problems;
use crate::name::IF_NAME_MAX;

/// The name of an interface, as the kernel allows it (`dev_valid_name` and `dev_prep_valid_name` of net/core/dev.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Interface(Arc<str>);

impl Interface {
    /// The name; `None` if no interface can have it.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        let is_wrong = |c: char| "/:%".contains(c) || c.is_whitespace() || c.is_control();
        let is_name = !matches!(text, "" | "." | "..") && text.len() <= IF_NAME_MAX;
        (is_name && !text.chars().any(is_wrong)).then(|| Self(text.into()))
    }

    /// The name as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Decode for Interface {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "the name of an interface")?;
        let interface = Self::named(text);
        if interface.is_none() {
            let message = format!("{text:?} cannot be the name of an interface");
            at.wrong(problems, message);
        }
        interface
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_allows() {
        for good in [
            "eth0",
            "eth0.100",
            "enp0s31f6",
            "Ethernet_1",
            "a23456789012345",
        ] {
            assert_eq!(Interface::named(good).unwrap().as_str(), good);
        }
        for wrong in [
            "",
            ".",
            "..",
            "a/b",
            "a:1",
            "eth%d",
            "a b",
            "a\u{7}",
            "a234567890123456",
        ] {
            assert_eq!(Interface::named(wrong), None, "{wrong:?}");
        }
    }
}
