//! Specifiers such as `%i`, see systemd.unit(5).

use std::collections::BTreeSet;

use super::name::UnitName;

/// What the specifiers stand for in one unit.
#[derive(Debug, Clone)]
pub(super) struct Specifiers<'u> {
    pub(super) name: &'u UnitName,
    pub(super) host: &'u str,
}

impl Specifiers<'_> {
    /// Replaces the specifiers in a value. Those that are known only on a running system stay, and are
    /// added to `unknown`.
    pub(super) fn replace(&self, text: &str, unknown: &mut BTreeSet<char>) -> String {
        let mut whole = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            whole.push_str(&rest[..at]);
            let Some(letter) = rest[at + 1..].chars().next() else {
                rest = &rest[at..];
                break;
            };
            match self.value(letter) {
                Some(value) => whole.push_str(&value),
                None => {
                    if letter.is_ascii_alphabetic() {
                        unknown.insert(letter);
                    }
                    whole.push('%');
                    whole.push(letter);
                }
            }
            rest = &rest[at + 1 + letter.len_utf8()..];
        }
        whole + rest
    }

    fn value(&self, letter: char) -> Option<String> {
        let last = || self.name.prefix().rsplit('-').next().unwrap_or_default();
        let value = match letter {
            '%' => "%",
            'n' => return Some(self.name.to_string()),
            'N' => {
                return Some(
                    self.name
                        .to_string()
                        .trim_end_matches(".service")
                        .to_owned(),
                );
            }
            'p' => self.name.prefix(),
            'P' => return Some(UnitName::unescape(self.name.prefix())),
            'i' => self.name.instance(),
            'I' => return Some(UnitName::unescape(self.name.instance())),
            'j' => last(),
            'J' => return Some(UnitName::unescape(last())),
            'f' => {
                let part = match self.name.instance() {
                    "" => self.name.prefix(),
                    instance => instance,
                };
                return Some(format!("/{}", UnitName::unescape(part)));
            }
            'H' | 'q' => self.host,
            'l' => self.host.split('.').next().unwrap_or_default(),
            't' => "/run",
            'S' => "/var/lib",
            'C' => "/var/cache",
            'L' => "/var/log",
            'E' => "/etc",
            'T' => "/tmp",
            'V' => "/var/tmp",
            // Of the service manager of the system, not of the service.
            'u' | 'g' => "root",
            'U' | 'G' => "0",
            'h' => "/root",
            's' => "/bin/sh",
            _ => return None,
        };
        Some(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_are_replaced() {
        let name = UnitName::parse("a-pg@15-main").unwrap();
        let host = "db1.example.org";
        let specifiers = Specifiers { name: &name, host };
        let mut unknown = BTreeSet::new();
        let text = "%n %N %p %i %I %j %H %l %t %S %C %L %E %f 100%% %b %ü %";
        assert_eq!(
            specifiers.replace(text, &mut unknown),
            "a-pg@15-main.service a-pg@15-main a-pg 15-main 15/main pg db1.example.org db1 /run \
             /var/lib /var/cache /var/log /etc /15/main 100% %b %ü %"
        );
        assert_eq!(unknown.into_iter().collect::<String>(), "b");
    }
}
