//! Amounts as text for people.

/// Bytes, with the largest unit of which there is one.
pub(in crate::cli) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut shown = format!("{bytes} B");
    let mut unit = 1_u64;
    for name in units {
        unit <<= 10;
        if bytes < unit {
            break;
        }
        shown = format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit);
    }
    shown
}

/// A time in milliseconds.
pub(super) fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Bytes times seconds, as bytes times hours.
pub(super) fn byte_hours(byte_seconds: u64) -> String {
    format!("{} h", bytes(byte_seconds / 3600))
}

/// The text, or a dash for what was not counted.
pub(super) fn or_dash(amount: Option<u64>, text: impl Fn(u64) -> String) -> String {
    amount.map_or_else(|| "-".to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        let shown = [0, 1023, 1024, 1536, 50 << 20, u64::MAX].map(bytes);
        assert_eq!(
            shown,
            [
                "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "50.0 MiB", "15.9 EiB"
            ]
        );
        assert_eq!(
            [1500, 61_000, 86_400_000].map(time),
            ["1.5s", "1m 1s", "24h 0m"]
        );
        assert_eq!(byte_hours(3600 << 20), "1.0 MiB h");
        assert_eq!(or_dash(None, bytes), "-");
    }
}
