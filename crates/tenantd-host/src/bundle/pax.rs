//! PAX records, see pax(1) in POSIX. The library that reads the archive separates records at line ends, which
//! values may contain.

use super::BundleError;

/// Adds a record: its length in digits, the length of which counts too, a key and a value.
pub(super) fn add(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // A space, "=" and a line end.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A key and a value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// The records.
///
/// # Errors
/// If they are malformed.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, BundleError> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = next(bytes)
            .ok_or_else(|| BundleError::NoBundle("it has malformed records".to_owned()))?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

fn next(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(&bytes[..space]).ok()?;
    let length: usize = length.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), &bytes[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        let long = vec![b'\n'; 99_990];
        let values: [&[u8]; 6] = [b"", b"a", b"1\n2=3\n", &long[..88], &long[..990], &long];
        for value in values {
            add(&mut bytes, b"SCHILY.xattr.user.x", value);
        }
        let read = parse(&bytes).unwrap();
        assert!(read.iter().all(|(key, _)| *key == b"SCHILY.xattr.user.x"));
        assert!(read.iter().map(|(_, value)| *value).eq(values));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bytes in [
            "9 a=b\n",
            "x a=b\n",
            "6 a=b",
            "5 a=b\n",
            "0 ",
            "6 ab=\n7 ",
            "99999999999 a=b\n",
        ] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
