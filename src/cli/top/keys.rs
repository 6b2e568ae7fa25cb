//! Keys, from the bytes that a terminal sends. Pure.

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-L.
    Redraw,
}

/// The longest sequence of a key that is waited for.
const SEQUENCE_MAX: usize = 16;

/// The bytes that were read and are no whole key yet.
#[derive(Debug, Default)]
pub(super) struct Keys {
    unread: Vec<u8>,
}

/// What the next bytes are.
enum Next {
    /// A key, or a sequence without a meaning here, and its length.
    Whole(Option<Key>, usize),
    /// The beginning of a sequence, or of a character.
    Part,
}

impl Keys {
    /// Takes what was read. Returns the keys in it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.unread.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while !self.unread.is_empty() {
            match next(&self.unread) {
                Next::Whole(key, length) => {
                    keys.extend(key);
                    self.unread.drain(..length);
                }
                Next::Part if self.unread.len() < SEQUENCE_MAX => break,
                Next::Part => self.unread.clear(),
            }
        }
        keys
    }

    /// Whether a part of a key was read: the rest comes at once, or it is the key Escape.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Nothing followed in time.
    pub(super) fn give_up(&mut self) -> Option<Key> {
        let is_escape = self.unread == [0x1b];
        self.unread.clear();
        is_escape.then_some(Key::Escape)
    }
}

fn next(bytes: &[u8]) -> Next {
    match bytes {
        [0x1b] | [0x1b, b'['] | [0x1b, b'O'] => Next::Part,
        [0x1b, b'[', rest @ ..] => sequence(rest),
        [0x1b, b'O', letter, ..] => Next::Whole(of_letter(*letter), 3),
        // Escape, then another key, or a key with Alt.
        [0x1b, ..] => Next::Whole(Some(Key::Escape), 1),
        [b'\r' | b'\n', ..] => Next::Whole(Some(Key::Enter), 1),
        [0x7f | 0x08, ..] => Next::Whole(Some(Key::Backspace), 1),
        [0x0c, ..] => Next::Whole(Some(Key::Redraw), 1),
        [control, ..] if *control < 0x20 => Next::Whole(None, 1),
        _ => character(bytes),
    }
}

/// What follows `ESC [`: numbers, and a letter or `~` at its end.
fn sequence(rest: &[u8]) -> Next {
    let Some(end) = rest.iter().position(|byte| (0x40..0x7f).contains(byte)) else {
        return Next::Part;
    };
    let length = 2 + end + 1;
    let key = match (&rest[..end], rest[end]) {
        (b"1" | b"7", b'~') => Some(Key::Home),
        (b"4" | b"8", b'~') => Some(Key::End),
        (b"5", b'~') => Some(Key::PageUp),
        (b"6", b'~') => Some(Key::PageDown),
        (b"", letter) => of_letter(letter),
        (_, _) => None,
    };
    Next::Whole(key, length)
}

fn of_letter(letter: u8) -> Option<Key> {
    match letter {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

/// A character of UTF-8. A byte that begins none is left out.
fn character(bytes: &[u8]) -> Next {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) if error.error_len().is_none() => return Next::Part,
        Err(_) => "",
    };
    match text.chars().next() {
        Some(letter) => Next::Whole(Some(Key::Char(letter)), letter.len_utf8()),
        None => Next::Whole(None, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Keys::default().take(bytes)
    }

    #[test]
    fn sequences_are_keys() {
        let read = keys(b"a\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~\r\x7f\x0c");
        assert_eq!(
            read,
            [
                Key::Char('a'),
                Key::Up,
                Key::Down,
                Key::PageUp,
                Key::PageDown,
                Key::Home,
                Key::End,
                Key::Enter,
                Key::Backspace,
                Key::Redraw
            ]
        );
        // A function key, an arrow with Ctrl, and a control character mean nothing here.
        assert_eq!(keys(b"\x1b[15~\x1b[1;5A\x01q"), [Key::Char('q')]);
        assert_eq!(keys("ü€".as_bytes()), [Key::Char('ü'), Key::Char('€')]);
        assert_eq!(keys(b"\xff\xfeq"), [Key::Char('q')]);
    }

    #[test]
    fn a_key_may_come_in_parts() {
        let mut keys = Keys::default();
        for part in [&b"\x1b"[..], b"[", b"5"] {
            assert_eq!(keys.take(part), []);
            assert!(keys.is_waiting());
        }
        assert_eq!(keys.take(b"~"), [Key::PageUp]);
        assert!(!keys.is_waiting());
        assert_eq!(keys.take(b"\xc3"), []);
        assert_eq!(keys.take(b"\xbc"), [Key::Char('ü')]);
        assert_eq!(keys.take(b"\x1b"), []);
        assert_eq!(keys.give_up(), Some(Key::Escape));
        assert_eq!(keys.take(b"\x1b["), []);
        assert_eq!(keys.give_up(), None);
    }

    #[test]
    fn what_never_ends_is_left_out() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(&[b"\x1b[".as_slice(), &[b'0'; 100]].concat()), []);
        assert_eq!(keys.take(b"q"), [Key::Char('q')]);
    }
}
