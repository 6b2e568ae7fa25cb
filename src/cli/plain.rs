//! Texts that a tenant chose, for a terminal.

/// At most `most` characters of a text, without what a terminal would obey. Quotes and backslashes stay as they
/// are.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars().take(most) {
        match letter {
            '\'' | '"' | '\\' => shown.push(letter),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}
