//! What the processes of a cgroup wait for: pressure stall information, see the kernel's
//! Documentation/accounting/psi.rst. Each process may read it; a kernel without it has no such files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The window of a trigger.
const WINDOW: Duration = Duration::from_secs(2);

/// What may be short.
pub const RESOURCES: [&str; 3] = ["cpu", "io", "memory"];

/// Hundredths of a percent, as the kernel shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hundredths(pub u32);

impl Serialize for Hundredths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 100.0)
    }
}

/// For which part of the time processes waited, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waited {
    /// Of the last ten seconds.
    pub avg10: Hundredths,
    /// Of the last minute.
    pub avg60: Hundredths,
    /// Of the last five minutes.
    pub avg300: Hundredths,
    /// Microseconds in all.
    pub total: u64,
}

/// The pressure on a cgroup by one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pressure {
    /// Some process waited.
    pub some: Waited,
    /// All that could run waited.
    pub full: Waited,
}

/// The pressure on a cgroup, by resource. Empty if the kernel does not measure it.
///
/// # Errors
/// Those of reading its files.
pub fn pressure(cgroup: &Path) -> io::Result<BTreeMap<&'static str, Pressure>> {
    let mut all = BTreeMap::new();
    for resource in RESOURCES {
        match fs::read_to_string(cgroup.join(format!("{resource}.pressure"))) {
            Ok(text) => drop(all.insert(resource, read(&text))),
            // Switched off: `psi=0`, or `cgroup.pressure` of that cgroup.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // It was removed meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Has the kernel notify when some process of a cgroup, or of those below it, has waited for a resource for a part of
/// a window of two seconds. The notification is urgent data of the file, see poll(2), once a window at most; without
/// waiting processes nothing wakes up.
///
/// # Errors
/// Those of opening and writing the file: `EOPNOTSUPP` or `ENOENT` if the kernel does not measure it.
pub fn trigger(cgroup: &Path, resource: &str, part: Duration) -> io::Result<File> {
    let path = cgroup.join(format!("{resource}.pressure"));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let trigger = format!("some {} {}\0", part.as_micros(), WINDOW.as_micros());
    file.write_all(trigger.as_bytes())?;
    Ok(file)
}

fn read(text: &str) -> Pressure {
    let waited = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind));
        line.map(waited).unwrap_or_default()
    };
    Pressure {
        some: waited("some "),
        full: waited("full "),
    }
}

fn waited(line: &str) -> Waited {
    let mut waited = Waited::default();
    for (name, value) in line.split_whitespace().filter_map(|it| it.split_once('=')) {
        let share = || Hundredths(value.replace('.', "").parse().unwrap_or_default());
        match name {
            "avg10" => waited.avg10 = share(),
            "avg60" => waited.avg60 = share(),
            "avg300" => waited.avg300 = share(),
            "total" => waited.total = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_measures_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(pressure(folder.path()).unwrap().is_empty());
        let text = "some avg10=12.30 avg60=0.07 avg300=100.00 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        fs::write(folder.path().join("cpu.pressure"), text).unwrap();
        let found = pressure(folder.path()).unwrap();
        let cpu = found["cpu"];
        assert_eq!((found.len(), cpu.full.total), (1, 9));
        let some = cpu.some;
        assert_eq!(
            (some.avg10, some.avg60, some.avg300, some.total),
            (
                Hundredths(1230),
                Hundredths(7),
                Hundredths(10_000),
                1_234_567
            )
        );
        assert_eq!(serde_json::to_value(some.avg10).unwrap(), 12.3);
    }
}
