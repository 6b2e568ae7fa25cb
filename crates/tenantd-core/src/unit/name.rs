//! The name of a service's unit, see systemd.unit(5).

use std::fmt;
use std::path::{Path, PathBuf};

use super::ImportError;

const SUFFIX: &str = ".service";

/// The name of a service, such as `nginx.service` or `postgresql@15-main.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName {
    prefix: String,
    /// Of a template, what follows `@`; empty for the template itself.
    instance: Option<String>,
}

impl UnitName {
    /// A name as an operator types it: `.service` may be missing.
    ///
    /// # Errors
    /// If it is the name of another kind of unit, or of none.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        const OTHERS: [&str; 10] = [
            "socket",
            "timer",
            "target",
            "path",
            "mount",
            "automount",
            "slice",
            "scope",
            "device",
            "swap",
        ];
        let stem = match text.strip_suffix(SUFFIX) {
            Some(stem) => stem,
            None => match text.rsplit_once('.') {
                Some((_, kind)) if OTHERS.contains(&kind) => {
                    return Err(ImportError::NoService(text.to_owned()));
                }
                Some(_) | None => text,
            },
        };
        let (prefix, instance) = match stem.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance.to_owned())),
            None => (stem, None),
        };
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if prefix.is_empty() || !stem.chars().all(is_allowed) {
            return Err(ImportError::NoName(text.to_owned()));
        }
        let prefix = prefix.to_owned();
        Ok(Self { prefix, instance })
    }

    /// What precedes `@` and `.service`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What follows `@`; empty without it.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.instance.as_deref().unwrap_or_default()
    }

    /// Whether this is a template itself, which needs an instance.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.instance.as_deref() == Some("")
    }

    /// The names of the files that may have the unit: its own, and that of its template.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let template = self.instance.is_some() && !self.is_template();
        let template = template.then(|| format!("{}@{SUFFIX}", self.prefix));
        [Some(self.to_string()), template]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The names of the folders with its drop-ins, the least specific first: those of all services, of
    /// those whose names begin with the same words, of its template, its own.
    #[must_use]
    pub fn folders(&self) -> Vec<String> {
        let dashes = self
            .prefix
            .match_indices('-')
            .map(|(at, _)| &self.prefix[..=at]);
        let beginnings = dashes.map(|beginning| format!("{beginning}{SUFFIX}"));
        let names = std::iter::once("service".to_owned()).chain(beginnings);
        let names = names.chain(self.files().into_iter().rev());
        names.map(|name| format!("{name}.d")).collect()
    }

    /// The name of a unit by the path of its file.
    ///
    /// # Errors
    /// See [`UnitName::parse`].
    pub fn of_path(path: &Path) -> Result<Self, ImportError> {
        let name = path.file_name().unwrap_or_default();
        Self::parse(&name.to_string_lossy())
    }

    /// The text with `-` for `/` and `\x2d` for other characters, see systemd-escape(1).
    #[must_use]
    pub fn unescape(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let hex = rest.strip_prefix("\\x").and_then(|rest| rest.get(..2));
            if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                bytes.push(byte);
                rest = &rest[4..];
                continue;
            }
            let c_written = if c == '-' { '/' } else { c };
            bytes.extend(c_written.to_string().bytes());
            rest = &rest[c.len_utf8()..];
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where systemd looks for units, in this order.
    #[must_use]
    pub fn search() -> [PathBuf; 5] {
        [
            "/etc/systemd/system",
            "/run/systemd/system",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ]
        .map(PathBuf::from)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instance {
            Some(instance) => write!(f, "{}@{instance}{SUFFIX}", self.prefix),
            None => write!(f, "{}{SUFFIX}", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_and_folders_of_drop_ins() {
        let name = UnitName::parse("postgresql@15-main").unwrap();
        assert_eq!(name.to_string(), "postgresql@15-main.service");
        assert_eq!((name.prefix(), name.instance()), ("postgresql", "15-main"));
        assert_eq!(
            name.files(),
            ["postgresql@15-main.service", "postgresql@.service"]
        );
        let name = UnitName::parse("php8.2-fpm.service").unwrap();
        assert_eq!(
            name.folders(),
            ["service.d", "php8.2-.service.d", "php8.2-fpm.service.d"]
        );
        assert!(UnitName::parse("postgresql@").unwrap().is_template());
        for bad in ["cups.socket", "", "@x", "a b", "x/y"] {
            assert!(UnitName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instances_are_unescaped() {
        assert_eq!(UnitName::unescape("var-lib-a\\x2db"), "var/lib/a-b");
        assert_eq!(UnitName::unescape("15-main"), "15/main");
        assert_eq!(UnitName::unescape("\\xzz\\x2"), "\\xzz\\x2");
    }
}
