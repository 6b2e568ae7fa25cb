//! The range of addresses that no child gets, of which more and more can be read and written.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use dlmalloc::Allocator;
use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};

/// Its bytes: more than a supervisor of 10,000 tenants has. Only addresses are reserved.
const SIZE: usize = 2 << 30;

/// By how much what can be used grows at least: each growth is a system call.
const STEP: usize = 256 << 10;

/// Where the range begins; 0 before it is reserved.
static BEGIN: AtomicUsize = AtomicUsize::new(0);

/// Reserves the range, once.
///
/// # Errors
/// Those of mmap(2) and madvise(2).
pub(super) fn reserve() -> Result<(), Errno> {
    if is_reserved() {
        return Ok(());
    }
    let (size, flags) = (SIZE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping, at an address that the kernel chooses, and that nothing else uses.
    let begin = unsafe { mmap_anonymous(ptr::null_mut(), size, ProtFlags::empty(), flags) }?;
    // SAFETY: it is that mapping, of this size, and nothing is in it.
    let kept = unsafe { madvise(begin, size, Advice::LinuxDontFork) };
    if let Err(errno) = kept {
        // SAFETY: as above.
        let _unmapped = unsafe { munmap(begin, size) };
        return Err(errno);
    }
    // Huge pages would take more memory than is used. A kernel without them refuses.
    // SAFETY: as above.
    let _refused = unsafe { madvise(begin, size, Advice::LinuxNoHugepage) };
    BEGIN.store(begin.expose_provenance(), Ordering::Release);
    Ok(())
}

/// Whether it is reserved.
pub(super) fn is_reserved() -> bool {
    BEGIN.load(Ordering::Acquire) != 0
}

/// Whether an address is in it.
pub(super) fn has(address: usize) -> bool {
    let begin = BEGIN.load(Ordering::Acquire);
    let offset = address.checked_sub(begin);
    begin != 0 && offset.is_some_and(|offset| offset < SIZE)
}

/// How much of the range the heap uses, from the begin on and without a gap.
#[derive(Debug)]
pub(super) struct Range {
    /// How many bytes the heap has.
    used: AtomicUsize,
    /// How many bytes can be read and written.
    open: AtomicUsize,
}

impl Range {
    pub(super) const fn new() -> Self {
        Self {
            used: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        }
    }

    fn begin() -> usize {
        BEGIN.load(Ordering::Acquire)
    }

    /// Opens it up to a number of bytes.
    fn open(&self, wanted: usize) -> Result<(), Errno> {
        let open = self.open.load(Ordering::Relaxed);
        if wanted <= open {
            return Ok(());
        }
        let more = (wanted - open).next_multiple_of(STEP);
        if open + more > SIZE {
            return Err(Errno::NOMEM);
        }
        let from = ptr::with_exposed_provenance_mut(Self::begin() + open);
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: these addresses are in the range, and nothing is there yet.
        unsafe { mprotect(from, more, flags) }?;
        self.open.store(open + more, Ordering::Relaxed);
        Ok(())
    }
}

// SAFETY: what `alloc` returns is memory of the range that is in use only once: `used` is behind it, and the heap
// calls this under its lock. It stays until the heap returns it.
unsafe impl Allocator for Range {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let used = self.used.load(Ordering::Relaxed);
        let Some(after) = used.checked_add(size) else {
            return (ptr::null_mut(), 0, 0);
        };
        if self.open(after).is_err() {
            return (ptr::null_mut(), 0, 0);
        }
        self.used.store(after, Ordering::Relaxed);
        let block = ptr::with_exposed_provenance_mut(Self::begin() + used);
        (block, size, 0)
    }

    fn remap(&self, _block: *mut u8, _from: usize, _to: usize, _may_move: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, block: *mut u8, from: usize, to: usize) -> bool {
        let end = block.addr() + from - Self::begin();
        if end != self.used.load(Ordering::Relaxed) {
            return false;
        }
        // SAFETY: the heap returns this memory, which is its last.
        let freed = unsafe {
            let rest = block.add(to).cast();
            madvise(rest, from - to, Advice::LinuxDontNeed)
        };
        if freed.is_err() {
            return false;
        }
        self.used.store(end - (from - to), Ordering::Relaxed);
        true
    }

    fn free(&self, block: *mut u8, size: usize) -> bool {
        self.free_part(block, size, 0)
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        // Where memory was returned, and also where it was never used.
        true
    }

    fn page_size(&self) -> usize {
        rustix::param::page_size()
    }
}
