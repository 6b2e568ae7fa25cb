//! Splits bytes into lines: where a line ends, how long it may be, and how it is shown safely.
//!
//! These functions have no state: an incomplete line is left in the input, to be read again
//! together with later bytes. So the lines do not depend on the pieces in which the bytes arrive.

use std::borrow::Cow;
use std::fmt::Write;

use crate::logs::Origin;
use crate::logs::syslog::LEVELS;

/// The maximum length of a line in bytes; a longer line is cut. It is less than the maximum size of
/// a datagram to the journal, and of the content of a pipe.
pub const LINE_MAX: usize = 16 * 1024;

/// How much of a line a [`Line`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// A piece of one that is too long. The rest follows in the next one.
    Continues,
    /// The beginning. The rest is lost.
    Truncated,
    /// What there was before its end, and no more came for a while: a prompt, for example. More may
    /// follow in the next one.
    Open,
}

impl Extent {
    /// What is shown after the text.
    fn note(self) -> &'static str {
        match self {
            Extent::Whole => "",
            Extent::Continues => " [cut, continues]",
            Extent::Truncated => " [cut]",
            Extent::Open => " [no line end]",
        }
    }
}

/// One line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text, without its end. Bytes that are no UTF-8 have been replaced.
    pub text: String,
    /// How much of the line this is.
    pub extent: Extent,
    /// Where it comes from, unless its stream says it.
    pub origin: Option<Box<Origin>>,
}

/// Adds the lines that end in `bytes`, and the pieces of a line that is too long. Returns their
/// length in bytes; the bytes after that are an incomplete line.
pub fn whole_lines(bytes: &[u8], lines: &mut Vec<Line>) -> usize {
    let mut used = 0;
    while let Some(len) = bytes[used..].iter().position(|&byte| byte == b'\n') {
        end(&bytes[used..used + len], lines);
        used += len + 1;
    }
    while bytes.len() - used > LINE_MAX {
        let at = cut(&bytes[used..]);
        lines.push(Line::new(&bytes[used..used + at], Extent::Continues));
        used += at;
    }
    used
}

/// Adds an incomplete line, whose rest may follow. Returns its length: all bytes, except the first ones of
/// a character that is incomplete too.
pub fn beginning(bytes: &[u8], lines: &mut Vec<Line>) -> usize {
    let len = whole_characters(bytes);
    if len > 0 {
        lines.push(Line::new(&bytes[..len], Extent::Open));
    }
    len
}

/// The length of the bytes without an incomplete character at their end, as UTF-8 has it.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(3)..bytes.len();
    let Some(begin) = last
        .rev()
        .find(|&at| bytes[at] & 0b1100_0000 != 0b1000_0000)
    else {
        return bytes.len();
    };
    match std::str::from_utf8(&bytes[begin..]) {
        // No more bytes can make a character of it otherwise.
        Err(error) if error.error_len().is_none() => begin + error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

/// Adds an incomplete line as a complete one, because no more bytes will come. Returns its length:
/// all bytes.
pub fn end(bytes: &[u8], lines: &mut Vec<Line>) -> usize {
    let mut rest = bytes;
    while rest.len() > LINE_MAX {
        let (head, tail) = rest.split_at(cut(rest));
        lines.push(Line::new(head, Extent::Continues));
        rest = tail;
    }
    let last = rest.strip_suffix(b"\r").unwrap_or(rest);
    lines.push(Line::new(last, Extent::Whole));
    bytes.len()
}

/// The pieces of one line without an end, each with whether it continues in the next one.
pub(crate) fn pieces(line: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        if whole.len() <= LINE_MAX {
            return Some((whole, false));
        }
        let (head, tail) = whole.split_at(cut(whole));
        rest = Some(tail);
        Some((head, true))
    })
}

impl Line {
    pub(crate) fn new(bytes: &[u8], extent: Extent) -> Self {
        Self {
            text: String::from_utf8_lossy(bytes).into_owned(),
            extent,
            origin: None,
        }
    }

    /// The line in a form that is safe on a terminal: characters that move the cursor or change
    /// colours or the reading direction are escaped. A tab stays. A message to syslog begins with
    /// its identifier, process and level, as in `squid[7] err: no space`, and a line of a file with
    /// the file's name.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, str> {
        let text = shown(&self.text);
        let text = match self.origin.as_deref() {
            None => text,
            Some(origin) => Cow::Owned(format!("{}: {text}", head(origin))),
        };
        match self.extent.note() {
            "" => text,
            note => Cow::Owned(text.into_owned() + note),
        }
    }
}

