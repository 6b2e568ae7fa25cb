//! The entries of the guest book, in memory and on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// The maximum length of a name, in characters.
pub(crate) const NAME_MAX: usize = 80;
/// The maximum length of a text, in characters.
pub(crate) const TEXT_MAX: usize = 2000;

/// The entries, in memory and on disk.
pub(crate) struct Book {
    file: File,
    bytes: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Book {
    pub(crate) fn open(folder: &Path) -> io::Result<Book> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(folder.join("entries"))?;
        File::open(folder)?.sync_all()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let whole = whole_lines(&content);
        if whole.len() < content.len() {
            eprintln!("guestbook: the last line was torn off by a crash and is dropped");
            file.set_len(whole.len() as u64)?;
            file.sync_all()?;
        }
        let entries = std::str::from_utf8(whole)
            .map_err(io::Error::other)?
            .lines()
            .enumerate()
            .map(|(index, line)| {
                Entry::from_line(line)
                    .ok_or_else(|| io::Error::other(format!("line {} is damaged", index + 1)))
            })
            .collect::<io::Result<_>>()?;
        Ok(Book {
            file,
            bytes: whole.len() as u64,
            entries,
        })
    }

    /// Writes an entry and syncs it. After a failure the file is as it was before.
    pub(crate) fn keep(&mut self, entry: Entry) -> io::Result<()> {
        let line = entry.line();
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            if let Err(second) = self.file.set_len(self.bytes) {
                // An incomplete line at the end is harmless; followed by others it would not be.
                eprintln!("guestbook: cannot take back half an entry: {second} (after: {error})");
                std::process::exit(1);
            }
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.entries.push(entry);
        Ok(())
    }
}

/// The content up to its last line feed.
fn whole_lines(content: &[u8]) -> &[u8] {
    let end = content.iter().rposition(|&byte| byte == b'\n');
    &content[..end.map_or(0, |at| at + 1)]
}

#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Entry {
    pub(crate) fn from_form(body: &[u8]) -> Result<Entry, String> {
        let field = |key: &str, max: usize| {
            let value = form_value(body, key).ok_or(format!("the field {key} is missing"))?;
            let value = value.trim().to_owned();
            match value.chars().count() {
                0 => Err(format!("the field {key} is empty")),
                count if count > max => Err(format!("the field {key} is longer than {max}")),
                _ => Ok(value),
            }
        };
        Ok(Entry {
            name: field("name", NAME_MAX)?,
            text: field("text", TEXT_MAX)?,
        })
    }

    pub(crate) fn line(&self) -> String {
        let escape = |text: &str| {
            text.replace('\\', "\\\\")
                .replace('\t', "\\t")
                .replace('\r', "")
                .replace('\n', "\\n")
        };
        format!("{}\t{}\n", escape(&self.name), escape(&self.text))
    }

    fn from_line(line: &str) -> Option<Entry> {
        let unescape = |text: &str| {
            let mut chars = text.chars();
            let mut plain = String::new();
            while let Some(char) = chars.next() {
                plain.push(match char {
                    '\\' => match chars.next()? {
                        't' => '\t',
                        'n' => '\n',
                        other => other,
                    },
                    other => other,
                });
            }
            Some(plain)
        };
        let (name, text) = line.split_once('\t')?;
        Some(Entry {
            name: unescape(name)?,
            text: unescape(text)?,
        })
    }
}

/// The value of a key in an `application/x-www-form-urlencoded` body.
fn form_value(body: &[u8], key: &str) -> Option<String> {
    body.split(|&byte| byte == b'&').find_map(|pair| {
        let mut sides = pair.splitn(2, |&byte| byte == b'=');
        let name = percent_decode(sides.next()?);
        (name == key).then(|| percent_decode(sides.next().unwrap_or_default()))
    })
}

fn percent_decode(text: &[u8]) -> String {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.extend(u8::try_from(high * 16 + low));
                at += 2;
            }
            (b'+', ..) => plain.push(b' '),
            (byte, ..) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed when the test ends.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn entry(name: &str, text: &str) -> Entry {
        Entry {
            name: name.into(),
            text: text.into(),
        }
    }

    #[test]
    fn decodes_a_form() {
        let body = b"text=5+%2B+5%25+is%0Amore&name=Zo%C3%AB";
        assert_eq!(
            Entry::from_form(body).unwrap(),
            entry("Zo\u{eb}", "5 + 5% is\nmore")
        );
    }

    #[test]
    fn keeps_an_incomplete_escape() {
        assert_eq!(percent_decode(b"100%"), "100%");
        assert_eq!(percent_decode(b"%4"), "%4");
        assert_eq!(percent_decode(b"%zz%41"), "%zzA");
        assert_eq!(percent_decode(b"%+1"), "% 1");
    }

    #[test]
    fn names_missing_form_fields() {
        let problem = |body: &str| Entry::from_form(body.as_bytes()).unwrap_err();
        assert_eq!(problem("text=x"), "the field name is missing");
        assert_eq!(problem("name=++&text=x"), "the field name is empty");
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(
            problem(&format!("name=a&text={long}")),
            "the field text is longer than 2000"
        );
    }

    #[test]
    fn entries_survive_a_restart() {
        let folder = folder();
        let odd = entry("a\tb\\t", "one\ntwo\\n<b>");
        Book::open(folder.path()).unwrap().keep(odd).unwrap();
        let mut book = Book::open(folder.path()).unwrap();
        book.keep(entry("second", "s")).unwrap();
        let book = Book::open(folder.path()).unwrap();
        assert_eq!(
            book.entries,
            [entry("a\tb\\t", "one\ntwo\\n<b>"), entry("second", "s")]
        );
    }

    #[test]
    fn drops_a_torn_last_line_and_writes_on() {
        let folder = folder();
        let file = folder.path().join("entries");
        // Truncated within a character of two bytes.
        std::fs::write(&file, b"a\tone\nb\ttw\xc3").unwrap();
        let mut book = Book::open(folder.path()).unwrap();
        assert_eq!(book.entries, [entry("a", "one")]);
        book.keep(entry("c", "three")).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"a\tone\nc\tthree\n");
    }

    #[test]
    fn reports_a_damaged_line() {
        let folder = folder();
        std::fs::write(folder.path().join("entries"), "a\tone\nno tab\n").unwrap();
        let error = Book::open(folder.path()).err().unwrap();
        assert_eq!(error.to_string(), "line 2 is damaged");
    }
}
