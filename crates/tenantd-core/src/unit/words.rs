//! Splitting of values into words as systemd does it, see "Quoting" in systemd.syntax(7) and "Command
//! lines" in systemd.service(5).

use std::collections::{BTreeMap, BTreeSet};

/// Splits at whitespace. Quotes group, and are removed; escapes are those of C.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (_, '\\') => {
                let (unescaped, length) = unescape(rest.as_str());
                word.get_or_insert_default().push_str(&unescaped);
                rest = rest.as_str()[length..].chars();
            }
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What follows a backslash, and how many bytes of it were used. What is no escape stays as it is.
fn unescape(rest: &str) -> (String, usize) {
    let Some(c) = rest.chars().next() else {
        return ("\\".to_owned(), 0);
    };
    let code = |digits: Option<&str>, radix| {
        let code = u32::from_str_radix(digits?, radix).ok()?;
        char::from_u32(code).filter(|c| *c != '\0')
    };
    let (unescaped, length) = match c {
        'a' => (Some('\u{7}'), 1),
        'b' => (Some('\u{8}'), 1),
        'f' => (Some('\u{c}'), 1),
        'n' => (Some('\n'), 1),
        'r' => (Some('\r'), 1),
        't' => (Some('\t'), 1),
        'v' => (Some('\u{b}'), 1),
        's' => (Some(' '), 1),
        '\\' | '"' | '\'' => (Some(c), 1),
        'x' => (code(rest.get(1..3), 16), 3),
        'u' => (code(rest.get(1..5), 16), 5),
        'U' => (code(rest.get(1..9), 16), 9),
        '0'..='7' => (code(rest.get(..3), 8), 3),
        _ => (None, 0),
    };
    match unescaped {
        Some(unescaped) => (unescaped.to_string(), length),
        None => ("\\".to_owned(), 0),
    }
}

/// Replaces variables in the words of a command: `$NAME` as a word of its own becomes as many words as
/// its value has, `${NAME}` is replaced within a word, `$$` is a dollar. Returns the names of those
/// that have no value too; systemd takes them as empty.
pub(super) fn with_variables(
    words: Vec<String>,
    variables: &BTreeMap<String, String>,
) -> (Vec<String>, BTreeSet<String>) {
    let mut whole = Vec::new();
    let mut missing = BTreeSet::new();
    for word in words {
        match word.strip_prefix('$').filter(|name| is_name(name)) {
            Some(name) => match variables.get(name) {
                Some(value) => whole.extend(split(value)),
                None => _ = missing.insert(name.to_owned()),
            },
            None => whole.push(in_braces(&word, variables, &mut missing)),
        }
    }
    (whole, missing)
}

fn in_braces(
    word: &str,
    variables: &BTreeMap<String, String>,
    missing: &mut BTreeSet<String>,
) -> String {
    let mut whole = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        whole.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            whole.push('$');
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        match braced.filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                match variables.get(name) {
                    Some(value) => whole.push_str(value),
                    None => _ = missing.insert(name.to_owned()),
                }
                rest = after;
            }
            None => whole.push('$'),
        }
    }
    whole + rest
}

/// Whether a text is the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(is_part) && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_and_escapes_are_those_of_c() {
        let text = r#" /bin/a "b c" 'd "e"' f="g h" \x41\tz \s \q "" $$ "#;
        let words = split(text);
        let wanted = [
            "/bin/a", "b c", "d \"e\"", "f=g h", "A\tz", " ", "\\q", "", "$$",
        ];
        assert_eq!(words, wanted);
        assert_eq!(split("a\\"), ["a\\"]);
        assert_eq!(split("\\xü \\u12"), ["\\xü", "\\u12"]);
    }

    #[test]
    fn variables_become_words_or_parts_of_words() {
        let variables = [("A", "x 'y z'"), ("B", "b b"), ("E", "")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let variables: BTreeMap<_, _> = variables.into_iter().map(own).collect();
        let words = split("/bin/a $A ${B} p${B}q$B $E $N ${N} $$A $1 ${");
        let (words, missing) = with_variables(words, &variables);
        let wanted = ["/bin/a", "x", "y z", "b b", "pb bq$B", "", "$A", "$1", "${"];
        assert_eq!(words, wanted);
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["N"]);
    }
}
