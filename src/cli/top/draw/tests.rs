//! The screens, of several sizes.

use super::*;
use crate::cli::top::board::tests::board;
use crate::cli::top::keys::Key;

fn screen(board: &mut Board, width: usize, height: usize, is_unicode: bool) -> Vec<Line> {
    board.fit(height);
    let screen = Screen {
        width,
        height,
        is_unicode,
    };
    let lines = draw(board, Timestamp::from_second(200_000).unwrap(), screen);
    assert_eq!(lines.len(), height);
    for line in &lines {
        assert!(line.text.chars().count() <= width, "{line:?}");
        assert!(is_unicode || line.text.is_ascii(), "{line:?}");
    }
    lines
}

fn text(lines: &[Line]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.text.trim_end()).collect();
    lines.join("\n")
}

#[test]
fn three_tenants_on_80_columns() {
    let mut board = board(3);
    board.key(Key::Down);
    let lines = screen(&mut board, 80, 9, true);
    insta::assert_snapshot!(text(&lines), @r"
    wiki: 3 tenants: 2 up, 1 failed  by cpu  every 2 s
      NAME      STATE   READY   CPU%   MEM  IN/s  OUT/s  RESTARTS  UPTIME      TREND
    > shop-002  up      yes      1.0  2.0M   700    88K         2   2d 7h  ▁▁▁▁▁▂▂▁▂
      shop-001  up      yes      0.5  1.0M   350    44K         1   2d 7h  ▁▁▁▁▁▁▁▁▁
      shop-000  failed  -          -     -     -      -         0       -



    s start  x stop  r restart  p pause  l log  w why  / filter  ? keys  q quit
    ");
    let styles: Vec<Style> = lines.iter().map(|line| line.style).collect();
    let [head, plain] = [Style::Head, Style::Plain];
    let rows = [Style::Chosen, Style::Plain, Style::Bad];
    let expected = [
        &[head, head][..],
        &rows,
        &[plain, plain, plain, Style::Faint],
    ]
    .concat();
    assert_eq!(styles, expected);
}

#[test]
fn a_wider_terminal_shows_all_columns() {
    insta::assert_snapshot!(text(&screen(&mut board(3), 120, 7, true)), @r"
    wiki: 3 tenants: 2 up, 1 failed  by cpu  every 2 s
      NAME      STATE   READY   CPU%   MEM  IN/s  OUT/s  RESTARTS  UPTIME                                              TREND
      shop-002  up      yes      1.0  2.0M   700    88K         2   2d 7h                                          ▁▁▁▁▁▂▂▁▂
      shop-001  up      yes      0.5  1.0M   350    44K         1   2d 7h                                          ▁▁▁▁▁▁▁▁▁
      shop-000  failed  -          -     -     -      -         0       -

    s start  x stop  r restart  p pause  l log  w why  / filter  ? keys  q quit
    ");
}

#[test]
fn narrow_terminals_show_fewer_columns() {
    insta::assert_snapshot!(text(&screen(&mut board(3), 50, 7, false)), @r"
    wiki: 3 tenants: 2 up, 1 failed  by cpu  every 2 s
      NAME      STATE    CPU%   MEM  IN/s  OUT/s
      shop-002  up        1.0  2.0M   700    88K
      shop-001  up        0.5  1.0M   350    44K
      shop-000  failed      -     -     -      -

    s start  x stop  r restart  p pause  l log  w why~
    ");
    insta::assert_snapshot!(text(&screen(&mut board(3), 24, 7, false)), @r"
    wiki: 3 tenants: 2 up, ~
      NAME      STATE
      shop-002  up
      shop-001  up
      shop-000  failed

    s start  x stop  r rest~
    ");
    // Nothing sensible fits, and nothing panics.
    for (width, height) in [(1, 1), (2, 3), (7, 4), (0, 2)] {
        screen(&mut board(3), width, height, true);
    }
}

#[test]
fn a_thousand_tenants_are_scrolled() {
    let mut board = board(1000);
    board.key(Key::PageDown);
    board.fit(10);
    board.key(Key::PageDown);
    insta::assert_snapshot!(text(&screen(&mut board, 80, 10, true)), @r"
    wiki: 1000 tenants: 999 up, 1 failed  2-7 of 1000  by cpu  every 2 s
      NAME      STATE  READY   CPU%   MEM  IN/s  OUT/s  RESTARTS  UPTIME       TREND
      shop-998  up     yes    499.0  998M  341K    43M         4   2d 7h   ▂▄▅▁▅▇█▁█
      shop-997  up     yes    498.5  997M  341K    43M         3   2d 7h   ▂▄▅▁▅▇█▁█
      shop-996  up     yes    498.0  996M  340K    43M         2   2d 7h   ▂▄▅▁▅▇█▁█
      shop-995  up     yes    497.5  995M  340K    43M         1   2d 7h   ▂▄▅▁▅▇█▁█
      shop-994  up     yes    497.0  994M  340K    43M         0   2d 7h   ▂▄▅▁▅▇█▁█
    > shop-993  up     yes    496.5  993M  339K    43M         6   2d 7h   ▂▄▅▁▅▇█▁█

    s start  x stop  r restart  p pause  l log  w why  / filter  ? keys  q quit
    ");
}

#[test]
fn what_is_asked_and_what_is_wrong_is_below_the_table() {
    let mut board = board(3);
    board.key(Key::Down);
    board.key(Key::Char('x'));
    let lines = screen(&mut board, 80, 8, true);
    assert_eq!(lines[6].text, "stop shop-002? y: yes, other keys: no");
    board.key(Key::Char('n'));
    board.key(Key::Escape);
    board.lose("the supervisor of wiki has ended".to_owned());
    let lines = screen(&mut board, 80, 8, true);
    assert!(lines[0].text.starts_with("NOT CURRENT  wiki: 3 tenants"));
    assert_eq!(lines[2].style, Style::Faint);
    assert_eq!(
        lines[6],
        line("the supervisor of wiki has ended".to_owned(), Style::Bad)
    );
    for key in "/zzz".chars() {
        board.key(Key::Char(key));
    }
    let lines = screen(&mut board, 80, 8, true);
    assert_eq!(
        lines[2].text,
        "  no tenant is shown: / changes the filter, f shows all"
    );
    assert_eq!(lines[6].text, "filter: zzz_");
    assert!(lines[0].text.contains("filter zzz"));
}

#[test]
fn a_long_message_is_shown_whole_where_there_is_room() {
    let mut board = board(100);
    board.lose(format!("lost: {} the end", "word ".repeat(25).trim_end()));
    let lines = screen(&mut board, 80, 12, true);
    assert!(lines[8].text.starts_with("  shop-0"), "{lines:?}");
    assert!(lines[9].text.starts_with("lost: word"), "{lines:?}");
    assert!(lines[10].text.ends_with("the end"), "{lines:?}");
    assert!(lines[11].text.starts_with("s start"), "{lines:?}");
    let small = screen(&mut board, 80, 8, true);
    assert!(small[6].text.ends_with('…') && small[5].text.starts_with("  shop"));
}

#[test]
fn the_memory_that_is_shown_has_its_name() {
    let board = board(3);
    assert_eq!(header(&board.shown())[4], "MEM");
    let mut resident = Usage::NONE;
    resident.memory = Some(1);
    resident.is_resident = true;
    let tenant = &board.status.tenants[0];
    let shown = [(tenant, &resident), (tenant, &Usage::NONE)];
    assert_eq!(header(&shown)[4], "RSS");
}
