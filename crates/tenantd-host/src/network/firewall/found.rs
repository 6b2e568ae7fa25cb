//! The elements that an earlier supervisor has left, as the kernel reports them.

use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, SetElementAttribute, SetElementList, SetElementMessage,
    VerdictAttribute,
};

use super::elements::{Data, Element};
use super::sets::Set;
use super::wire;

/// The elements of an answer that bear a mark, each with its mark.
pub(super) fn elements_in(set: &Set, answer: SetElementMessage) -> Vec<(String, Element)> {
    let all = all_elements_in(set, answer).into_iter();
    all.filter_map(|(mark, element)| Some((mark?, element)))
        .collect()
}

/// All elements of an answer, each with its mark if it has one.
pub(super) fn all_elements_in(
    set: &Set,
    answer: SetElementMessage,
) -> Vec<(Option<String>, Element)> {
    let lists = answer.attributes.into_iter().filter_map(|part| match part {
        SetElementList::Elements(list) => Some(list),
        _ => None,
    });
    let parts = lists.flatten().filter_map(|part| match part {
        ListAttribute::Element(parts) => Some(parts),
        _ => None,
    });
    parts.filter_map(|parts| element_of(set, parts)).collect()
}

fn element_of(set: &Set, parts: Vec<SetElementAttribute>) -> Option<(Option<String>, Element)> {
    let (mut key, mut mark, mut data) = (None, None, Data::None);
    for part in parts {
        match part {
            SetElementAttribute::Key(DataAttribute::Value(value)) => key = Some(value),
            SetElementAttribute::Data(DataAttribute::Value(value)) => data = Data::Value(value),
            SetElementAttribute::Data(DataAttribute::Verdict(verdict)) => {
                data = verdict_of(verdict);
            }
            SetElementAttribute::UserData(userdata) => mark = wire::commented(&userdata),
            _ => {}
        }
    }
    let element = Element {
        set: set.name,
        key: key?,
        data,
    };
    Some((mark, element))
}

fn verdict_of(parts: Vec<VerdictAttribute>) -> Data {
    let chain = parts.into_iter().find_map(|part| match part {
        VerdictAttribute::Chain(chain) => Some(chain),
        _ => None,
    });
    chain.map_or(Data::Return, Data::Goto)
}
