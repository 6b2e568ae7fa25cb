//! Goes through all that is in a folder of a tenant, however deep that is, with a limited number of descriptors.
//!
//! The tenant changes it meanwhile. No link is followed and no other file system is entered; and the way back up, by
//! `..`, must lead to the folder that was come from.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::bail;
use rustix::fs::{Dir, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

/// How many of the deepest folders are open.
const OPEN_MAX: usize = 64;

/// The deepest folder: each one above takes some memory.
const DEPTH_MAX: usize = 1_000_000;

/// A folder on the way to the present one.
struct Level {
    /// Only the deepest are open.
    dir: Option<Box<Dir>>,
    inode: u64,
    /// How far it was read.
    offset: i64,
}

/// A walk under way.
pub(crate) struct Walk {
    levels: Vec<Level>,
    device: u64,
}

impl Walk {
    /// Begins in a folder. Returns the device of its file system too.
    pub(crate) fn begin(folder: OwnedFd) -> Result<(Self, u64), Errno> {
        let device = fstat(&folder)?.st_dev;
        let mut walk = Self {
            levels: Vec::new(),
            device,
        };
        walk.push(folder)?;
        Ok((walk, device))
    }

    /// The next name, and the folder in which it is; `None` at the end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<(CString, BorrowedFd<'_>)>> {
        loop {
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            let Some(dir) = level.dir.as_mut() else {
                bail!("a folder on the way is not open");
            };
            match dir.next().transpose()? {
                None => self.leave()?,
                Some(entry) => {
                    level.offset = entry.offset();
                    let name = entry.file_name();
                    if name.to_bytes() != b"." && name.to_bytes() != b".." {
                        let name = name.to_owned();
                        break Ok(self.dir()?.map(|dir| (name, dir)));
                    }
                }
            }
        }
    }

    /// Continues in a folder of the present one, unless it was removed, replaced or covered meanwhile.
    pub(crate) fn enter(&mut self, name: &CString) -> anyhow::Result<()> {
        if self.levels.len() >= DEPTH_MAX {
            bail!("it has folders deeper than {DEPTH_MAX}");
        }
        let Some(dir) = self.dir()? else {
            return Ok(());
        };
        let inner = match openat(dir, name, folder_flags(), Mode::empty()) {
            Ok(inner) => inner,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if fstat(&inner)?.st_dev == self.device {
            self.push(inner)?;
        }
        Ok(())
    }

    /// The present folder.
    fn dir(&self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        let dir = self.levels.last().and_then(|level| level.dir.as_ref());
        dir.map(|dir| dir.fd()).transpose()
    }

    fn push(&mut self, folder: OwnedFd) -> Result<(), Errno> {
        let inode = fstat(&folder)?.st_ino;
        self.levels.push(Level {
            dir: Some(Box::new(Dir::new(folder)?)),
            inode,
            offset: 0,
        });
        let far = self.levels.len().checked_sub(OPEN_MAX + 1);
        if let Some(level) = far.and_then(|at| self.levels.get_mut(at)) {
            level.dir = None;
        }
        Ok(())
    }

    /// Returns to the folder above.
    fn leave(&mut self) -> anyhow::Result<()> {
        let left = self.levels.pop().and_then(|level| level.dir);
        let (Some(level), Some(left)) = (self.levels.last_mut(), left) else {
            return Ok(());
        };
        if level.dir.is_some() {
            return Ok(());
        }
        let above = openat(left.fd()?, "..", folder_flags(), Mode::empty())?;
        let found = fstat(&above)?;
        if (found.st_dev, found.st_ino) != (self.device, level.inode) {
            bail!("a folder in it was moved meanwhile");
        }
        let mut dir = Dir::new(above)?;
        dir.seek(level.offset)?;
        level.dir = Some(Box::new(dir));
        Ok(())
    }
}

pub(crate) fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn names(walk: &mut Walk) -> anyhow::Result<usize> {
        let mut count = 0;
        while let Some((name, _)) = walk.next()? {
            count += 1;
            walk.enter(&name)?;
        }
        Ok(count)
    }

    fn begin(path: &Path) -> Walk {
        let folder = fs::File::open(path).unwrap();
        Walk::begin(folder.into()).unwrap().0
    }

    fn chain(path: &Path, length: usize) -> std::path::PathBuf {
        let deep = path.join("x/".repeat(length));
        fs::create_dir_all(&deep).unwrap();
        deep
    }

    #[test]
    fn many_folders_beside_each_other_are_all_entered_once() {
        let folder = tempfile::tempdir().unwrap();
        let deep = chain(folder.path(), OPEN_MAX);
        for at in 0..100 {
            let one = chain(&folder.path().join(format!("n{at}")), OPEN_MAX + 1);
            fs::write(one.join("file"), "").unwrap();
        }
        fs::write(deep.join("file"), "").unwrap();
        let all = OPEN_MAX + 1 + 100 * (1 + OPEN_MAX + 1 + 1);
        assert_eq!(names(&mut begin(folder.path())).unwrap(), all);
    }

    #[test]
    fn a_folder_that_is_moved_out_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("store");
        fs::create_dir(&inside).unwrap();
        let deep = chain(&inside, OPEN_MAX + 2);
        let mut walk = begin(&inside);
        // Until it is in the deepest one.
        for _ in 0..OPEN_MAX + 2 {
            let (name, _) = walk.next().unwrap().unwrap();
            walk.enter(&name).unwrap();
        }
        let first = inside.join("x/x");
        assert!(deep.starts_with(&first));
        fs::rename(&first, folder.path().join("out")).unwrap();
        let error = names(&mut walk).unwrap_err();
        assert!(error.to_string().contains("moved"), "{error}");
    }
}
