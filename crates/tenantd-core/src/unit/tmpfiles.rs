//! The folders that tmpfiles.d(5) makes for a service.

use std::collections::BTreeSet;

use super::Source;
use super::specifier::Specifiers;
use super::words::split;

/// A folder that is made for a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) path: String,
    pub(super) mode: Option<String>,
    pub(super) user: Option<String>,
}

impl Made {
    pub(super) fn at(path: impl Into<String>) -> Self {
        let path = path.into();
        let (mode, user) = (None, None);
        Self { path, mode, user }
    }

    pub(super) fn with_mode(self, mode: Option<&str>) -> Self {
        let mode = mode.map(str::to_owned);
        Self { mode, ..self }
    }
}

/// The folders in the files that are named like a service.
pub(super) fn folders(
    files: &[Source],
    names: &[String],
    specifiers: &Specifiers<'_>,
    unknown: &mut BTreeSet<char>,
) -> Vec<Made> {
    let mut found = Vec::new();
    for file in files {
        let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
        let is_named = |name: &String| {
            stem.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if !names.iter().any(is_named) {
            continue;
        }
        let lines = file.text.lines();
        found.extend(lines.filter_map(|line| folder(line, specifiers, unknown)));
    }
    found
}

fn folder(line: &str, specifiers: &Specifiers<'_>, unknown: &mut BTreeSet<char>) -> Option<Made> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let words = split(line);
    let kind = words.first()?.chars().next()?;
    if !matches!(kind, 'd' | 'D' | 'q' | 'Q' | 'v') {
        return None;
    }
    let path = specifiers.replace(words.get(1)?, unknown);
    let mode = words.get(2).map(|mode| mode.trim_start_matches([':', '~']));
    let is_mode = |mode: &&str| mode.len() >= 3 && mode.chars().all(|c| ('0'..='7').contains(&c));
    // Its owner is that of the host's folder, which is made at each boot.
    Some(Made::at(path).with_mode(mode.filter(is_mode)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::name::UnitName;

    #[test]
    fn folders_of_files_named_like_the_service_are_found() {
        let name = UnitName::parse("pg@15").unwrap();
        let specifiers = Specifiers {
            name: &name,
            host: "h",
        };
        let file = |path: &str, text: &str| Source {
            path: path.into(),
            text: text.to_owned(),
        };
        let text =
            "# d /no\n  d! /run/pg 2775 pg pg - -\nD %S/pg - - -\nf /run/file 0644\nz /x\nd\n";
        let files = [
            file("/usr/lib/tmpfiles.d/pg-common.conf", text),
            file("/usr/lib/tmpfiles.d/pgx.conf", "d /run/other"),
        ];
        let mut unknown = BTreeSet::new();
        let made = folders(&files, &["pg".to_owned()], &specifiers, &mut unknown);
        let run = Made::at("/run/pg").with_mode(Some("2775"));
        assert_eq!(made, [run, Made::at("/var/lib/pg")]);
    }
}
