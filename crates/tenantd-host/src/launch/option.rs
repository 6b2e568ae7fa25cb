//! getsockopt(2) for options that neither rustix nor nix has.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::raw::last_errno;

/// Reads an option of a socket into `value`, which also holds what the kernel is asked for, and returns how many
/// bytes the kernel wrote.
pub(crate) fn get(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &mut [u8],
) -> Result<usize, Errno> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the descriptor is open as long as it is borrowed. The kernel reads and writes at most `length` bytes at
    // the address of `value`, which is borrowed as mutable, and writes to `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            std::ptr::from_mut(&mut length),
        )
    };
    match result {
        0 => Ok(length as usize),
        _ => Err(last_errno()),
    }
}
