//! Watches folders with inotify(7).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;

/// What a folder is watched for.
pub(super) const EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What a folder is watched for while a folder in it is missing. Another folder of the tenant may be the
/// same one, and watched for more.
pub(super) const ABOVE: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_ADD);

/// Stops watching.
pub(super) fn unwatch(inotify: &OwnedFd, wd: i32) {
    match inotify::remove_watch(inotify, wd) {
        // The folder is gone, and the watch with it.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => tracing::debug!(%error, "cannot stop watching a folder"),
    }
}

/// Watches a folder for these events. Returns the number of the watch.
pub(super) fn watch(inotify: &OwnedFd, folder: &OwnedFd, events: WatchFlags) -> io::Result<i32> {
    // Exactly this folder, whatever has its name now.
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    Ok(inotify::add_watch(inotify, path, events)?)
}
