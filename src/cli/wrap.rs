//! Wraps lines of text at the width of a terminal, between words. Elsewhere lines stay as they are,
//! for the programs that read them.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use textwrap::{Options, fill};

/// The text as it is to be written to this stream. The further parts of a line are indented.
pub fn wrapped<'a>(text: &'a str, stream: &(impl AsFd + IsTerminal)) -> Cow<'a, str> {
    match width(stream) {
        Some(width) => Cow::Owned(at(text, width)),
        None => Cow::Borrowed(text),
    }
}

/// The number of columns of a terminal; None for other streams, and if it is not known.
fn width(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

fn at(text: &str, width: usize) -> String {
    let lines = text.split('\n').map(|line| {
        let indent = " ".repeat(line.len() - line.trim_start().len() + 2);
        let options = Options::new(width)
            .subsequent_indent(&indent)
            .break_words(false);
        fill(line, options)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words() {
        assert_eq!(
            at("one two three\n  four five", 9),
            "one two\n  three\n  four\n    five"
        );
        assert_eq!(
            at("/a/path/that/is/too/long x", 9),
            "/a/path/that/is/too/long\n  x"
        );
        assert_eq!(at("short\n", 9), "short\n");
    }

    #[test]
    fn other_streams_get_the_text_unchanged() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(wrapped("one two three", &null), "one two three");
    }
}
