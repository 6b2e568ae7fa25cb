//! tenantd.toml(5), generated from the reference of the manifest.

use tenantd_core::manifest::document;
use tenantd_core::manifest::reference::{Fallback, Key, Table};

use super::page::Page;

/// The text of the page.
pub(crate) fn page(date: &str) -> String {
    let mut page = Page::new("tenantd.toml", "5", date);
    page.section("NAME");
    page.text("tenantd.toml - the manifest of an application and its tenants");
    page.section("SYNOPSIS");
    page.text("`/etc/tenantd/APP.toml`");
    page.section("DESCRIPTION");
    for (at, paragraph) in document::INTRODUCTION.split("\n\n").enumerate() {
        let text = paragraph.replace('\n', " ");
        match at {
            0 => page.text(&text),
            _ => page.paragraph(&text),
        }
    }
    for &table in Table::EACH {
        page.section(&match table {
            Table::Top => "TOP LEVEL".to_owned(),
            _ => table.header().to_owned(),
        });
        page.text(table.doc());
        for key in Key::of(table) {
            page.term(key.name, key.doc);
            page.line(&format!("Type: {}.", document::kind_words(key.kind)));
            page.line(&match key.fallback {
                Fallback::Required => "Required.".to_owned(),
                Fallback::Value(value) => format!("Default: `{value}`"),
                Fallback::Derived(words) => format!("Default: {words}."),
            });
            page.line(&format!("Example: `{}`", key.usage()));
        }
    }
    page.section("EXAMPLES");
    page.verbatim(&example().lines().collect::<Vec<_>>());
    page.paragraph("A longer example is `/usr/share/doc/tenantd/tenants.example.toml`.");
    page.section("SEE ALSO");
    page.text("tenantd(8), tenantd-check(8), tenantd-plan(8), tenantd-schema(8)");
    page.render()
}

/// The example manifest in README.md.
///
/// # Panics
/// If README.md has no TOML block.
pub(crate) fn example() -> &'static str {
    let readme = include_str!("../../README.md");
    let fence = readme.split_once("```toml\n").map(|(_, rest)| rest);
    let (manifest, _) = fence
        .and_then(|rest| rest.split_once("\n```"))
        .expect("README.md shows a manifest");
    manifest
}
