//! The constants of this program that hold addresses, which the dynamic linker has written: a child reads them from a file
//! in memory, as the rest of the program from its file, instead of getting copies.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::Write;
use std::mem::size_of;
use std::os::fd::AsFd;
use std::ptr;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// The header of the pages that are read-only after relocation, see elf(5).
const PT_GNU_RELRO: u32 = 0x6474_e552;

/// Where they are: the pages that are read-only after relocation, see [`PT_GNU_RELRO`].
#[derive(Debug, Clone, Copy, Default)]
struct Pages {
    begin: usize,
    bytes: usize,
}

/// Puts the same bytes in their place, from a file that no process can change. Call it before there are other threads.
///
/// # Errors
/// Those of memfd_create(2), write(2), fcntl(2) and mmap(2): then a child gets copies.
pub(super) fn share() -> Result<(), Errno> {
    let Pages { begin, bytes } = pages();
    if bytes == 0 {
        return Ok(());
    }
    let place: *mut c_void = ptr::with_exposed_provenance_mut(begin);
    // SAFETY: the linker has mapped these pages, and has made them read-only. Nothing changes or unmaps them.
    let constants = unsafe { std::slice::from_raw_parts(place.cast::<u8>(), bytes) };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"constants", flags)?);
    file.write_all(constants)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, all)?;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the new mapping replaces whole pages with the same bytes and the same protection, in one step. The seals
    // keep them as they are.
    unsafe { mmap(place, bytes, ProtFlags::READ, flags, file.as_fd(), 0) }.map(drop)
}

/// The pages of this program, the first object that the linker names.
fn pages() -> Pages {
    let mut found = Pages::default();
    // SAFETY: the callback has the type that dl_iterate_phdr(3) requires, and is called before it returns.
    unsafe { libc::dl_iterate_phdr(Some(of_first), (&raw mut found).cast()) };
    found
}

unsafe extern "C" fn of_first(
    object: *mut libc::dl_phdr_info,
    size: libc::size_t,
    found: *mut c_void,
) -> c_int {
    if size < size_of::<libc::dl_phdr_info>() {
        return 1;
    }
    // SAFETY: dl_iterate_phdr(3) passes an object of this size, whose headers are as many as it says, and what `pages`
    // has given, which nothing else uses.
    let (object, found) = unsafe { (&*object, &mut *found.cast::<Pages>()) };
    // SAFETY: the same.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let header = headers.iter().find(|it| it.p_type == PT_GNU_RELRO);
    if let Some(header) = header {
        // As the linker rounds them: it leaves out the last page if something else is on it.
        let page = rustix::param::page_size();
        let bounds = [header.p_vaddr, header.p_vaddr + header.p_memsz].map(|at| {
            let address = usize::try_from(object.dlpi_addr + at).unwrap_or_default();
            address / page * page
        });
        let [begin, end] = bounds;
        *found = Pages {
            begin,
            bytes: end.saturating_sub(begin),
        };
    }
    1
}
