//! Files beside each other, found by the folder above them: it is opened once for all that are in it, and each is
//! looked for by its name there.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The folder that is open, with its path.
#[derive(Debug, Default)]
pub(crate) struct Siblings(Option<(PathBuf, OwnedFd)>);

impl Siblings {
    /// The folder above `path`, and the name in it. `open` opens that folder, if it is not open and `next`, which is looked
    /// for after it, is there too. `None` if nothing is saved by that, or it cannot be opened.
    pub(crate) fn find<'p>(
        &mut self,
        path: &'p Path,
        next: Option<&Path>,
        open: impl FnOnce(&Path) -> Result<OwnedFd, Errno>,
    ) -> Option<(BorrowedFd<'_>, &'p OsStr)> {
        let (above, name) = (path.parent()?, path.file_name()?);
        // It is found as fast by its path.
        above.parent()?;
        if self.0.as_ref().is_none_or(|(opened, _)| opened != above) {
            next.filter(|next| next.parent() == Some(above))?;
            let opened = open(above).ok();
            self.0 = opened.map(|opened| (above.to_owned(), opened));
        }
        let (_, opened) = self.0.as_ref()?;
        Some((opened.as_fd(), name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_folder_is_opened_once_and_only_for_several() {
        let paths = ["/a", "/b", "/s/a", "/s/b", "/t/a", "/s/c", "s/d", "s/e"].map(Path::new);
        let (mut siblings, mut opened) = (Siblings::default(), Vec::new());
        let next = paths.iter().skip(1).copied().map(Some).chain([None]);
        let found = paths.iter().zip(next).map(|(path, next)| {
            let found = siblings.find(path, next, |above| {
                opened.push(above.to_owned());
                Ok(File::open("/").unwrap().into())
            });
            found.map(|(_, name)| name.to_owned())
        });
        let found: Vec<_> = found.map(|name| name.is_some()).collect();
        assert_eq!(found, [false, false, true, true, false, true, true, true]);
        assert_eq!(opened, [Path::new("/s"), Path::new("s")]);
    }

    #[test]
    fn a_folder_that_cannot_be_opened_is_none() {
        let (mut siblings, next) = (Siblings::default(), Some(Path::new("/s/b")));
        let found = siblings.find(Path::new("/s/a"), next, |_| Err(Errno::NOENT));
        assert!(found.is_none());
        assert!(siblings.0.is_none());
    }
}
