//! Reads which ports of its loopback addresses a tenant exposes.

use toml::Spanned;
use toml::de::DeValue;

use super::super::{At, Decode};
use super::decode::port_of;
use super::{Exposed, Protocol};
use crate::manifest::problem::Problems;

impl Decode for Vec<Spanned<Exposed>> {
    fn decode(at: At<'_, '_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value.get_ref().as_array() else {
            at.wrong_type(problems, "an array of ports");
            return None;
        };
        let mut all = Vec::new();
        for value in array {
            let text = match value.get_ref() {
                DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
                DeValue::String(text) => text.as_ref(),
                _ => {
                    (At { value, ..at }).wrong_type(problems, "an array of ports");
                    continue;
                }
            };
            match port_of(text) {
                Some((port, protocol)) => {
                    let protocol = protocol.unwrap_or(Protocol::Tcp);
                    let exposed = Exposed { port, protocol };
                    all.push(Spanned::new(value.span(), exposed));
                }
                None => {
                    let message = format!("`{text}` is not a port");
                    problems.report(&value.span(), message).help(
                        "write a port, such as 5432, or one with its protocol, such as \"53/udp\"",
                    );
                }
            }
        }
        Some(all)
    }
}
