//! Usage as comma-separated values: a line for each tenant and period, with the numbers as they are kept. No name needs
//! quotes.

use tenantd_api::usage::{Amounts, Usage};

/// The lines, the first of which has the names of the columns.
pub(super) fn csv(usage: &[Usage]) -> String {
    let mut text = format!("app,tenant,period,{}\n", Amounts::NAMES.join(","));
    for one in usage {
        let values = one.amounts.values().into_iter();
        let values = values.map(|value| value.map_or_else(String::new, |it| it.to_string()));
        let values = values.collect::<Vec<_>>().join(",");
        text += &format!("{},{},{},{values}\n", one.app, one.tenant, one.period);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_value_or_nothing_for_each_column() {
        let text = csv(&super::super::tests::sample());
        let mut lines = text.lines();
        let columns = lines.next().unwrap().matches(',').count();
        assert!(
            lines.all(|line| line.matches(',').count() == columns),
            "{text}"
        );
        assert!(
            text.contains("\nwiki,acme,2026-11-01,1500000,,3865470566400,67108864,,,1536,,0,"),
            "{text}"
        );
    }
}
