//! Usage as one page of HTML that needs nothing else: charts as SVG and a table for each tenant, each on a sheet of its own
//! when it is printed.

mod chart;

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::units::{byte_hours, bytes, or_dash, time};
use chart::{Chart, charts};
use tenantd_api::usage::{Amounts, Usage};
use tenantd_core::name::{AppName, TenantName};

const STYLE: &str = "
:root { color-scheme: light dark; --bar: #2b6cb0; --second: #b7791f; --line: #8886; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .25rem; }
svg { width: 100%; height: auto; display: block; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.one { fill: var(--bar); } .two { fill: var(--second); } .axis { stroke: var(--line); }
.one.key, .two.key { background: var(--bar); display: inline-block; width: .7em; height: .7em; margin-right: .3em; }
.two.key { background: var(--second); } .key + .key, span + .key { margin-left: .7em; }
.wide { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tfoot td { font-weight: 600; }
footer { margin-top: 2rem; opacity: .75; }
@media print { :root { color-scheme: light; print-color-adjust: exact; } body { margin: 0; max-width: none; font-size: 11px; }
  section + section { break-before: page; } figure, tr { break-inside: avoid; } .wide { overflow: visible; }
  .charts { grid-template-columns: repeat(3, 1fr); } table { font-size: 8.5px; } th, td { padding: .15rem .3rem; }
  tfoot { display: table-row-group; } }
";

/// A column of the table: its name, and the text of an amount.
type Column = (&'static str, fn(&Amounts) -> Option<String>);

const COLUMNS: [Column; 10] = [
    ("CPU", |it| it.cpu_usec.map(|usec| time(usec / 1000))),
    ("Memory", |it| it.memory_byte_seconds.map(byte_hours)),
    ("Peak", |it| it.memory_peak.map(bytes)),
    ("Read", |it| it.io_read.map(bytes)),
    ("Written", |it| it.io_written.map(bytes)),
    ("Received", |it| it.in_bytes.map(bytes)),
    ("Sent", |it| it.out_bytes.map(bytes)),
    ("Data", |it| it.datastore_bytes.map(bytes)),
    ("Up", |it| it.up_ms.map(time)),
    ("Restarts", |it| it.restarts.map(|it| it.to_string())),
];

/// The page.
pub(super) fn page(usage: &[Usage], (from, to): (Date, Date)) -> String {
    let mut tenants: BTreeMap<(&AppName, &TenantName), Vec<&Usage>> = BTreeMap::new();
    for one in usage {
        tenants
            .entry((&one.app, &one.tenant))
            .or_default()
            .push(one);
    }
    let sections = tenants.iter().map(|(who, periods)| section(*who, periods));
    let sections: String = sections.collect();
    let body = match sections.is_empty() {
        true => "<p>Nothing was used.</p>\n".to_owned(),
        false => sections,
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Usage from {from} to {to}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Usage from {from} to {to}</h1>\n{body}\
         <footer>Days are in UTC. Memory is its average over each hour, times the hours. A dash stands for what \
         this host does not count.</footer>\n</body>\n</html>\n"
    )
}

fn section((app, tenant): (&AppName, &TenantName), periods: &[&Usage]) -> String {
    let charts: String = charts(periods).iter().map(Chart::figure).collect();
    let is_counted = |(_, text): &&Column| periods.iter().any(|it| text(&it.amounts).is_some());
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_counted).collect();
    let head: String = columns
        .iter()
        .map(|(name, _)| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    let line = |period: &str, amounts: &Amounts| {
        let cells = columns.iter().map(|(_, text)| {
            let text = text(amounts);
            format!("<td>{}</td>", text.unwrap_or_else(|| or_dash(None, bytes)))
        });
        format!("<tr><td>{period}</td>{}</tr>\n", cells.collect::<String>())
    };
    let body: String = periods
        .iter()
        .map(|it| line(&it.period, &it.amounts))
        .collect();
    let mut sum = Amounts::default();
    for one in periods {
        sum.add(&one.amounts);
    }
    format!(
        "<section>\n<h2>{tenant} <small>({app})</small></h2>\n<div class=\"charts\">\n{charts}</div>\n\
         <div class=\"wide\">\n<table>\n<thead><tr><th scope=\"col\">Period</th>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n\
         <tfoot>\n{}</tfoot>\n</table>\n</div>\n</section>\n",
        line("All", &sum)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_whole_and_has_each_tenant() {
        let days = ("2026-10-01".parse().unwrap(), "2026-11-30".parse().unwrap());
        let text = page(&super::super::tests::sample(), days);
        for tag in [
            "html", "head", "body", "style", "section", "svg", "table", "tr", "td", "figure",
            "rect", "div", "span",
        ] {
            let opened = text.matches(&format!("<{tag}>")).count()
                + text.matches(&format!("<{tag} ")).count();
            let closed = text.matches(&format!("</{tag}>")).count();
            assert!(opened > 0 && opened == closed, "{tag}: {opened} {closed}");
        }
        assert!(text.contains("<h2>acme <small>(wiki)</small></h2>"));
        assert!(text.contains("<tr><td>All</td><td>1m 31s</td>"), "{text}");
        for loaded in ["http:", "https:", "src=", "<link", "<script", "url("] {
            assert!(!text.contains(loaded), "{loaded}");
        }
        assert!(page(&[], days).contains("Nothing was used."));
    }
}
