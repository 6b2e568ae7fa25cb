//! Follows a log through its rotations. An event of inotify(7) only says that something happened; all
//! files are then looked at again, so that the order of events does not matter.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::{Generations, inode, open};

/// Copies what is appended to the log, from the position of `current` on, until the reader of `out`
/// closes it.
pub(super) fn follow(
    generations: &Generations,
    mut current: Option<File>,
    out: &mut (impl Write + AsFd),
) -> io::Result<()> {
    let watch = Watch::new(generations)?;
    let mut watched = None;
    loop {
        if let Some(file) = &mut current {
            io::copy(file, out)?;
            out.flush()?;
        }
        if watched.is_none() && current.is_some() {
            // Watched before it is read again: what is written meanwhile is not missed.
            watched = watch.file(&generations.newest)?;
            if watched.is_some() {
                continue;
            }
        }
        let newest = open(&generations.newest)?;
        if newest.is_none() || inode(newest.as_ref())? == inode(current.as_ref())? {
            if !watch.wait(out)? {
                return Ok(());
            }
            continue;
        }
        if let Some(mut ended) = current.take() {
            // What was written to it between the copy above and the rotation.
            io::copy(&mut ended, out)?;
            skipped(generations, &ended, out)?;
        }
        if let Some(old) = watched.take() {
            watch.remove(old);
        }
        current = newest;
    }
}

/// Copies the generation between `ended` and the newest, if two rotations happened at once.
fn skipped(generations: &Generations, ended: &File, out: &mut impl Write) -> io::Result<()> {
    let Some(mut older) = open(&generations.older)? else {
        return Ok(());
    };
    if inode(Some(&older))? != inode(Some(ended))? {
        io::copy(&mut older, out)?;
    }
    Ok(())
}

struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// Watches the folder for a new file in the newest generation's place.
    fn new(generations: &Generations) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
        let folder = generations.newest.parent().unwrap_or(Path::new("/"));
        let appears = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, folder, appears)?;
        Ok(Self { inotify })
    }

    /// Watches a file for writes. `None` if the file no longer exists.
    fn file(&self, path: &Path) -> io::Result<Option<i32>> {
        match inotify::add_watch(&self.inotify, path, WatchFlags::MODIFY) {
            Err(rustix::io::Errno::NOENT) => Ok(None),
            watched => Ok(Some(watched?)),
        }
    }

    fn remove(&self, watched: i32) {
        // The kernel has removed the watch itself if the file was deleted (EINVAL).
        let _ = inotify::remove_watch(&self.inotify, watched);
    }

    /// Waits for an event. Returns false if the reader of `out` has closed it.
    fn wait(&self, out: &impl AsFd) -> io::Result<bool> {
        let mut both = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::new(out, PollFlags::empty()),
        ];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => return Ok(true),
            waited => waited?,
        };
        if both[1]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
        {
            return Ok(false);
        }
        // The events are discarded: the caller looks at the files.
        let mut events = [0_u8; 4096];
        rustix::io::read(&self.inotify, &mut events)?;
        Ok(true)
    }
}
