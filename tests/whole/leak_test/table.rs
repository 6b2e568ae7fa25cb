//! Each way with where it is open and where it is closed. What was found is in the golden files of the tests
//! beside it, and the table of all ways is one too: a new way is in it once it is shown open and closed.

use std::collections::BTreeMap;
use std::fs;

use super::{compare, golden_file, on_host};

/// Where a way can be open, by golden file.
const WITHOUT: [(&str, &str); 2] = [
    ("no-guards", "without guards"),
    ("root-no-guards", "as root without guards"),
];

/// Where it can be closed.
const WITH: [(&str, &str); 4] = [
    ("one-user", "by default"),
    ("own-users", "a user for each"),
    ("strict", "strict, on a bridge"),
    ("root", "as root"),
];

/// A result and what is said of it, by the group and the way.
pub(super) type Found = BTreeMap<(String, String), (String, String)>;

pub(super) fn found(golden: &str) -> Found {
    let path = golden_file(golden);
    let text = fs::read_to_string(&path).unwrap();
    let (mut group, mut found) = (String::new(), BTreeMap::new());
    for line in text.lines() {
        match line.strip_prefix("  ") {
            None => group = line.replace(" globex", "").to_lowercase(),
            Some(line) => {
                let (word, way) = line.split_at(7);
                let (way, rest) = way.split_at_checked(39).unwrap();
                let trim = |text: &str| text.trim().to_owned();
                let way = (group.clone(), trim(way));
                found.insert(way, (trim(word), trim(rest)));
            }
        }
    }
    assert!(found.len() >= 140, "{golden}: {}", found.len());
    found
}

#[test]
fn each_way_is_shown_open_and_closed() {
    let [without, root] = WITHOUT.map(|(golden, name)| (name, found(golden)));
    let with = WITH.map(|(golden, name)| (name, found(golden)));
    let ways: Vec<_> = with[0].1.keys().cloned().collect();
    for (name, other) in [&without, &root].into_iter().chain(&with) {
        assert!(other.keys().eq(&ways), "{name}: other ways");
    }
    let mut text = String::new();
    for way in &ways {
        let is = |found: &Found, word: &str| found[way].0 == word;
        let open = [&without, &root].into_iter().find(|it| is(&it.1, "open"));
        let open = match open {
            Some((name, _)) => name,
            // `on_host` shows it.
            None => {
                assert!(!on_host::NOT_THERE.contains(&way.1.as_str()), "{way:?}");
                "outside of tenants"
            }
        };
        let by_guard =
            |it: &&(_, Found)| is(&it.1, "closed") && !it.1[way].1.starts_with("the kernel (");
        let closed = with.iter().find(by_guard);
        let closed = match closed {
            Some((name, found)) => format!("closed {name}: {}", found[way].1),
            None => {
                let by_design = |(_, found): &(_, Found)| found[way].1.starts_with("by design");
                assert!(with.iter().all(by_design), "{way:?} is never closed");
                "never closed: by design".to_owned()
            }
        };
        let (group, name) = way;
        text += &format!("{group}: {name:<38} open {open:<23} {closed}\n");
    }
    compare("each-way", &text);
}
