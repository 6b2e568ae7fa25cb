//! Strings with placeholders such as `{tenant}`.
//!
//! A template is checked when the manifest is read, so that expanding it later cannot fail.

use std::ops::Range;

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The application's name.
    App,
    /// The folder of the manifest.
    ManifestDir,
    /// The path at which the program finds its data.
    Datastore,
    /// The tenant's name.
    Tenant,
    /// The tenant's address.
    Ip,
    /// The host's address as the tenant sees it.
    Gateway,
}

impl Slot {
    /// The word between the braces.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Slot::App => "app",
            Slot::ManifestDir => "manifest_dir",
            Slot::Datastore => "datastore",
            Slot::Tenant => "tenant",
            Slot::Ip => "ip",
            Slot::Gateway => "gateway",
        }
    }

    /// Formats placeholders as a list such as `{app}, {tenant}`.
    #[must_use]
    pub fn list(slots: &[Slot]) -> String {
        let braced: Vec<String> = slots.iter().map(|s| format!("{{{}}}", s.word())).collect();
        braced.join(", ")
    }
}

/// Placeholders of values that are the same for all tenants.
pub const OF_APP: &[Slot] = &[Slot::App, Slot::ManifestDir];

/// Placeholders of values that are the same for all tenants and may name the datastore's path.
pub const OF_PROGRAM: &[Slot] = &[Slot::App, Slot::ManifestDir, Slot::Datastore];

/// Placeholders of a tenant's `datastore`.
pub const OF_TENANT: &[Slot] = &[Slot::App, Slot::ManifestDir, Slot::Tenant];

/// Placeholders of all other values of a tenant.
pub const ALL: &[Slot] = &[
    Slot::App,
    Slot::ManifestDir,
    Slot::Datastore,
    Slot::Tenant,
    Slot::Ip,
    Slot::Gateway,
];

/// A string whose placeholders have been parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Slot(Slot),
}

/// Why a string is not a valid template, and which of its bytes are the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A word in braces that is not an available placeholder.
    #[error("the placeholder `{{{word}}}` is not available here")]
    Unknown {
        /// The word.
        word: String,
        /// Its position, with the braces.
        at: Range<usize>,
    },
    /// An unmatched brace.
    #[error("unmatched `{brace}`")]
    Alone {
        /// The brace.
        brace: char,
        /// Its position.
        at: Range<usize>,
    },
}

impl TemplateError {
    /// The range of bytes that is wrong.
    #[must_use]
    pub fn at(&self) -> &Range<usize> {
        match self {
            TemplateError::Unknown { at, .. } | TemplateError::Alone { at, .. } => at,
        }
    }
}

impl Template {
    /// Parses the placeholders. `{{` and `}}` stand for a literal brace.
    ///
    /// # Errors
    /// The first placeholder that is not in `allowed`, or the first unmatched brace.
    pub fn parse(text: &str, allowed: &[Slot]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(brace) = text[at..].chars().next() {
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(brace);
                at += 2;
                continue;
            }
            if brace == '}' {
                return Err(TemplateError::Alone {
                    brace,
                    at: at..at + 1,
                });
            }
            if brace != '{' {
                plain.push(brace);
                at += brace.len_utf8();
                continue;
            }
            let slot = slot_at(text, at, allowed)?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Slot(slot));
            at += slot.word().len() + 2;
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// Whether the string has this placeholder.
    #[must_use]
    pub fn has(&self, slot: Slot) -> bool {
        self.parts.contains(&Part::Slot(slot))
    }

    /// Returns the string with each placeholder replaced by its value.
    #[must_use]
    pub fn fill(&self, value: impl Fn(Slot) -> String) -> String {
        let filled = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Slot(slot) => value(*slot),
        });
        filled.collect()
    }
}

fn slot_at(text: &str, at: usize, allowed: &[Slot]) -> Result<Slot, TemplateError> {
    let Some(end) = text[at..].find('}').map(|len| at + len) else {
        return Err(TemplateError::Alone {
            brace: '{',
            at: at..at + 1,
        });
    };
    let word = &text[at + 1..end];
    let found = allowed.iter().find(|slot| slot.word() == word);
    found.copied().ok_or_else(|| TemplateError::Unknown {
        word: word.to_owned(),
        at: at..end + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_slots_and_keeps_braces() {
        let template = Template::parse("{{{tenant}}} at {ip}:80 ü", ALL).unwrap();
        let filled = template.fill(|slot| slot.word().to_uppercase());
        assert_eq!(filled, "{TENANT} at IP:80 ü");
    }

    #[test]
    fn filled_values_are_not_expanded_again() {
        let template = Template::parse("{app}", ALL).unwrap();
        assert_eq!(template.fill(|_| "{tenant}".to_owned()), "{tenant}");
    }

    #[test]
    fn errors_name_the_invalid_bytes() {
        let wrong = |text: &str, slots| {
            let at = Template::parse(text, slots).unwrap_err().at().clone();
            text[at].to_owned()
        };
        assert_eq!(wrong("ü {tennant} {x}", ALL), "{tennant}");
        assert_eq!(wrong("a {ip}", OF_APP), "{ip}");
        assert_eq!(wrong("a } b", ALL), "}");
        assert_eq!(wrong("a { b", ALL), "{");
        assert_eq!(wrong("{", ALL), "{");
    }
}