fn head(origin: &Origin) -> String {
    match origin {
        Origin::Syslog {
            level,
            facility: _,
            identifier,
            pid,
        } => {
            let level = LEVELS[usize::from(level % 8)];
            let pid = pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
            match identifier {
                Some(identifier) => format!("{}{pid} {level}", shown(identifier)),
                None => level.to_owned(),
            }
        }
        Origin::File(path) => {
            let name = path.rsplit('/').next().unwrap_or(path);
            shown(name).into_owned()
        }
    }
}

/// A text in a form that is safe on a terminal, see [`Line::shown`].
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Writing into a String cannot fail.
        let _ = match c {
            c if !is_unsafe(c) => shown.write_char(c),
            c if c.is_ascii() => write!(shown, "\\x{:02x}", u32::from(c)),
            c => write!(shown, "\\u{{{:x}}}", u32::from(c)),
        };
    }
    Cow::Owned(shown)
}

/// Control characters (C0, DEL and C1), the two Unicode line ends, and characters that change the
/// writing direction (Unicode Standard Annex 9, section 2).
fn is_unsafe(c: char) -> bool {
    let turns =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    (c.is_control() && c != '\t') || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Where to cut a line that is longer than [`LINE_MAX`]: never inside a character, which has at
/// most three bytes after its first.
fn cut(bytes: &[u8]) -> usize {
    let is_inside = |at: &usize| bytes[*at] & 0b1100_0000 == 0b1000_0000;
    (LINE_MAX - 3..=LINE_MAX)
        .rev()
        .find(|at| !is_inside(at))
        .unwrap_or(LINE_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a pipe that is looked at after each piece.
    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let (mut pipe, mut lines) = (Vec::new(), Vec::new());
        for piece in pieces {
            pipe.extend_from_slice(piece);
            let used = whole_lines(&pipe, &mut lines);
            pipe.drain(..used);
        }
        if !pipe.is_empty() {
            end(&pipe, &mut lines);
        }
        lines
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        lines(&[bytes]).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_line_ends_at_its_newline_and_loses_its_return() {
        assert_eq!(texts(b"a\r\n\nb\rc\nd"), ["a", "", "b\rc", "d"]);
        assert_eq!(texts(b""), Vec::<String>::new());
        assert_eq!(texts(b"\xffx\n"), ["\u{fffd}x"]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut long = vec![b'a'; LINE_MAX - 1];
        long.extend_from_slice("€!\n".as_bytes());
        let lines = lines(&[&long]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].text.len(), LINE_MAX - 1);
        assert!(lines[0].shown().ends_with("a [cut, continues]"));
        assert_eq!(lines[1], Line::new("€!".as_bytes(), Extent::Whole));
        let all_inside = vec![0x80; LINE_MAX + 5];
        assert_eq!(cut(&all_inside), LINE_MAX);
    }

    #[test]
    fn an_incomplete_line_ends_with_a_whole_character() {
        let beginning = |bytes: &[u8]| {
            let mut lines = Vec::new();
            let used = beginning(bytes, &mut lines);
            let shown = lines.first().map(|line| line.shown().into_owned());
            (used, shown)
        };
        let shown = |text: &str| Some(format!("{text} [no line end]"));
        for whole in ["x", "x€", "x😀"] {
            let bytes = whole.as_bytes();
            assert_eq!(beginning(bytes), (bytes.len(), shown(whole)));
            for len in 2..bytes.len() {
                assert_eq!(beginning(&bytes[..len]), (1, shown("x")), "{whole} {len}");
            }
        }
        assert_eq!(beginning(b"\xe2\x82"), (0, None));
        // No bytes after these make a character of them.
        for no_character in [b"x\xff".as_slice(), b"x\x80\x80\x80\x80", b"x\xe2A"] {
            assert_eq!(beginning(no_character).0, no_character.len());
        }
    }

    #[test]
    fn control_characters_are_escaped_for_the_terminal() {
        let forged = b"\x1b]0;title\x07\x1b[2Jacme\rother \xc2\x9b31m \xe2\x80\xae\ttab";
        let line = &lines(&[forged])[0];
        assert_eq!(
            line.shown(),
            "\\x1b]0;title\\x07\\x1b[2Jacme\\x0dother \\u{9b}31m \\u{202e}\ttab"
        );
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_reads_split_them(
            words in prop::collection::vec((0usize..20_000, "[\\n\\r€a]{0,4}"), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes: Vec<u8> = words
                .iter()
                .flat_map(|(len, end)| [vec![b'x'; *len], end.clone().into_bytes()].concat())
                .collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = lines(&[&bytes]);
            prop_assert!(whole.iter().all(|line| line.text.len() <= LINE_MAX));
            prop_assert_eq!(lines(&pieces), whole);
        }
    }
}
