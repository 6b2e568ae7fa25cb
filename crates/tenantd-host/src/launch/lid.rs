//! What prevents a launch from writing to the files of the host.

use std::fmt;
use std::str::FromStr;

/// What prevents writing to what the host mounts while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lid {
    /// Landlock, see landlock(7), with this version of its interface.
    Landlock(u32),
    /// The supervisor makes each new mount read-only, so a window stays.
    MountWatch,
    /// Nothing: the manifest lets tenants write to the host's files.
    HostWritable,
}

const LANDLOCK: &str = "landlock ";
const MOUNT_WATCH: &str = "mount watch";
const HOST_WRITABLE: &str = "host writable";

impl fmt::Display for Lid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lid::Landlock(version) => write!(f, "{LANDLOCK}{version}"),
            Lid::MountWatch => f.write_str(MOUNT_WATCH),
            Lid::HostWritable => f.write_str(HOST_WRITABLE),
        }
    }
}

/// A word that stands for no lid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no lid: {0}")]
pub struct UnknownLid(String);

impl FromStr for Lid {
    type Err = UnknownLid;

    fn from_str(text: &str) -> Result<Self, UnknownLid> {
        match text {
            MOUNT_WATCH => return Ok(Lid::MountWatch),
            HOST_WRITABLE => return Ok(Lid::HostWritable),
            _ => {}
        }
        let version = text.strip_prefix(LANDLOCK).and_then(|it| it.parse().ok());
        version
            .map(Lid::Landlock)
            .ok_or_else(|| UnknownLid(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for (lid, text) in [
            (Lid::Landlock(7), "landlock 7"),
            (Lid::MountWatch, "mount watch"),
            (Lid::HostWritable, "host writable"),
        ] {
            assert_eq!(lid.to_string(), text);
            assert_eq!(text.parse(), Ok(lid));
        }
        assert!("landlock".parse::<Lid>().is_err());
    }
}
