//! The elements of a tenant in a few bytes. A supervisor keeps those of all its tenants, and seldom needs them.

use std::collections::BTreeSet;

use super::elements::{Data, Element};
use super::sets::SETS;

/// For each element: the number of its set, its key, a byte of [`kind`], and the value or the name of the chain, if there is one.
/// A byte with their length stands before key, value and name: the kernel has keys and values of up to 64 bytes
/// (`NFT_DATA_VALUE_MAXLEN`), and names of up to 255.
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
        self.parts().filter_map(Part::element).collect()
    }

    /// The lists that they lead to, each once.
    pub(super) fn lists(&self) -> BTreeSet<&str> {
        let chains = self.parts().filter(|part| part.kind == kind::GOTO);
        chains
            .filter_map(|part| std::str::from_utf8(part.data).ok())
            .collect()
    }

    /// Whether one of them leads to this chain.
    pub(super) fn leads_to(&self, chain: &str) -> bool {
        self.parts()
            .any(|part| part.kind == kind::GOTO && part.data == chain.as_bytes())
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || Part::next(&mut rest))
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

/// An element where it is packed.
struct Part<'a> {
    set: u8,
    key: &'a [u8],
    kind: u8,
    data: &'a [u8],
}

impl<'a> Part<'a> {
    /// Takes the next one.
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        let (set, key, kind) = (byte(rest)?, some_bytes(rest)?, byte(rest)?);
        let data = match kind {
            kind::VALUE | kind::GOTO => some_bytes(rest)?,
            _ => &[],
        };
        Some(Self {
            set,
            key,
            kind,
            data,
        })
    }

    fn element(self) -> Option<Element> {
        let data = match self.kind {
            kind::VALUE => Data::Value(self.data.to_vec()),
            kind::RETURN => Data::Return,
            kind::GOTO => Data::Goto(String::from_utf8(self.data.to_vec()).ok()?),
            _ => Data::None,
        };
        Some(Element {
            set: SETS.get(usize::from(self.set))?.name,
            key: self.key.to_vec(),
            data,
        })
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(*first)
}

fn some_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(byte(rest)?);
    let (some, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(some)
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
            Data::Value(b"list_of_a_value".to_vec()),
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
        assert!(!packed.leads_to("list_of_a_value"));
    }
}
