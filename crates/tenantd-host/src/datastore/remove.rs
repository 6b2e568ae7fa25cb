//! Removes a folder with everything in it, without recursion: a program may have made folders in
//! folders without end.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::fs::{openat2, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::layout::open_folder;

/// The name of a folder that was moved up to be removed next.
const MOVED: &str = ".tenantd-removed";

/// How many entries are read at a time.
const BATCH: usize = 1024;

/// Removes an entry of a folder. Follows no symbolic link and does not leave the filesystem. If it is
/// interrupted, folders remain that are named like [`MOVED`].
///
/// # Errors
/// `EXDEV` or `EBUSY` if something is mounted in it, and those of unlinkat(2) and renameat2(2).
pub(crate) fn entry(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut moved = Moved::default();
    remove(folder, name, &mut moved)?;
    while let Some(next) = moved.names.pop() {
        remove(folder, &next, &mut moved)?;
    }
    Ok(())
}

/// Removes what an interrupted removal has left in a folder.
///
/// # Errors
/// See [`entry`].
pub(crate) fn left(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    loop {
        let opened = open_folder(folder, ".")?;
        let mut names = batch(&opened)?;
        names.retain(|name| name.to_bytes().starts_with(MOVED.as_bytes()));
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            entry(folder, &name)?;
        }
    }
}

/// The folders that were moved up.
#[derive(Default)]
struct Moved {
    names: Vec<CString>,
    last: u64,
}

fn remove(folder: BorrowedFd<'_>, name: &CStr, moved: &mut Moved) -> Result<(), Errno> {
    if !is_folder(folder, name)? {
        return unlinkat(folder, name, AtFlags::empty());
    }
    let inner = openat2(
        folder,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )?;
    loop {
        let batch = batch(&inner)?;
        if batch.is_empty() {
            return unlinkat(folder, name, AtFlags::REMOVEDIR);
        }
        for name in batch {
            match is_folder(inner.as_fd(), &name)? {
                true => move_up(&inner, &name, folder, moved)?,
                false => unlinkat(&inner, &name, AtFlags::empty())?,
            }
        }
    }
}

fn is_folder(folder: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Moves a folder to where the first one is.
fn move_up(
    inner: &OwnedFd,
    name: &CStr,
    folder: BorrowedFd<'_>,
    moved: &mut Moved,
) -> Result<(), Errno> {
    loop {
        moved.last += 1;
        let new = CString::new(format!("{MOVED}-{}", moved.last)).map_err(|_| Errno::INVAL)?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let renamed = match renameat_with(inner, name, folder, &new, flags) {
            // Network filesystems do not support the flag. A rename replaces only an empty folder.
            Err(Errno::INVAL) => rustix::fs::renameat(inner, name, folder, &new),
            renamed => renamed,
        };
        match renamed {
            Ok(()) => {
                moved.names.push(new);
                return Ok(());
            }
            // One that an interrupted removal has left.
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn batch(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == BATCH {
            break;
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn opened(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn folders_of_any_depth_are_removed_and_links_are_not_followed() {
        let above = tempfile::tempdir().unwrap();
        let kept = above.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "").unwrap();
        let data = above.path().join("data");
        std::fs::create_dir(&data).unwrap();
        symlink(&kept, data.join("link")).unwrap();
        // Left by an interrupted removal.
        std::fs::create_dir(above.path().join(".tenantd-removed-1")).unwrap();
        let mut deepest = opened(&data);
        for depth in 0..3000 {
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mkdirat(&deepest, c"deep", mode).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            deepest = rustix::fs::openat(&deepest, c"deep", flags, Mode::empty()).unwrap();
            let file = format!("file-{depth}");
            rustix::fs::openat(
                &deepest,
                file.as_str(),
                OFlags::CREATE | OFlags::WRONLY,
                mode,
            )
            .unwrap();
        }
        entry(opened(above.path()).as_fd(), c"data").unwrap();
        assert!(!data.exists());
        assert!(kept.join("file").exists());
        let mut left: Vec<_> = std::fs::read_dir(above.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".tenantd-removed-1", "kept"]);
    }

    #[test]
    fn more_entries_than_are_read_at_a_time_are_removed() {
        let above = tempfile::tempdir().unwrap();
        let data = above.path().join("data");
        std::fs::create_dir(&data).unwrap();
        for number in 0..2 * BATCH + 1 {
            std::fs::write(data.join(number.to_string()), "").unwrap();
        }
        entry(opened(above.path()).as_fd(), c"data").unwrap();
        assert!(!data.exists());
    }
}
