//! Which lines of log files are shown, and in which order.

use super::super::print::Form;
use super::*;

fn shown(folder: &Path, tenants: &[&str], range: Range) -> String {
    let tenants: Vec<TenantName> = tenants.iter().map(|name| name.parse().unwrap()).collect();
    let mut printer = Printer {
        out: Vec::new(),
        named: tenants.len() > 1,
        tenants,
        form: Form::Shown {
            zone: None,
            colours: false,
        },
    };
    past(folder, range, &mut printer).unwrap();
    String::from_utf8(printer.out).unwrap()
}

fn last(lines: usize) -> Range {
    Range {
        lines: Some(lines),
        since: None,
    }
}

#[test]
fn the_last_lines_reach_back_into_the_older_generation() {
    let folder = tempfile::tempdir().unwrap();
    let generations = Generations::of(folder.path(), &"acme".parse().unwrap());
    let last = |count| shown(folder.path(), &["acme"], last(count));
    assert_eq!(last(5), "");
    std::fs::write(&generations.newest, "c\nd\n").unwrap();
    assert_eq!(last(5), "c\nd\n");
    std::fs::write(&generations.older, "a\nb\n").unwrap();
    assert_eq!(last(3), "b\nc\nd\n");
    assert_eq!(last(2), "c\nd\n");
    assert_eq!(last(1), "d\n");
    assert_eq!(last(0), "");
    assert_eq!(last(usize::MAX), "a\nb\nc\nd\n");
    // The process that wrote the older one was killed.
    std::fs::write(&generations.older, "a\nb").unwrap();
    assert_eq!(last(3), "b\nc\nd\n");
}

#[test]
fn lines_longer_than_a_block_are_found_too() {
    let folder = tempfile::tempdir().unwrap();
    let generations = Generations::of(folder.path(), &"acme".parse().unwrap());
    let long = |c: &str| c.repeat(BLOCK + 10) + "\n";
    std::fs::write(&generations.newest, long("a") + &long("b") + &long("c")).unwrap();
    let last = |count| shown(folder.path(), &["acme"], last(count));
    assert_eq!(last(2), long("b") + &long("c"));
    assert_eq!(last(4), long("a") + &long("b") + &long("c"));
}

#[test]
fn the_first_line_since_a_time_is_found_in_a_large_file() {
    let folder = tempfile::tempdir().unwrap();
    let generations = Generations::of(folder.path(), &"acme".parse().unwrap());
    let line = |second: i64| {
        let time = Timestamp::from_second(1_795_000_000 + second).unwrap();
        format!("{time:.6} stdout {second}\n")
    };
    let text: String = (0..20_000).map(line).collect();
    assert!(text.len() > 10 * BLOCK);
    std::fs::write(&generations.newest, text).unwrap();
    for first in [-1, 0, 1, 2_000, 9_999, 19_998, 19_999, 20_000] {
        let since = Timestamp::from_second(1_795_000_000 + first).ok();
        let range = Range { lines: None, since };
        let shown = shown(folder.path(), &["acme"], range);
        let wanted = usize::try_from(20_000 - first.max(0)).unwrap();
        assert_eq!(shown.lines().count(), wanted, "since {first}");
    }
    let mut file = File::open(&generations.newest).unwrap();
    let since = Timestamp::from_second(1_795_000_000 + 15_000).unwrap();
    seek_before(&mut file, since).unwrap();
    assert!(file.stream_position().unwrap() > 6 * BLOCK as u64);
    // The clock is set back, for most of the file.
    let back: String = (30_000..30_010).chain(0..20_000).map(line).collect();
    std::fs::write(&generations.newest, back).unwrap();
    let range = Range {
        lines: None,
        since: Some(since),
    };
    let lines = shown(folder.path(), &["acme"], range).lines().count();
    assert_eq!(lines, 5_010);
}

#[test]
fn several_logs_are_merged_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, lines: &[(u32, &str)]| {
        let line = |(second, text): &(u32, &str)| {
            format!("2026-11-26T17:00:{second:02}.000000Z stdout {text}\n")
        };
        let text: String = lines.iter().map(line).collect();
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    write("a.log.1", &[(1, "a1"), (4, "a2")]);
    write("a.log", &[(6, "a3")]);
    write("b.log", &[(2, "b1"), (5, "b2"), (3, "set back"), (7, "b4")]);
    let texts = |range| {
        let shown = shown(folder.path(), &["a", "b"], range);
        let text = |line: &str| line.split_once("stdout  ").unwrap().1.to_owned();
        shown.lines().map(text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(texts(last(9)), "a1 b1 a2 b2 set back a3 b4");
    assert_eq!(texts(last(2)), "a3 b4");
    let since = "2026-11-26T17:00:04Z".parse().ok();
    let since = |lines| Range { lines, since };
    assert_eq!(texts(since(None)), "a2 b2 a3 b4");
    assert_eq!(texts(since(Some(1))), "b4");
}
