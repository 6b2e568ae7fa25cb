//! The form in which lines go from the collector to the supervisor: frames in a FIFO.
//!
//! A frame is at most `PIPE_BUF` bytes long, so that each is written as a whole or not at all (pipe(7)),
//! also if the collector is killed. A line that is longer consists of several frames; all but its last
//! say that more follows.

use crate::logs::split::{Extent, LINE_MAX};
use crate::logs::{Line, Origin};
use tenantd_core::name::TenantName;

/// The first byte of each frame of this form.
const BEGIN: u8 = 0xa7;

/// `PIPE_BUF` of limits.h.
const FRAME_MAX: usize = 4096;

/// The lengths of the parts that each frame has: the first byte, its length, kind, flags, priority,
/// process, and the lengths of the tenant's name and of the source.
const HEAD: usize = 1 + 2 + 1 + 1 + 1 + 4 + 1 + 1;

/// More of the same line follows in the next frame.
const MORE: u8 = 1;
/// The line was cut, and continues as another line.
const CONTINUES: u8 = 2;

/// The rest of the line is lost. Programs of earlier versions do not know this.
const TRUNCATED: u8 = 4;

const SYSLOG: u8 = 0;
const FILE: u8 = 1;
const NOTE: u8 = 2;

/// The longest source in bytes: an identifier, or a path.
const SOURCE_MAX: usize = 255;

/// One line of a tenant, or the supervisor's note among its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The tenant.
    pub(crate) tenant: TenantName,
    /// Where it comes from.
    pub(crate) source: Source,
    /// Its text, with what it is.
    pub(crate) line: Line,
}

/// Where an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The tenant.
    Origin(Origin),
    /// The collector itself, about the tenant.
    Note,
}

/// Appends the frames of a line. `text` is at most [`LINE_MAX`] bytes long.
pub(crate) fn encode(
    tenant: &TenantName,
    source: &Source,
    text: &[u8],
    extent: Extent,
    into: &mut Vec<u8>,
) {
    let (kind, priority, pid, name) = match source {
        Source::Origin(Origin::Syslog {
            level,
            facility,
            identifier,
            pid,
        }) => {
            let name = identifier.as_deref().unwrap_or_default();
            (SYSLOG, facility * 8 + level, pid.unwrap_or(0), name)
        }
        Source::Origin(Origin::File(path)) => (FILE, 0, 0, path.as_str()),
        Source::Note => (NOTE, 0, 0, ""),
    };
    let tenant = tenant.as_str().as_bytes();
    // The end of a long path says more.
    let name = &name.as_bytes()[name.len().saturating_sub(SOURCE_MAX)..];
    let most = FRAME_MAX - HEAD - tenant.len() - name.len();
    let flag = match extent {
        Extent::Whole | Extent::Open => 0,
        Extent::Continues => CONTINUES,
        Extent::Truncated => TRUNCATED,
    };
    let mut pieces = text.chunks(most).peekable();
    let mut piece = pieces.next().unwrap_or_default();
    loop {
        let more = pieces.peek().is_some();
        let flags = (u8::from(more) * MORE) | flag;
        let len = u16::try_from(HEAD + tenant.len() + name.len() + piece.len()).unwrap_or(u16::MAX);
        into.push(BEGIN);
        into.extend(len.to_le_bytes());
        into.extend([kind, flags, priority]);
        into.extend(pid.to_le_bytes());
        into.extend([short(tenant), short(name)]);
        into.extend(tenant);
        into.extend(name);
        into.extend(piece);
        match pieces.next() {
            Some(next) => piece = next,
            None => return,
        }
    }
}

fn short(text: &[u8]) -> u8 {
    u8::try_from(text.len()).unwrap_or(u8::MAX)
}

