//! What an operator types of hosts.

use std::fmt;
use std::str::FromStr;

use crate::name::{NameError, TenantName};

/// The name of a host in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tenants whose data is on one host alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The host.
    pub host: HostName,
    /// The tenants.
    pub tenants: Vec<TenantName>,
}

/// How much of a host its tenants may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// The host.
    pub host: HostName,
    /// Memory in MiB.
    pub memory: u64,
    /// Processor time in hundredths of a processor.
    pub cpu: u64,
}

/// Why what was typed of a host cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not of the form `HOST=...`.
    #[error("expected HOST={0}")]
    Form(&'static str),
    /// A name with other characters, or a wrong length.
    #[error(
        "{0:?} is no name of a host: use letters, digits, '.', '_' and '-', and begin with a letter or a digit"
    )]
    Host(String),
    /// A wrong name of a tenant.
    #[error("{0:?}: {1}")]
    Tenant(String, NameError),
    /// Not a size of memory.
    #[error("{0:?} is no size of memory: write it as 64GiB or 512MiB")]
    Memory(String),
    /// Not a number of processors.
    #[error("{0:?} is no number of processors from 1 to 65536")]
    Processors(String),
}

impl FromStr for HostName {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        match begins && text.chars().all(is_good) && text.len() <= 253 {
            true => Ok(Self(text.to_owned())),
            false => Err(Unusable::Host(text.to_owned())),
        }
    }
}

impl FromStr for Local {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        let (host, tenants) = text
            .split_once('=')
            .ok_or(Unusable::Form("TENANT[,TENANT]..."))?;
        let tenant = |name: &str| {
            name.parse()
                .map_err(|why| Unusable::Tenant(name.to_owned(), why))
        };
        Ok(Self {
            host: host.parse()?,
            tenants: tenants.split(',').map(tenant).collect::<Result<_, _>>()?,
        })
    }
}

impl FromStr for Size {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        let parts = text
            .split_once('=')
            .and_then(|(host, size)| Some((host, size.split_once(',')?)));
        let (host, (memory, processors)) = parts.ok_or(Unusable::Form("MEMORY,PROCESSORS"))?;
        let host = host.parse()?;
        let processors = processors.parse().ok().filter(|n| (1..=65536).contains(n));
        let cpu: u64 = processors.ok_or_else(|| {
            Unusable::Processors(text.rsplit(',').next().unwrap_or(text).to_owned())
        })?;
        let memory = mebibytes(memory).ok_or_else(|| Unusable::Memory(memory.to_owned()))?;
        Ok(Self {
            host,
            memory,
            cpu: cpu * 100,
        })
    }
}

/// A size in MiB.
fn mebibytes(text: &str) -> Option<u64> {
    let units = [("MiB", 1_u64), ("GiB", 1 << 10), ("TiB", 1 << 20)];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)))?;
    let number: u64 = number.trim().parse().ok()?;
    // Pacemaker counts with numbers of 32 bits.
    number
        .checked_mul(*unit)
        .filter(|size| (1..=i32::MAX.unsigned_abs().into()).contains(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        let size: Size = "db-1.example=64GiB,16".parse().unwrap();
        assert_eq!((size.memory, size.cpu), (65_536, 1_600));
        let local: Local = "h1=acme,bolt".parse().unwrap();
        assert_eq!(
            (local.host.to_string(), local.tenants.len()),
            ("h1".to_owned(), 2)
        );
    }

    #[test]
    fn nothing_special_to_a_shell_or_to_crm_is_a_host() {
        for name in [
            "", "-x", ".x", "a b", "a;b", "$(a)", "a\nEND", "a'", "a\"", "a:", "a\\", "ä", "`a`",
            "a*",
        ] {
            assert!(name.parse::<HostName>().is_err(), "{name:?}");
            assert!(format!("{name}=acme").parse::<Local>().is_err(), "{name:?}");
        }
        for typed in ["h", "h=", "h=A", "h=a,", "h=a b", "h=$(a)"] {
            assert!(typed.parse::<Local>().is_err(), "{typed:?}");
        }
        for typed in [
            "h",
            "h=1GiB",
            "h=1GiB,",
            "h=1,1",
            "h=0GiB,1",
            "h=1GiB,0",
            "h=-1GiB,1",
            "h=1GiB,1.5",
            "h=99999TiB,1",
        ] {
            assert!(typed.parse::<Size>().is_err(), "{typed:?}");
        }
    }
}
