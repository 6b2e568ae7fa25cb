//! Tests of the history in the store.

use super::*;
use crate::store::Store;
use tenantd_api::history::Asked;

const BOOT: (&str, Timestamp) = ("one", Timestamp::UNIX_EPOCH);

struct Bench {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    store: Store,
    history: History,
}

fn bench(bytes: u64) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.db");
    let mut store = Store::open(&path, 0).unwrap();
    let bounds = Bounds {
        age_ms: 1000,
        bytes,
    };
    let history = History::open(store.connection(), bounds, BOOT).unwrap();
    Bench {
        _folder: folder,
        path,
        store,
        history,
    }
}

fn line(run: &str, n: u64, kind: Kind, ms: i64, text: &str) -> Noted {
    Noted {
        run: run.to_owned(),
        n,
        mark: None,
        entry: Entry::new(kind, Timestamp::from_millisecond(ms).unwrap(), text),
    }
}

impl Bench {
    fn take(&mut self, tenant: Option<&str>, lines: &[Noted]) {
        let lines = lines
            .iter()
            .map(|line| serde_json::to_string(line).unwrap());
        let text = lines.collect::<Vec<_>>().join("\n\n");
        let app = "wiki".parse().unwrap();
        let tenant = tenant.map(|it| it.parse().unwrap());
        let round = self.store.connection().transaction().unwrap();
        self.history
            .file(&round, (&app, tenant.as_ref()), &text)
            .unwrap();
        round.commit().unwrap();
    }

    fn found(&self, asked: &Asked) -> Vec<String> {
        let found = find(&self.path, asked).unwrap();
        let shown = found.iter().map(|it| {
            let tenant = it.tenant.as_ref().map_or("-", TenantName::as_str);
            let output = it.output.join("|");
            format!("{tenant} {} x{} {output}", it.text, it.times)
        });
        shown.map(|it| it.trim_end().to_owned()).collect()
    }
}

#[test]
fn lines_are_taken_once_and_what_is_missing_is_shown() {
    let mut bench = bench(1 << 20);
    let end = |n, text: &str| line("a", n, Kind::End, 10 * i64::try_from(n).unwrap(), text);
    // The supervisor was there before the meter.
    bench.take(Some("acme"), &[end(7, "seven"), end(8, "eight")]);
    let mut output = end(9, "");
    output.mark = Some(Mark::Output);
    output.entry.output = vec!["no disk".to_owned()];
    bench.take(Some("acme"), &[end(8, "eight"), output, end(12, "twelve")]);
    bench.take(Some("acme"), &[line("b", 2, Kind::Start, 200, "up")]);
    let found = bench.found(&Asked::default());
    let gap = |count: u64| gap(&end(1, "").entry, count).text;
    let expected = [
        "acme seven x1".to_owned(),
        "acme eight x1 no disk".to_owned(),
        format!("acme {} x1", gap(2)),
        "acme twelve x1".to_owned(),
        format!("acme {} x1", gap(1)),
        "acme up x1".to_owned(),
    ];
    assert_eq!(found, expected);
    let last = Asked {
        kinds: vec![Kind::End],
        lines: Some(2),
        ..Asked::default()
    };
    assert_eq!(
        bench.found(&last),
        ["acme eight x1 no disk", "acme twelve x1"]
    );
    let then = Asked {
        since_ms: Some(80),
        until_ms: Some(119),
        ..Asked::default()
    };
    assert_eq!(bench.found(&then), ["acme eight x1 no disk"]);
}

#[test]
fn one_that_flaps_is_some_entries_an_hour() {
    let mut bench = bench(1 << 20);
    let mut lines = Vec::new();
    for at in 0..300_i64 {
        let n = 2 * at.unsigned_abs();
        lines.push(line("a", n + 1, Kind::Start, at * 600, "up"));
        lines.push(line("a", n + 2, Kind::End, at * 600 + 1, "exited"));
    }
    bench.take(Some("acme"), &lines);
    let found = bench.found(&Asked::default());
    let expected = [["acme up x1", "acme exited x1"]; 2].concat();
    assert_eq!(found[..4], expected);
    assert_eq!(found[4..], ["acme up x298", "acme exited x298"]);
    bench.take(
        Some("acme"),
        &[line("a", 601, Kind::Start, SAME_MS + 1, "up")],
    );
    assert_eq!(bench.found(&Asked::default()).len(), 7);
    // A moment in the middle of them finds them.
    let then = Asked {
        since_ms: Some(10_000),
        until_ms: Some(10_001),
        ..Asked::default()
    };
    assert_eq!(bench.found(&then).len(), 2);
}

#[test]
fn the_bounds_cost_first_the_tenant_that_has_most() {
    let mut bench = bench(16 * 1024);
    bench.take(Some("bolt"), &[line("a", 1, Kind::End, 0, "the night")]);
    let flood = (1..=200_i64).map(|n| {
        let text = format!("{n} {}", "x".repeat(100));
        line("a", n.unsigned_abs(), Kind::End, n, &text)
    });
    bench.take(Some("acme"), &flood.collect::<Vec<_>>());
    assert!(bench.history.sizes.values().sum::<u64>() <= 16 * 1024);
    let found = bench.found(&Asked::default());
    assert!(
        found.len() < 80 && found[0] == "bolt the night x1",
        "{}",
        found.len()
    );
    assert!(
        found[1].starts_with("acme entries until this time were removed"),
        "{}",
        found[1]
    );
    // What is counted is what is there.
    let counted = bench.history.sizes.clone();
    assert_eq!(counted, table::sizes(bench.store.connection()).unwrap());
    let round = bench.store.connection().transaction().unwrap();
    table::remove_old(&round, 1).unwrap();
    round.commit().unwrap();
    assert!(bench.found(&Asked::default())[0].starts_with("acme entries until"));
}

#[test]
fn deaths_of_supervisors_and_boots_are_noted() {
    let mut bench = bench(1 << 20);
    let began = |run: &str, mark, ms| Noted {
        mark: Some(mark),
        ..line(run, 1, Kind::Supervisor, ms, "it")
    };
    bench.take(None, &[began("a", Mark::Began, 10)]);
    bench.take(None, &[began("b", Mark::Began, 20_000_000)]);
    bench.take(None, &[began("c", Mark::Ended, 40_000_000)]);
    bench.take(None, &[began("d", Mark::Began, 60_000_000)]);
    let found = bench.found(&Asked::default());
    let died = found.iter().filter(|it| it.contains("was killed")).count();
    assert_eq!((found.len(), died), (5, 1), "{found:?}");
    let again = |bench: &mut Bench, boot| {
        History::open(
            bench.store.connection(),
            BOUNDS,
            (boot, Timestamp::UNIX_EPOCH),
        )
        .unwrap();
        bench.found(&Asked::default()).len()
    };
    assert_eq!((again(&mut bench, "one"), again(&mut bench, "two")), (5, 6));
    // Of one tenant: also what concerns all, and what names it.
    let mut reload = line("d", 2, Kind::Reload, 70_000_000, "1 to relaunch");
    reload.entry.tenants = vec!["bolt".parse().unwrap()];
    bench.take(None, &[reload]);
    let of = |bench: &Bench, name: &str| {
        let names = vec![name.to_owned()];
        let found = bench.found(&Asked {
            names,
            ..Asked::default()
        });
        found.iter().any(|it| it.contains("relaunch"))
    };
    assert!(of(&bench, "b*") && !of(&bench, "acme"));
}
