//! The difference between two texts, as diff -u shows it.

use std::fmt::Write;

/// How many equal lines are shown before and after a difference.
const CONTEXT: usize = 3;

/// Parts with more pairs of lines than this are shown as replaced, without a search for what is equal
/// in them. The search takes memory and time for each pair.
const PAIRS_MAX: usize = 1 << 20;

/// One line of both texts: which has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The differences, without the two lines that name the files. Empty if there are none.
pub(super) fn text(old: &str, new: &str) -> String {
    let lines = lines(
        &old.split_inclusive('\n').collect::<Vec<_>>(),
        &new.split_inclusive('\n').collect::<Vec<_>>(),
    );
    let mut out = String::new();
    let mut at = 0;
    // The lines of both texts before `at`.
    let (mut before, mut after) = (0, 0);
    while let Some(first) = lines[at..].iter().position(|line| !is_equal(line)) {
        let begin = at + first.saturating_sub(CONTEXT);
        count(&lines[at..begin], &mut before, &mut after);
        let end = end_of_hunk(&lines, at + first);
        let hunk = &lines[begin..end];
        let (mut olds, mut news) = (0, 0);
        count(hunk, &mut olds, &mut news);
        // A range without lines is named by the line before it.
        let start = |lines: usize, before: usize| before + usize::from(lines > 0);
        let _ = writeln!(
            out,
            "@@ -{},{olds} +{},{news} @@",
            start(olds, before),
            start(news, after)
        );
        for line in hunk {
            write_line(&mut out, *line);
        }
        before += olds;
        after += news;
        at = end;
    }
    out
}

fn is_equal(line: &Line<'_>) -> bool {
    matches!(line, Line::Both(_))
}

fn count(lines: &[Line<'_>], old: &mut usize, new: &mut usize) {
    for line in lines {
        *old += usize::from(!matches!(line, Line::New(_)));
        *new += usize::from(!matches!(line, Line::Old(_)));
    }
}

/// The end of the hunk with the difference at `at`: differences that are near belong to it.
fn end_of_hunk(lines: &[Line<'_>], at: usize) -> usize {
    let mut end = at + 1;
    loop {
        let equal = lines[end..]
            .iter()
            .take_while(|line| is_equal(line))
            .count();
        if end + equal == lines.len() || equal > 2 * CONTEXT {
            return end + equal.min(CONTEXT);
        }
        end += equal + 1;
    }
}

fn write_line(out: &mut String, line: Line<'_>) {
    let (mark, text) = match line {
        Line::Both(text) => (' ', text),
        Line::Old(text) => ('-', text),
        Line::New(text) => ('+', text),
    };
    out.push(mark);
    // Not what a terminal would act on.
    let shown = text.strip_suffix('\n').unwrap_or(text).chars();
    out.extend(shown.map(|c| match c {
        '\t' => '\t',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }));
    out.push('\n');
    if !text.ends_with('\n') {
        out.push_str("\\ No newline at end of file\n");
    }
}

/// The lines of both texts, by a longest common subsequence.
fn lines<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(new).take_while(same).count();
    let (olds, news) = (&old[head..], &new[head..]);
    let tail = olds.iter().rev().zip(news.iter().rev());
    let tail = tail.take_while(same).count();
    let (olds, news) = (&olds[..olds.len() - tail], &news[..news.len() - tail]);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Both(line)).collect();
    match olds.len().checked_mul(news.len()) {
        Some(pairs) if pairs <= PAIRS_MAX => middle(olds, news, &mut lines),
        Some(_) | None => {
            lines.extend(olds.iter().map(|line| Line::Old(line)));
            lines.extend(news.iter().map(|line| Line::New(line)));
        }
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| Line::Both(line)));
    lines
}

fn middle<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<Line<'a>>) {
    // At (i, j): the length of what old[i..] and new[j..] have in common.
    let width = new.len() + 1;
    let mut shared = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            shared[i * width + j] = match old[i] == new[j] {
                true => shared[(i + 1) * width + j + 1] + 1,
                false => shared[(i + 1) * width + j].max(shared[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            lines.push(Line::Both(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if shared[(i + 1) * width + j] >= shared[i * width + j + 1] {
            lines.push(Line::Old(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines.extend(old[i..].iter().map(|line| Line::Old(line)));
    lines.extend(new[j..].iter().map(|line| Line::New(line)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn differences_have_context_and_line_numbers() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n5\n", "\nfive\n").replace("20\n", "20");
        assert_eq!(
            text(&old, &new),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
             @@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+20\n\\ No newline at end of file\n"
        );
        assert_eq!(text("", "a\n"), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(text("a\n", "a\n"), "");
        assert_eq!(text("", "\u{1b}[1m\n"), "@@ -0,0 +1,1 @@\n+\u{fffd}[1m\n");
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_the_lines(old in "[ab\n]{0,40}", new in "[ab\n]{0,40}") {
            let split = |text: &'static str| text.split_inclusive('\n').collect::<Vec<_>>();
            let [olds, news] = [&old, &new].map(|it| split(Box::leak(it.clone().into_boxed_str())));
            let all = lines(&olds, &news);
            let side = |new: bool| -> String {
                let lines = all.iter().filter_map(|line| match line {
                    Line::Both(text) => Some(*text),
                    Line::Old(text) => (!new).then_some(*text),
                    Line::New(text) => new.then_some(*text),
                });
                lines.collect()
            };
            prop_assert_eq!(side(false), old.clone());
            prop_assert_eq!(side(true), new.clone());
            prop_assert_eq!(text(&old, &new).is_empty(), old == new);
        }
    }
}
