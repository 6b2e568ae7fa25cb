//! Names of interfaces of the host.

use super::{At, Decode};
use crate::manifest::problem::Problems;
use crate::name::IF_NAME_MAX;

/// The name of an interface that the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(pub String);

/// Whether the kernel takes a name, see `dev_valid_name` in net/core/dev.c.
fn is_valid(name: &str) -> bool {
    let is_refused = |byte: u8| !byte.is_ascii_graphic() || b"/:%".contains(&byte);
    (1..=IF_NAME_MAX).contains(&name.len())
        && ![".", ".."].contains(&name)
        && !name.bytes().any(is_refused)
}

impl Decode for Interface {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "the name of an interface")?;
        if !is_valid(text) {
            at.wrong(
                problems,
                format!("{text:?} is not the name of an interface"),
            );
            return None;
        }
        Some(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn names_are_those_of_the_kernel() {
        for good in [
            "eth0",
            "enp3s0f1",
            "eth0.100",
            "br_LAN",
            "a",
            "123456789012345",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:1",
            "eth%d",
            "1234567890123456",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
