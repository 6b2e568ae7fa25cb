//! The parts of a man page: head, sections, and text in which `code` is bold.

use roff::{Inline, Roff, bold, roman};

/// A man page that is being written.
pub(crate) struct Page {
    head: String,
    body: Roff,
    /// Whether the last title has no text yet.
    is_fresh: bool,
}

/// The footer of each page.
pub(crate) const VERSION: &str = concat!("tenantd ", env!("CARGO_PKG_VERSION"));

impl Page {
    /// Continues a page that was rendered already.
    pub(crate) fn after(head: String) -> Page {
        let body = Roff::new();
        let is_fresh = false;
        Page {
            head,
            body,
            is_fresh,
        }
    }

    /// Begins the page `name(section)`.
    pub(crate) fn new(name: &str, section: &str, date: &str) -> Page {
        let mut head = Roff::new();
        head.control("TH", [name, section, date, VERSION, "tenantd"]);
        Page::after(head.render())
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.body.control("SH", [title]);
        self.is_fresh = true;
    }

    /// Adds text to the current paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        self.body.text(inlines(text));
        self.is_fresh = false;
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.gap();
        self.text(text);
    }

    /// Adds a term and its meaning.
    pub(crate) fn term(&mut self, term: &str, meaning: &str) {
        self.body.control("TP", []);
        self.body.text([bold(term)]);
        self.text(meaning);
    }

    /// Adds a line to the meaning of the last term.
    pub(crate) fn line(&mut self, text: &str) {
        self.body.control("br", []);
        self.text(text);
    }

    /// Adds lines verbatim.
    pub(crate) fn verbatim(&mut self, lines: &[&str]) {
        self.gap();
        self.body.control("nf", []);
        for line in lines {
            self.body.text([roman(*line)]);
        }
        self.body.control("fi", []);
        self.is_fresh = false;
    }

    /// Separates the next part from the last one, unless that is a title.
    fn gap(&mut self) {
        if !self.is_fresh {
            self.body.control("PP", []);
        }
    }

    pub(crate) fn render(&self) -> String {
        let preamble = Roff::new().render();
        let body = self.body.render();
        let body = body.strip_prefix(&preamble).unwrap_or(&body);
        format!("{}{body}", self.head)
    }
}

/// Splits text into plain and `code` parts.
pub(crate) fn inlines(text: &str) -> Vec<Inline> {
    text.split('`')
        .enumerate()
        .map(|(at, part)| if at % 2 == 0 { roman(part) } else { bold(part) })
        .collect()
}
