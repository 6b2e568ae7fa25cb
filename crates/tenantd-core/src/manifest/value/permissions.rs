//! Modes of folders and files.

use super::{At, Decode};
use crate::manifest::problem::Problems;

/// Permissions of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions(pub u32);

impl Decode for Permissions {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a string of octal digits")?;
        let Some(mode) = octal(text).filter(|mode| *mode <= 0o7777) else {
            let message = format!("{text:?} is not a file mode of 3 or 4 octal digits");
            at.wrong(problems, message);
            return None;
        };
        if mode & 0o700 != 0o700 {
            let message = format!("mode {text} denies access to the datastore's own user");
            at.wrong(problems, message);
            return None;
        }
        Some(Permissions(mode))
    }
}

/// Permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Decode for FileMode {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a string of octal digits")?;
        // Not a set-user-ID program.
        let mode = octal(text).filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            let message = format!("{text:?} is not the mode of a file: three octal digits");
            at.wrong(problems, message);
        }
        mode.map(FileMode)
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.len() <= 5 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u32::from_str_radix(text, 8).ok().filter(|_| digits)
}
