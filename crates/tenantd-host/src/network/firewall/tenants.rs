//! What the tables have of each tenant, and which tenants share a list.

use std::collections::BTreeMap;

use super::elements::Element;
use super::packed::Packed;

/// The elements of each tenant, by its mark.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    elements: BTreeMap<String, Packed>,
    /// How many tenants have each list, so that nobody goes through all tenants to learn whether one has it.
    users: BTreeMap<String, usize>,
}

impl Tenants {
    /// The elements of a tenant, if there are any.
    pub(super) fn get(&self, mark: &str) -> Option<&Packed> {
        self.elements.get(mark)
    }

    /// Adds an element of a tenant that is not there yet.
    pub(super) fn add(&mut self, mark: String, element: &Element) {
        let elements = self.elements.entry(mark).or_default();
        if let Some(list) = element.list()
            && !elements.leads_to(list)
        {
            *self.users.entry(list.to_owned()).or_default() += 1;
        }
        elements.add(element);
    }

    /// Replaces the elements of a tenant.
    pub(super) fn insert(&mut self, mark: String, elements: Packed) {
        for list in elements.lists() {
            *self.users.entry(list.to_owned()).or_default() += 1;
        }
        if let Some(before) = self.elements.insert(mark, elements) {
            self.forget_lists(&before);
        }
    }

    /// Removes the elements of a tenant.
    pub(super) fn remove(&mut self, mark: &str) -> Option<Packed> {
        let before = self.elements.remove(mark)?;
        self.forget_lists(&before);
        Some(before)
    }

    fn forget_lists(&mut self, before: &Packed) {
        for list in before.lists() {
            if let Some(users) = self.users.get_mut(list) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(list);
                }
            }
        }
    }

    /// How many tenants have a list.
    pub(super) fn users(&self, list: &str) -> usize {
        self.users.get(list).copied().unwrap_or(0)
    }

    pub(super) fn contains(&self, mark: &str) -> bool {
        self.elements.contains_key(mark)
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Packed)> {
        let all = self.elements.iter();
        all.map(|(mark, elements)| (mark.as_str(), elements))
    }
}

impl FromIterator<(String, Packed)> for Tenants {
    fn from_iter<T: IntoIterator<Item = (String, Packed)>>(all: T) -> Self {
        let mut tenants = Self::default();
        for (mark, elements) in all {
            tenants.insert(mark, elements);
        }
        tenants
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::elements::Data;
    use super::super::sets::SETS;
    use super::*;

    /// Elements of two sets, which lead to these lists.
    fn elements(lists: &[&str]) -> BTreeSet<Element> {
        let element = |(number, list): (usize, &&str)| Element {
            set: SETS[number % 2].name,
            key: vec![u8::try_from(number).unwrap()],
            data: Data::Goto((*list).to_owned()),
        };
        lists.iter().enumerate().map(element).collect()
    }

    #[test]
    fn each_tenant_counts_once_for_a_list_as_long_as_it_has_it() {
        let mut tenants = Tenants::default();
        let packed = |lists| Packed::from(&elements(lists));
        tenants.insert("one".to_owned(), packed(&["list_a", "list_a"]));
        for element in elements(&["list_a", "list_a", "list_b"]) {
            tenants.add("two".to_owned(), &element);
        }
        let users = |tenants: &Tenants| ["list_a", "list_b", "list_c"].map(|it| tenants.users(it));
        assert_eq!(users(&tenants), [2, 1, 0]);
        tenants.insert("one".to_owned(), packed(&["list_b"]));
        assert_eq!(users(&tenants), [1, 2, 0]);
        tenants.insert("one".to_owned(), packed(&["list_b", "list_c"]));
        assert_eq!(users(&tenants), [1, 2, 1]);
        assert!(tenants.remove("two").is_some() && tenants.remove("two").is_none());
        assert_eq!(users(&tenants), [0, 1, 1]);
        tenants.insert("one".to_owned(), packed(&[]));
        assert_eq!(users(&tenants), [0; 3]);
        assert!(tenants.users.is_empty() && tenants.contains("one") && tenants.len() == 1);
    }
}
