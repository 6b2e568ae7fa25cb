//! Reading of regular files of a limited size. A file that an operator names may be a pipe that nobody
//! writes to, a device without an end, or a file that is much too large to be meant.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use rustix::io::Errno;

pub use tenantd_core::layout::MANIFEST_MAX;

/// Opens a regular file and reads at most `max` bytes.
///
/// # Errors
/// Those of open(2) and read(2). Another error, with a text, if it is not a regular file or is larger.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_open(&open_regular(path)?, max)
}

/// Opens a regular file and reads at most its first `len` bytes.
///
/// # Errors
/// See [`read`].
pub fn read_begin(path: &Path, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a pipe for reading would wait for its other end. With O_NONBLOCK, a file with a lease
    // (fcntl(2)) could not be opened.
    let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    check(&fstat(&found)?)?;
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

fn check(found: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// Reads an open file from its present position.
///
/// # Errors
/// See [`read`].
pub fn read_open(file: &File, max: u64) -> io::Result<Vec<u8>> {
    let found = fstat(file)?;
    check(&found)?;
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(max + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= max) {
        return Ok(bytes);
    }
    let size = found.st_size;
    Err(io::Error::other(format!(
        "it has {size} bytes, and the maximum is {} MiB",
        max >> 20
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_the_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![b'x'; 2 << 20]).unwrap();
        assert_eq!(read(&path, 2 << 20).unwrap().len(), 2 << 20);
        let large = read(&path, 1 << 20).unwrap_err();
        assert_eq!(
            large.to_string(),
            "it has 2097152 bytes, and the maximum is 1 MiB"
        );
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let why = read(folder.path(), 1 << 20).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::IsADirectory);
        for special in [pipe.as_path(), Path::new("/dev/zero")] {
            let why = read(special, 1 << 20).unwrap_err();
            assert_eq!(why.to_string(), "it is not a regular file");
        }
    }
}
