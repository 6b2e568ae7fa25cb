//! MAC addresses.

use std::str::FromStr;

use super::{At, Decode};
use crate::manifest::problem::Problems;

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or(())?;
            let is_octet = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            *octet = u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| is_octet)
                .ok_or(())?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(()),
        }
    }
}

impl Decode for Mac {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "a MAC address")?;
        let Ok(mac) = text.parse::<Self>() else {
            at.wrong(problems, format!("{text:?} is not a MAC address"));
            return None;
        };
        let [first, ..] = mac.0;
        let why = match mac.0 {
            [0, 0, 0, 0, 0, 0] => "is no address of an interface",
            _ if first & 1 != 0 => "is a group address, not that of one interface",
            _ => return Some(mac),
        };
        at.wrong(problems, format!("{text} {why}"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let mac = Mac([2, 0, 0, 0x12, 0x34, 0xab]);
        for text in ["02:00:00:12:34:ab", "02-00-00-12-34-AB"] {
            assert_eq!(text.parse(), Ok(mac));
        }
        for text in [
            "",
            "02:00:00:12:34",
            "02:00:00:12:34:ab:cd",
            "2:0:0:12:34:ab",
            "02:00:00:12:34:g0",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
