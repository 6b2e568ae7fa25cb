//! Files of an incomplete copy that have several names.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::fs::{openat2, statat, unlinkat};
use rustix::io::Errno;

/// Removes all names but one of each file of a copy. rsync(1) writes a file in place, so two files that are one in the
/// copy and were one on the source earlier would get the content of one of them.
pub(super) fn separate(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    // rsync makes no path that is too long for this.
    let mut folders = vec![PathBuf::from(".")];
    while let Some(path) = folders.pop() {
        let folder = openat2(root, &path, flags, Mode::empty(), resolve)?;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                folders.push(path.join(OsStr::from_bytes(name.to_bytes())));
            } else if stat.st_nlink > 1 {
                unlinkat(&folder, name, AtFlags::empty())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn one_name_of_each_file_stays_and_links_are_not_followed() {
        let above = tempfile::tempdir().unwrap();
        let (copy, other) = (above.path().join("copy"), above.path().join("other"));
        for folder in [&copy.join("in"), &other] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("a"), "text").unwrap();
            fs::hard_link(folder.join("a"), folder.join("b")).unwrap();
        }
        fs::write(copy.join("alone"), "").unwrap();
        std::os::unix::fs::symlink(&other, copy.join("link")).unwrap();
        separate(fs::File::open(&copy).unwrap().as_fd()).unwrap();
        let count = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
        assert_eq!(
            (count(copy.join("in")), count(copy), count(other)),
            (1, 3, 2)
        );
    }
}
