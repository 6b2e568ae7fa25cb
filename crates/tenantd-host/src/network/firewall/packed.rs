//! The elements of a tenant in a few bytes. A supervisor keeps those of all its tenants, and seldom needs them.

use std::collections::BTreeSet;

use super::elements::{Data, Element};
use super::sets::SETS;

/// For each element: the number of its set, and its key. Then a [`Kind`], with what that has. Bytes of any number follow
/// their number, which is below 256: nf_tables(7) has keys of up to 64 bytes, and names of up to 255.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed(Vec<u8>);

/// What an element holds, as a byte.
mod kind {
    pub(super) const NONE: u8 = 0;
    pub(super) const VALUE: u8 = 1;
    pub(super) const RETURN: u8 = 2;
    pub(super) const GOTO: u8 = 3;
}

impl Packed {
    /// Adds an element that is not there yet.
    pub(super) fn add(&mut self, element: &Element) {
        let Some(set) = SETS.iter().position(|set| set.name == element.set) else {
            // Each element is of one of the sets.
            return;
        };
        self.0.extend(u8::try_from(set));
        self.bytes(&element.key);
        match &element.data {
            Data::None => self.0.push(kind::NONE),
            Data::Return => self.0.push(kind::RETURN),
            Data::Value(value) => {
                self.0.push(kind::VALUE);
                self.bytes(value);
            }
            Data::Goto(chain) => {
                self.0.push(kind::GOTO);
                self.bytes(chain.as_bytes());
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        self.0.push(length);
        self.0.extend(bytes.iter().take(length.into()));
    }

    /// The elements.
    pub(super) fn elements(&self) -> BTreeSet<Element> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(|| next(&mut rest)).collect()
    }

    /// Whether one of them leads to this chain.
    pub(super) fn leads_to(&self, chain: &str) -> bool {
        self.elements().iter().any(|it| it.list() == Some(chain))
    }
}

impl From<&BTreeSet<Element>> for Packed {
    fn from(elements: &BTreeSet<Element>) -> Self {
        let mut packed = Self::default();
        for element in elements {
            packed.add(element);
        }
        packed.0.shrink_to_fit();
        packed
    }
}

/// Takes the next element.
fn next(rest: &mut &[u8]) -> Option<Element> {
    let set = SETS.get(usize::from(byte(rest)?))?;
    let key = some_bytes(rest)?;
    let data = match byte(rest)? {
        kind::VALUE => Data::Value(some_bytes(rest)?),
        kind::RETURN => Data::Return,
        kind::GOTO => Data::Goto(String::from_utf8(some_bytes(rest)?).ok()?),
        _ => Data::None,
    };
    let set = set.name;
    Some(Element { set, key, data })
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(*first)
}

fn some_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(byte(rest)?);
    let (some, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(some.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        assert!(Packed::default().elements().is_empty());
        let data = [
            Data::None,
            Data::Value(vec![10, 77, 0, 11, 0, 80]),
            Data::Return,
            Data::Goto("list_0123456789ab".to_owned()),
            Data::Goto("x".repeat(255)),
        ];
        let each = SETS.iter().zip(data.iter().cycle()).enumerate();
        let all: BTreeSet<Element> = each
            .map(|(number, (set, data))| Element {
                set: set.name,
                key: vec![7; number],
                data: data.clone(),
            })
            .collect();
        assert!(all.len() > data.len());
        let packed = Packed::from(&all);
        assert_eq!(packed.elements(), all);
        assert!(packed.leads_to("list_0123456789ab") && !packed.leads_to("list_0123456789a"));
    }
}
