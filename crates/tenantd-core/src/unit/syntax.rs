//! The syntax of unit files, see systemd.syntax(7): sections, assignments, continued lines, comments.

use super::Source;

/// The settings of a unit's file and its drop-ins, in the order in which they apply.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    entries: Vec<Entry>,
    /// Lines that are no assignment, which systemd ignores: the file, the line's number and its text.
    pub(super) ignored: Vec<(String, usize, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    section: String,
    key: String,
    value: String,
}

impl Settings {
    pub(super) fn read(sources: &[Source]) -> Self {
        let mut settings = Self::default();
        for source in sources {
            settings.add(source);
        }
        settings
    }

    fn add(&mut self, source: &Source) {
        let mut section = String::new();
        for (number, line) in whole_lines(&source.text) {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                section = name.to_owned();
                continue;
            }
            match line.split_once('=') {
                Some((key, value)) if !section.is_empty() && !key.trim().is_empty() => {
                    self.entries.push(Entry {
                        section: section.clone(),
                        key: key.trim_end().to_owned(),
                        value: value.trim_start().to_owned(),
                    });
                }
                Some(_) | None => {
                    let file = source.path.display().to_string();
                    self.ignored.push((file, number, line.to_owned()));
                }
            }
        }
    }

    pub(super) fn has_section(&self, section: &str) -> bool {
        self.entries.iter().any(|entry| entry.section == section)
    }

    /// The values of a setting that may be given several times. An empty value takes back those
    /// before it.
    pub(super) fn list(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        let entries = self.entries.iter();
        for entry in entries.filter(|entry| entry.section == section && entry.key == key) {
            match entry.value.as_str() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
        values
    }

    /// The values of a setting of the service.
    pub(super) fn all(&self, key: &str) -> Vec<&str> {
        self.list("Service", key)
    }

    /// The last value of a setting of the service.
    pub(super) fn last(&self, key: &str) -> Option<&str> {
        self.all(key).last().copied()
    }

    /// Whether a setting of the service is switched on.
    pub(super) fn is_on(&self, key: &str) -> bool {
        let on = ["1", "yes", "y", "true", "t", "on"];
        let value = self.last(key).map(str::to_ascii_lowercase);
        value.is_some_and(|value| on.contains(&value.as_str()))
    }

    /// The names of all settings of the service, in their order.
    pub(super) fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        for entry in self.entries.iter().filter(|it| it.section == "Service") {
            if !keys.contains(&entry.key.as_str()) {
                keys.push(&entry.key);
            }
        }
        keys
    }
}

/// The lines that are neither empty nor comments, with their numbers from 1. A line that ends with a
/// backslash continues on the next line that is no comment.
fn whole_lines(text: &str) -> Vec<(usize, String)> {
    let mut whole: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        // Two at the end are an escaped backslash.
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let (content, more) = match line.strip_suffix('\\') {
            Some(content) if backslashes % 2 == 1 => (content, true),
            Some(_) | None => (line, false),
        };
        match whole.last_mut() {
            Some((_, begun)) if continues => {
                begun.push(' ');
                begun.push_str(content);
            }
            Some(_) | None if content.trim().is_empty() => {}
            Some(_) | None => whole.push((index + 1, content.to_owned())),
        }
        continues = more && !whole.is_empty();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Settings {
        let sources = texts.iter().map(|text| Source {
            path: "x.service".into(),
            text: (*text).to_owned(),
        });
        Settings::read(&sources.collect::<Vec<_>>())
    }

    #[test]
    fn lines_continue_over_comments() {
        let text = "\u{feff}# c\n[Service]\r\nPIDFile=a\\\\\nExecStart = /bin/a \\\n# no\n; no\n  b\\\n c=d\nType=notify \n";
        let settings = read(&[text]);
        let command = settings.last("ExecStart").unwrap();
        assert_eq!(
            command.split_whitespace().collect::<Vec<_>>(),
            ["/bin/a", "b", "c=d"]
        );
        assert_eq!(settings.last("Type"), Some("notify"));
        assert_eq!(settings.keys(), ["PIDFile", "ExecStart", "Type"]);
        assert!(settings.ignored.is_empty());
    }

    #[test]
    fn drop_ins_add_and_take_back() {
        let settings = read(&[
            "[Service]\nExecStart=/bin/a\nUser=x\nPrivateTmp=Yes\n[Unit]\nUser=z\nnonsense\n",
            "[Service]\nExecStart=\nExecStart=/bin/b\nUser=\n",
        ]);
        assert_eq!(settings.all("ExecStart"), ["/bin/b"]);
        assert_eq!(settings.last("User"), None);
        assert!(settings.is_on("PrivateTmp"));
        assert_eq!(
            settings.ignored,
            [("x.service".to_owned(), 7, "nonsense".to_owned())]
        );
        assert!(settings.has_section("Unit") && !settings.has_section("Install"));
    }
}
