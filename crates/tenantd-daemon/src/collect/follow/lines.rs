//! The lines in what was read from a file.

use crate::collect::frame::{self, Source};
use crate::logs::Origin;
use crate::logs::split::{self, Extent};
use tenantd_core::name::TenantName;

/// The frames of the lines of a file. With `is_last`, no rest of the last one will come.
pub(super) fn encode(
    tenant: &TenantName,
    seen: &str,
    bytes: &[u8],
    is_last: bool,
    frames: &mut Vec<u8>,
) {
    let source = Source::Origin(Origin::File(seen.to_owned()));
    let whole = bytes.strip_suffix(b"\n");
    let is_whole = whole.is_some();
    let mut lines = whole
        .unwrap_or(bytes)
        .split(|&byte| byte == b'\n')
        .peekable();
    while let Some(line) = lines.next() {
        let is_cut = !is_whole && !is_last && lines.peek().is_none();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for (piece, continues) in split::pieces(line) {
            let extent = match continues || is_cut {
                true => Extent::Continues,
                false => Extent::Whole,
            };
            frame::encode(tenant, &source, piece, extent, frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::split::LINE_MAX;

    fn lines(bytes: &[u8], is_last: bool) -> Vec<(String, bool)> {
        let mut frames = Vec::new();
        encode(
            &"acme".parse().unwrap(),
            "/x/a.log",
            bytes,
            is_last,
            &mut frames,
        );
        let mut entries = Vec::new();
        assert_eq!(frame::decode(&frames, &mut entries), frames.len());
        let of = |it: frame::Entry| {
            let continues = it.line.extent == Extent::Continues;
            (it.line.text, continues)
        };
        entries.into_iter().map(of).collect()
    }

    #[test]
    fn an_empty_line_is_a_line_and_a_cut_one_says_so() {
        let line = |text: &str| (text.to_owned(), false);
        assert_eq!(lines(b"a\r\n\nb\n", false), ["a", "", "b"].map(line));
        assert_eq!(lines(b"a", false), [("a".to_owned(), true)]);
        assert_eq!(lines(b"a", true), [line("a")]);
        let long = [vec![b'x'; LINE_MAX + 1], b"\n".to_vec()].concat();
        let lengths: Vec<_> = lines(&long, false)
            .iter()
            .map(|it| (it.0.len(), it.1))
            .collect();
        assert_eq!(lengths, [(LINE_MAX, true), (1, false)]);
    }
}
