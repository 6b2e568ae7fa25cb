//! Reads small files of the kernel with few system calls: those that have one record, as `cgroup.events` or `stat` of
//! proc_pid_stat(5), and short lists.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// What is read with one call. Each of these files is smaller.
const ROOM: usize = 4096;

/// No line of a list is longer.
const LINE_MAX: usize = 64;

/// The text of such a file. The kernel writes it as a whole when it is read, so a read that does not fill its buffer was
/// the last: three system calls, where `std::fs::read_to_string` makes up to nine. Not for files with a list, such as
/// `cgroup.procs`.
///
/// # Errors
/// Those of open(2) and read(2); `InvalidData` if it is not UTF-8.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    read_until(path.as_ref(), ROOM)
}

/// The text of a file of the kernel that has a short line for each entry, such as `cgroup.procs`. A read ends before the
/// first line that does not fit, so one that leaves room for a line was the last.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn read_list(path: impl AsRef<Path>) -> io::Result<String> {
    read_until(path.as_ref(), ROOM - LINE_MAX)
}

/// Reads until a read returns less than `full` bytes.
fn read_until(path: &Path, full: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    let mut room = [0; ROOM];
    loop {
        match file.read(&mut room) {
            Ok(length) => {
                text.extend_from_slice(room.get(..length).unwrap_or_default());
                if length < full {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(text).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM] {
            std::fs::write(&path, "a".repeat(length)).unwrap();
            assert_eq!(read(&path).unwrap().len(), length);
        }
        std::fs::write(&path, b"\xe9").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        let absent = read(folder.path().join("absent")).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
        let stat = read("/proc/self/stat").unwrap();
        assert!(stat.ends_with('\n'), "{stat}");
    }
}
