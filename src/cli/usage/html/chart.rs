//! Charts of bars, one for each period, as SVG.

use super::super::units::{bytes, time};
use tenantd_api::usage::{Amounts, Usage};

/// The size of a chart, and of the place for its bars.
const WIDTH: u64 = 320;
const HEIGHT: u64 = 130;
const TOP: u64 = 18;
const BOTTOM: u64 = 110;

/// A chart with one bar for each period, or two on top of each other.
pub(super) struct Chart<'a> {
    title: &'static str,
    /// What the first and the second bar stand for, if there are two.
    keys: Option<[&'static str; 2]>,
    periods: Vec<&'a str>,
    first: Vec<u64>,
    second: Vec<u64>,
    text: fn(u64) -> String,
}

type Amount = fn(&Amounts) -> Option<u64>;

/// A title, the names of two amounts if there are two, the amounts, and their text.
type Kind = (
    &'static str,
    Option<[&'static str; 2]>,
    Amount,
    Amount,
    fn(u64) -> String,
);

/// The charts of what is counted.
pub(super) fn charts<'a>(usage: &[&'a Usage]) -> Vec<Chart<'a>> {
    let none: Amount = |_| None;
    let all: [Kind; 6] = [
        (
            "Processor time",
            None,
            |it| Some(it.cpu_usec? / 1000),
            none,
            time,
        ),
        ("Largest memory", None, |it| it.memory_peak, none, bytes),
        (
            "Received and sent",
            Some(["received", "sent"]),
            |it| it.in_bytes,
            |it| it.out_bytes,
            bytes,
        ),
        (
            "Read and written",
            Some(["read", "written"]),
            |it| it.io_read,
            |it| it.io_written,
            bytes,
        ),
        ("Data", None, |it| it.datastore_bytes, none, bytes),
        ("Up", None, |it| it.up_ms, none, time),
    ];
    let is_counted = |first: Amount| usage.iter().any(|it| first(&it.amounts).is_some());
    let counted = all
        .into_iter()
        .filter(|(_, _, first, _, _)| is_counted(*first));
    let of = |amount: Amount| {
        usage
            .iter()
            .map(|it| amount(&it.amounts).unwrap_or(0))
            .collect()
    };
    let chart = counted.map(|(title, keys, first, second, text)| Chart {
        title,
        keys,
        periods: usage.iter().map(|it| it.period.as_str()).collect(),
        first: of(first),
        second: of(second),
        text,
    });
    chart.collect()
}

impl Chart<'_> {
    /// The chart with its caption.
    pub(super) fn figure(&self) -> String {
        let sums = self
            .first
            .iter()
            .zip(&self.second)
            .map(|(one, two)| one.saturating_add(*two));
        let most = sums.max().unwrap_or(0);
        let (first, last) = (self.periods.first(), self.periods.last());
        let (first, last) = (first.copied().unwrap_or(""), last.copied().unwrap_or(""));
        let last = if first == last { "" } else { last };
        format!(
            "<figure><figcaption>{title}{keys}</figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}, at most {most_text}\">\n\
             {bars}<line class=\"axis\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\"></line>\n\
             <text x=\"0\" y=\"12\">{most_text}</text><text x=\"0\" y=\"125\">{first}</text>\
             <text x=\"{WIDTH}\" y=\"125\" text-anchor=\"end\">{last}</text>\n</svg></figure>\n",
            title = self.title,
            keys = self.legend(),
            most_text = (self.text)(most),
            bars = self.bars(most),
        )
    }

    /// Which colour stands for what, if there are two.
    fn legend(&self) -> String {
        let Some([first, second]) = self.keys else {
            return String::new();
        };
        format!(
            " <small><span class=\"one key\"></span><span>{first}</span>\
             <span class=\"two key\"></span><span>{second}</span></small>"
        )
    }

    fn bars(&self, most: u64) -> String {
        let count = u64::try_from(self.periods.len()).unwrap_or(1).max(1);
        let mut bars = String::new();
        for (at, period) in (0_u64..).zip(&self.periods) {
            let index = usize::try_from(at).unwrap_or(0);
            // In tenths of a unit, since bars may be narrow.
            let (left, next) = (10 * WIDTH * at / count, 10 * WIDTH * (at + 1) / count);
            let width = (next - left) * 4 / 5;
            let mut bottom = 10 * BOTTOM;
            for (class, value) in [("one", self.first[index]), ("two", self.second[index])] {
                let height = scaled(value, most);
                if value == 0 {
                    continue;
                }
                bottom -= height;
                bars += &format!(
                    "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{period}: {}</title></rect>\n",
                    tenths(left),
                    tenths(bottom),
                    tenths(width.max(1)),
                    tenths(height),
                    (self.text)(value),
                );
            }
        }
        bars
    }
}

/// The height of a bar, in tenths.
fn scaled(value: u64, most: u64) -> u64 {
    let place = u128::from(10 * (BOTTOM - TOP));
    let height = u128::from(value) * place / u128::from(most.max(1));
    u64::try_from(height).unwrap_or(0)
}

fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_bar_fills_its_place() {
        assert_eq!(scaled(7, 7), 10 * (BOTTOM - TOP));
        assert_eq!(scaled(u64::MAX, u64::MAX), 10 * (BOTTOM - TOP));
        assert_eq!((scaled(0, 0), scaled(1, 2)), (0, 5 * (BOTTOM - TOP)));
        assert_eq!(tenths(105), "10.5");
    }
}
