//! The text formats of Prometheus and of OpenMetrics, which differ in the name of a counter's family and in the end.

use std::fmt::{Display, Write};

/// The kind of a family of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// Its samples have `_total` at the end.
    Counter,
    Histogram,
}

/// A text that families are written to, one after the other.
#[derive(Debug)]
pub(super) struct Text {
    out: String,
    is_open: bool,
}

impl Text {
    /// An empty text, of OpenMetrics if `is_open`.
    pub(super) fn new(is_open: bool) -> Self {
        let out = String::new();
        Self { out, is_open }
    }

    /// The media type of the text.
    pub(super) fn media_type(is_open: bool) -> &'static str {
        match is_open {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let total = match kind {
            Kind::Counter if !self.is_open => "_total",
            _ => "",
        };
        self.line(format_args!(
            "# HELP {name}{total} {help}\n# TYPE {name}{total} {word}\n"
        ));
    }

    /// Adds a sample. Names of applications and tenants need no escape in `labels`.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.line(format_args!("{name} {value}\n")),
            labels => self.line(format_args!("{name}{{{labels}}} {value}\n")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _written = self.out.write_fmt(line);
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        if self.is_open {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_its_name_as_each_format_wants_it() {
        let text = |is_open| {
            let mut text = Text::new(is_open);
            text.family("x_restarts", Kind::Counter, "Restarts.");
            text.sample("x_restarts_total", "app=\"wiki\"", 3);
            text.end()
        };
        let sample = "x_restarts_total{app=\"wiki\"} 3\n";
        let classic = "# HELP x_restarts_total Restarts.\n# TYPE x_restarts_total counter\n";
        assert_eq!(text(false), format!("{classic}{sample}"));
        let open = "# HELP x_restarts Restarts.\n# TYPE x_restarts counter\n";
        assert_eq!(text(true), format!("{open}{sample}# EOF\n"));
    }
}
