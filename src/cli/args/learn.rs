//! The arguments of `learn`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use tenantd_core::name::{AppName, TenantName};

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// The arguments of `learn`.
#[derive(Debug, Args)]
pub struct Learn {
    /// Manifest whose program to run, instead of COMMAND
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["command", "output", "name", "user"])]
    pub manifest: Option<PathBuf>,
    /// Tenant of the manifest [default: the first]
    #[arg(requires = "manifest")]
    pub tenant: Option<TenantName>,
    /// End the use after this time, such as 30s, instead of asking for Enter
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub span: Option<Duration>,
    /// Shell command that uses the program, run in the tenant
    #[arg(long = "run", value_name = "COMMAND")]
    pub client: Option<String>,
    /// User of the program [default: root]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Name of the application [default: that of the program]
    #[arg(long, value_name = "NAME")]
    pub name: Option<AppName>,
    /// Most that the program can write, in memory
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub size: Size,
    /// File to write the manifest to, instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Splits a number from its unit.
fn number(typed: &str) -> Result<(u64, &str), String> {
    let end = typed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(typed.len());
    let (number, unit) = typed.split_at(end);
    let number = number
        .parse()
        .map_err(|_| "expected a number with a unit".to_owned())?;
    Ok((number, unit.trim()))
}

pub(super) fn span(typed: &str) -> Result<Duration, String> {
    let (number, unit) = number(typed)?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a time such as 30s or 5m".to_owned()),
    };
    let seconds = number.checked_mul(seconds).ok_or("too long")?;
    Ok(Duration::from_secs(seconds))
}

fn size(typed: &str) -> Result<Size, String> {
    let (number, unit) = number(typed)?;
    let bits = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("expected a size such as 512MiB".to_owned()),
    };
    number
        .checked_mul(1 << bits)
        .map(Size)
        .ok_or_else(|| "too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(span("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(span("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(size("64MiB"), Ok(Size(64 << 20)));
        assert_eq!(size("1 GiB"), Ok(Size(1 << 30)));
        for bad in ["", "s", "30", "5 days"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        assert!(size("99999999999 GiB").is_err());
    }
}
