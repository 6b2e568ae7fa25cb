//! Limits of block devices as they are typed: `/dev/sda:wbps=10MiB,rbps=5MiB`, or as the kernel writes them,
//! `8:0 wbps=10485760`.

use toml_edit::{InlineTable, Value};

/// The keys of a device in `io.max`.
const RATES: [&str; 4] = ["rbps", "wbps", "riops", "wiops"];

/// A device and its rates. `None` if the text does not name a rate.
pub(super) fn rates(text: &str) -> Option<(String, InlineTable)> {
    let begin = |rate: &&str| {
        let at = text.find(&format!("{rate}="))?;
        let before = text[..at].chars().next_back()?;
        matches!(before, ':' | ' ' | ',').then_some(at)
    };
    let at = RATES.iter().filter_map(begin).min()?;
    let device = text[..at].trim_end_matches([':', ' ', ',']);
    if device.is_empty() {
        return None;
    }
    let mut table = InlineTable::new();
    for one in text[at..].split([' ', ',']).filter(|one| !one.is_empty()) {
        let (rate, value) = one.split_once('=')?;
        let value = match value {
            "max" => Value::from("unlimited"),
            value => value.parse().unwrap_or_else(|_| Value::from(value)),
        };
        table.insert(rate, value);
    }
    Some((device.to_owned(), table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_typed_with_their_rates() {
        for (text, device, table) in [
            ("/dev/sda:wbps=10MiB", "/dev/sda", "{ wbps = \"10MiB\" }"),
            (
                "8:0:wbps=10MiB,riops=5",
                "8:0",
                "{ wbps = \"10MiB\", riops = 5 }",
            ),
            (
                "8:0 rbps=max wbps=1048576",
                "8:0",
                "{ rbps = \"unlimited\", wbps = 1048576 }",
            ),
            (
                "/dev/disk/by-id/a:b:wbps=1",
                "/dev/disk/by-id/a:b",
                "{ wbps = 1 }",
            ),
        ] {
            let (found, rates) = rates(text).unwrap();
            assert_eq!(
                (found.as_str(), rates.to_string().trim()),
                (device, table),
                "{text}"
            );
        }
        for text in [
            "",
            "8:0",
            "wbps=1",
            "10MiB",
            "8:0:speed=1",
            "8:0:wbps=1,riops",
        ] {
            assert_eq!(rates(text).map(|it| it.0), None, "{text}");
        }
    }
}
