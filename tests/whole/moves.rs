//! A tenant goes to another host: two hosts are namespaces on this machine, and a program in the tenant counts in its
//! data, and beside it what it has counted. No count may be lost or be there twice.

mod attacked;
mod hosts;
mod room;
mod several;
mod snapshots;

use std::fs;

use jiff::Timestamp;
use tenantd_api::wire::StateWord;

use self::hosts::{Both, record};

/// The crash points of both sides, and whether the datastore is handed over at each.
const POINTS: [(&str, bool); 10] = [
    ("move: noted", false),
    ("move: copied while up", false),
    ("move: stopped", false),
    ("move: copied", false),
    ("move: sealed", false),
    ("move: handed over", true),
    ("move: record taken", true),
    ("move: copy in place", true),
    ("move: taken", true),
    ("move: stub in place", true),
];

pub(crate) fn points() -> impl Iterator<Item = &'static str> {
    let points = POINTS.iter().map(|(point, _)| *point);
    points.chain(snapshots::points())
}

/// A text without the ends of its lines.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn a_tenant_moves_with_all_that_it_wrote_and_does_not_start_here_again() {
    let both = Both::start(&named(&["acme", "bolt"]), &[]);
    both.up("acme");
    let told = both.move_with(&["acme", "h2", "--dry-run"], "");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("rsync over"), "{told:?}");
    assert!(!both.there("acme").exists());
    assert_eq!(both.first.tenant("acme").state, StateWord::Up);

    let said = both.moved("acme");
    for word in [
        "round 1: ",
        "stopped",
        "last round: ",
        "moved to h2",
        "acme.moved-",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    both.is_whole("acme");
    let refused = both.first.tell(&["start", "acme"]);
    assert!(
        refused.code == 12 && words(&refused.out).contains("host h2"),
        "{refused:?}"
    );
    // Nor is an empty folder taken over for its data.
    let refused = both.first.tell(&["start", "acme", "--takeover"]);
    assert!(
        refused.code == 12 && words(&refused.out).contains("is an empty folder"),
        "{refused:?}"
    );
    both.first.tell(&["stop", "acme"]).expect(0);

    // What fails before the hand-over starts it here again.
    both.up("bolt");
    for step in ["check", "stage", "rsync", "seal"] {
        fs::write("/srv/broken", step).unwrap();
        let said = both.move_with(&["bolt", "h2"], "");
        assert!(
            said.code == 1 && said.err.contains("broken"),
            "{step}: {said:?}"
        );
        assert_eq!(
            both.first.tenant("bolt").state,
            StateWord::Up,
            "{step}: {said:?}"
        );
    }
    fs::remove_file("/srv/broken").unwrap();
    let undone = both.move_with(&["bolt", "h2", "--undo"], "");
    assert_eq!(undone.code, 0, "{undone:?}");
    assert!(!both.there(".bolt.importing").exists());
    assert_eq!(both.first.tenant("bolt").state, StateWord::Up);
    // Data that is there is not replaced, nor is the tenant stopped.
    fs::create_dir(both.there("bolt")).unwrap();
    let said = both.move_with(&["bolt", "h2"], "");
    assert!(
        said.code == 1 && said.err.contains("there is a datastore already"),
        "{said:?}"
    );
    assert_eq!(both.first.tenant("bolt").state, StateWord::Up);
    both.end();
}

#[test]
fn a_move_that_was_killed_leaves_one_host_that_may_start_it_and_is_finished_by_the_next() {
    let names: Vec<String> = (0..POINTS.len())
        .map(|number| format!("t{number}"))
        .collect();
    let both = Both::start(&names, &names);
    std::thread::scope(|each| {
        for (name, (point, is_over)) in names.iter().zip(POINTS) {
            let both = &both;
            each.spawn(move || is_killed_and_finished(both, name, point, is_over));
        }
    });
    both.end();
}

fn is_killed_and_finished(both: &Both, name: &str, point: &str, is_over: bool) {
    both.up(name);
    let begun = Timestamp::now();
    let killed = both.move_with(&[name, "h2"], point);
    assert_ne!(killed.code, 0, "{point}: {killed:?}");
    if is_over {
        // With these times, the start there asks no other machine for its addresses.
        let mut places = vec![format!("/var/lib/tenantd/{}/{name}", both.first.app).into()];
        match point {
            "move: record taken" => places.push(both.there(&format!(".{name}.importing"))),
            "move: copy in place" => places.push(both.there(name)),
            _ => {}
        }
        for place in places {
            let left = record(&place).left;
            assert!(left > Some(begun), "{point}: {}: {left:?}", place.display());
        }
    }
    let is_there = both.there(name).exists();
    let here = both.first.tell(&["start", name]);
    let expected = if is_over { 12 } else { 0 };
    assert_eq!(here.code, expected, "{point}: {here:?}");
    if !is_there {
        let there = both.second.tell(&format!("start {name}"));
        assert_ne!(there.code, 0, "{point}: {there:?}");
        assert!(
            words(&there.out).contains("brings its data here"),
            "{point}: {there:?}"
        );
        both.second.tell(&format!("stop {name}")).expect(0);
    }
    if point == "move: handed over" {
        // The first host is lost: what the message says to type. Then it is back.
        let takeover = format!("`tenantd start {name} --app {} --takeover`", both.first.app);
        let there = both.second.tell(&format!("start {name}"));
        assert!(words(&there.out).contains(&takeover), "{there:?}");
        let there = both.second.tell(&format!("start {name} --takeover"));
        assert_eq!(there.code, 0, "{there:?} {}", both.second.said());
        assert!(!both.there(&format!(".{name}.receiving")).exists());
    }
    if point == "move: copied while up" {
        let there = both.second.tell(&format!("start {name} --takeover"));
        assert!(
            there.code != 0 && words(&there.out).contains("its copy is not complete"),
            "{there:?}"
        );
        both.second.tell(&format!("stop {name}")).expect(0);
    }
    both.moved(name);
    both.is_whole(name);
}