/// Writes frames into a FIFO that blocks, one at a time.
///
/// # Errors
/// What write(2) reports.
pub(crate) fn write(fifo: impl std::os::fd::AsFd, frames: &[u8]) -> std::io::Result<()> {
    let mut rest = frames;
    while let Some(len) = length(rest) {
        let (frame, after) = rest.split_at(len);
        match rustix::io::write(&fifo, frame) {
            Ok(_) => rest = after,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The length of the first frame, if it is there as a whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let &[BEGIN, low, high, ..] = bytes else {
        return None;
    };
    let len = usize::from(u16::from_le_bytes([low, high]));
    (HEAD..=bytes.len()).contains(&len).then_some(len)
}

/// One frame, as it was read.
struct Frame<'a> {
    tenant: TenantName,
    source: Source,
    flags: u8,
    text: &'a [u8],
}

/// Reads the lines that are in `bytes` as a whole. Returns how many bytes they are, with those that are
/// no frames. The lines of a frame that is torn, or of another form, are lost; that is not possible
/// unless another program writes here.
pub(crate) fn decode(bytes: &[u8], entries: &mut Vec<Entry>) -> usize {
    let mut used = 0;
    // A line whose frames are not all there yet: where it begins.
    let mut begun: Option<(Frame<'_>, Vec<u8>)> = None;
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let Some(len) = length(rest) else {
            if first != BEGIN || rest.len() >= FRAME_MAX {
                let next = rest[1..].iter().position(|&byte| byte == BEGIN);
                rest = &rest[next.map_or(rest.len(), |next| next + 1)..];
                used = bytes.len() - rest.len();
                continue;
            }
            break;
        };
        let frame = frame(&rest[..len]);
        rest = &rest[len..];
        let Some(frame) = frame else {
            used = bytes.len() - rest.len();
            continue;
        };
        let text = match begun.take() {
            Some((before, mut text))
                if before.tenant == frame.tenant
                    && before.source == frame.source
                    && text.len() + frame.text.len() <= LINE_MAX =>
            {
                text.extend(frame.text);
                text
            }
            // Its collector was killed, or another one wrote meanwhile.
            Some((before, text)) => {
                entries.push(entry(before, &text, Extent::Truncated));
                frame.text.to_vec()
            }
            None => frame.text.to_vec(),
        };
        if frame.flags & MORE != 0 {
            begun = Some((frame, text));
            continue;
        }
        let extent = match frame.flags & (CONTINUES | TRUNCATED) {
            0 => Extent::Whole,
            CONTINUES => Extent::Continues,
            _ => Extent::Truncated,
        };
        entries.push(entry(frame, &text, extent));
        used = bytes.len() - rest.len();
    }
    used
}

fn entry(frame: Frame<'_>, text: &[u8], extent: Extent) -> Entry {
    Entry {
        tenant: frame.tenant,
        line: Line::new(text, extent),
        source: frame.source,
    }
}

fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let &[
        _,
        _,
        _,
        kind,
        flags,
        priority,
        a,
        b,
        c,
        d,
        tenant,
        name,
        ref rest @ ..,
    ] = bytes
    else {
        return None;
    };
    let (tenant, rest) = rest.split_at_checked(usize::from(tenant))?;
    let (name, text) = rest.split_at_checked(usize::from(name))?;
    let name = String::from_utf8_lossy(name);
    let source = match kind {
        SYSLOG => Source::Origin(Origin::Syslog {
            level: priority % 8,
            facility: priority / 8,
            identifier: (!name.is_empty()).then(|| name.into_owned()),
            pid: Some(u32::from_le_bytes([a, b, c, d])).filter(|&pid| pid > 0),
        }),
        FILE => Source::Origin(Origin::File(name.into_owned())),
        NOTE => Source::Note,
        _ => return None,
    };
    Some(Frame {
        tenant: std::str::from_utf8(tenant).ok()?.parse().ok()?,
        source,
        flags,
        text,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(identifier: &str) -> Source {
        Source::Origin(Origin::Syslog {
            level: 3,
            facility: 2,
            identifier: Some(identifier.to_owned()),
            pid: Some(7),
        })
    }

    fn frames(text: &[u8], extent: Extent) -> Vec<u8> {
        let mut frames = Vec::new();
        encode(
            &"acme".parse().unwrap(),
            &origin("squid"),
            text,
            extent,
            &mut frames,
        );
        frames
    }

    #[test]
    fn a_line_comes_back_whole_wherever_it_is_split() {
        let long = vec![b'x'; LINE_MAX];
        for text in [b"".as_slice(), b"one", &long] {
            let extent = match text.len() {
                0 => Extent::Continues,
                3 => Extent::Truncated,
                _ => Extent::Whole,
            };
            let bytes = frames(text, extent);
            for at in [0, 1, 5, bytes.len() / 2, bytes.len() - 1] {
                let mut entries = Vec::new();
                assert_eq!(decode(&bytes[..at], &mut entries), 0);
                assert!(entries.is_empty());
            }
            let mut entries = Vec::new();
            assert_eq!(decode(&bytes, &mut entries), bytes.len());
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].line.text.as_bytes(), text);
            assert_eq!(entries[0].line.extent, extent);
            assert_eq!(entries[0].source, origin("squid"));
        }
        assert!(
            frames(&long, Extent::Whole).len() <= crate::logs::READ_MAX,
            "it fits into one read"
        );
    }

    #[test]
    fn the_rest_of_a_line_may_be_missing() {
        let long = frames(&[b'x'; 5000], Extent::Whole);
        let mut bytes = long[..FRAME_MAX].to_vec();
        bytes.extend(frames(b"next", Extent::Whole));
        // Joined, because it cannot be told apart from the rest.
        let mut entries = Vec::new();
        assert_eq!(decode(&bytes, &mut entries), bytes.len());
        assert_eq!(entries.len(), 1);
        bytes.truncate(FRAME_MAX);
        encode(
            &"acme".parse().unwrap(),
            &origin("other"),
            b"next",
            Extent::Whole,
            &mut bytes,
        );
        entries.clear();
        assert_eq!(decode(&bytes, &mut entries), bytes.len());
        assert_eq!(entries.len(), 2);
        let extents = [entries[0].line.extent, entries[1].line.extent];
        assert_eq!(extents, [Extent::Truncated, Extent::Whole]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(
            bytes in prop::collection::vec(prop::sample::select(vec![BEGIN, 0, 1, 12, 16, 97, 255]), 0..80),
        ) {
            let mut all = bytes.clone();
            all.extend(vec![0; FRAME_MAX]);
            let mut entries = Vec::new();
            let used = decode(&all, &mut entries);
            prop_assert!(used <= all.len());
            prop_assert!(used > 0);
        }
    }
}
