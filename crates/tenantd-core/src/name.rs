//! Validated names. A value of one of these types is always valid and is not checked again.
//!
//! A name becomes part of paths, cgroup folders, interface aliases, log fields and units, so only
//! characters that are safe in all of them are allowed. Clones of a name share its text.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest application name in bytes: the kernel's alias of a link (`IFALIASZ`, 256 bytes)
/// must hold `tenantd:APP/TENANT`, and a person must be able to read it in a table.
pub const APP_NAME_MAX: usize = 32;

/// The longest tenant name in bytes: that of a DNS label (RFC 1035), so that a tenant's name can
/// become its host name.
pub const TENANT_NAME_MAX: usize = 63;

/// The longest interface name in bytes: `IFNAMSIZ` (16) less its NUL, see netdevice(7).
pub const IF_NAME_MAX: usize = 15;

/// Why a string is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("the name is empty")]
    Empty,
    /// The string is longer than the limit.
    #[error("the name has {len} characters, at most {max} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A character that is not allowed.
    #[error("{found:?} is not allowed in a name; use lower-case letters, digits and '-'")]
    Character {
        /// The first such character.
        found: char,
    },
    /// A dash at the beginning or at the end.
    #[error("a name must begin and end with a letter or a digit")]
    Edge,
}

fn check(text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(found) = text
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
    {
        return Err(NameError::Character { found });
    }
    if text.len() > max {
        return Err(NameError::TooLong {
            len: text.len(),
            max,
        });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Edge);
    }
    Ok(())
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as a string slice.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $max)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

checked_name!(
    /// The name of an application: lower-case letters, digits and dashes, at most
    /// [`APP_NAME_MAX`] bytes.
    AppName,
    APP_NAME_MAX
);

checked_name!(
    /// The name of a tenant within its application: lower-case letters, digits and dashes, at
    /// most [`TENANT_NAME_MAX`] bytes.
    TenantName,
    TENANT_NAME_MAX
);

checked_name!(
    /// The name of a network interface: at most [`IF_NAME_MAX`] bytes.
    IfName,
    IF_NAME_MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_valid_names() {
        for good in ["a", "acme", "acme-2", "0a", &"x".repeat(TENANT_NAME_MAX)] {
            assert_eq!(good.parse::<TenantName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn errors_name_the_invalid_character() {
        let error = |text: &str| text.parse::<IfName>().unwrap_err();
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error("../etc"), NameError::Character { found: '.' });
        assert_eq!(error("Acme"), NameError::Character { found: 'A' });
        assert_eq!(error("acme-"), NameError::Edge);
        assert_eq!(error("-acme"), NameError::Edge);
        assert_eq!(
            error("sixteen-letters-"),
            NameError::TooLong { len: 16, max: 15 }
        );
    }

    #[test]
    fn deserialization_checks_names() {
        assert!(serde_json::from_str::<TenantName>("\"a/b\"").is_err());
        let name: TenantName = serde_json::from_str("\"acme\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"acme\"");
    }
}
