//! Numbers and small charts in few characters. Pure.

use super::usage::amount;

/// The letters of 1, 1024, 1024² and so on.
const LETTERS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// The levels of a small chart.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '#'];

/// The full height of a chart is at least this, in percent of one processor.
const HEIGHT_LEAST: f64 = 10.0;

/// Bytes in at most four characters: `9.8M` is that many times 1024².
pub(super) fn bytes(number: u64) -> String {
    let mut value = amount(number);
    let mut letters = LETTERS.iter();
    let mut letter = letters.next().copied().unwrap_or_default();
    while value >= 999.5 {
        let Some(next) = letters.next() else {
            break;
        };
        value /= 1024.0;
        letter = next;
    }
    match letter.is_empty() || value >= 9.95 {
        true => format!("{value:.0}{letter}"),
        false => format!("{value:.1}{letter}"),
    }
}

/// A percentage with one digit after the point, below a thousand.
pub(super) fn percent(number: f64) -> String {
    match number < 999.95 {
        true => format!("{number:.1}"),
        false => format!("{number:.0}"),
    }
}

/// The last values as a chart of this width, the latest at the right. Its full height is the largest of them.
pub(super) fn chart<'a>(
    values: impl DoubleEndedIterator<Item = &'a f64>,
    width: usize,
    is_unicode: bool,
) -> String {
    let mut values: Vec<f64> = values.rev().take(width).copied().collect();
    values.reverse();
    let height = values.iter().copied().fold(HEIGHT_LEAST, f64::max);
    let levels = if is_unicode { BLOCKS } else { ASCII };
    let level = |value: &f64| {
        let step = super::usage::whole(value / height * amount(levels.len() as u64 - 1));
        let step = usize::try_from(step).unwrap_or_default();
        levels[step.min(levels.len() - 1)]
    };
    let drawn: String = values.iter().map(level).collect();
    format!("{drawn:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_four_characters() {
        let of = |numbers: &[u64]| -> Vec<String> { numbers.iter().map(|n| bytes(*n)).collect() };
        let mib = 1 << 20;
        assert_eq!(
            of(&[0, 999, 1000, 1024, 10 * 1024, 1023 * 1024]),
            ["0", "999", "1.0K", "1.0K", "10K", "1.0M"]
        );
        assert_eq!(
            of(&[12 * mib, 999 * mib, 1500 * mib, u64::MAX]),
            ["12M", "999M", "1.5G", "16E"]
        );
        assert!((0..64).all(|bit| bytes(1 << bit).len() <= 4));
    }

    #[test]
    fn a_chart_has_its_largest_value_at_full_height() {
        let values = [0.0, 50.0, 100.0];
        assert_eq!(chart(values.iter(), 5, true), "  ▁▅█");
        assert_eq!(chart(values.iter(), 2, true), "▅█");
        assert_eq!(chart(values.iter(), 5, false), "   =#");
        // What is next to nothing looks like it.
        assert_eq!(chart([0.1, 0.2].iter(), 2, true), "▁▁");
        assert_eq!(chart([].iter(), 3, true), "   ");
    }
}
