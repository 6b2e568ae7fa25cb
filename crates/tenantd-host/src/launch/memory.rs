//! The memory of this process, and which part of it a child of a launch gets.
//!
//! A child gets a copy of the memory: the kernel copies its page tables, and then each page that the supervisor
//! writes, which interrupts all its processors. So a supervisor has its memory in a range that no child
//! gets (`MADV_DONTFORK` of madvise(2)), and only what is allocated [for a child](for_child) elsewhere. A child that
//! touches anything else ends with SIGSEGV, and its launch fails.
//!
//! The program has [`Memory`] as its allocator. Until it calls [`keep_from_children`], and in programs that never
//! call it, all memory is the system allocator's.
#![allow(unsafe_code)]

mod constants;
mod range;
mod stack;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;
use rustix::io::Errno;

use range::Range;
pub use stack::keep_stack_from_children;
pub(crate) use stack::{copy_kept_stack, copy_stack};

/// The allocator of tenantd.
#[derive(Debug)]
pub struct Memory;

/// What allocates in the range, for all threads. With a heap for each of some threads, what one has freed stays in memory
/// unused: the reading of a manifest of 10,000 tenants leaves 17 MB. No launch was measurably faster.
static HEAP: Mutex<Dlmalloc<Range>> = Mutex::new(Dlmalloc::new_with_allocator(Range::new()));

thread_local! {
    // A constant without a destructor: to use it allocates nothing.
    static FOR_CHILD: Cell<bool> = const { Cell::new(false) };
}

/// From now on, no child gets memory that is allocated, except [`for_child`]. Call it before there are other threads.
///
/// # Errors
/// Those of mmap(2) and madvise(2): then a child gets all memory, as before.
pub fn keep_from_children() -> Result<(), Errno> {
    range::reserve()?;
    share_one_arena();
    // Without it, each child gets copies of them, and nothing else is different.
    let _copied = constants::share();
    Ok(())
}

/// Has the C library take the memory of all threads from one place. Otherwise each thread has a mapping of its own, which
/// each launch copies and removes again, although it has next to nothing in it.
fn share_one_arena() {
    // SAFETY: there is no other thread yet. What was allocated before stays where it is.
    #[cfg(target_env = "gnu")]
    let _is_set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// What is allocated meanwhile on this thread, the children of launches get. It may be freed and grow at any time.
pub(crate) fn for_child<T>(work: impl FnOnce() -> T) -> T {
    /// Restores what was, also after a panic.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            FOR_CHILD.set(self.0);
        }
    }
    let _before = Before(FOR_CHILD.replace(true));
    work()
}

/// The heap; `None` if the memory is to be the system allocator's.
fn own_heap() -> Option<MutexGuard<'static, Dlmalloc<Range>>> {
    (range::is_reserved() && !FOR_CHILD.get()).then(locked)
}

/// The heap, if it has this address; `None` if it is the system allocator's.
fn heap_of(address: *mut u8) -> Option<MutexGuard<'static, Dlmalloc<Range>>> {
    range::has(address.addr()).then(locked)
}

fn locked() -> MutexGuard<'static, Dlmalloc<Range>> {
    // No code panics while the lock is held.
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: each block is from one allocator, that of its address: those of the heap are in the range, in which the
// system allocator has nothing. The heap is used under its lock. Nothing here allocates otherwise, or panics.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller gives a layout that is not empty.
        let own = own_heap().map(|mut heap| unsafe { heap.malloc(layout.size(), layout.align()) });
        match own.filter(|block| !block.is_null()) {
            Some(block) => block,
            // SAFETY: the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller gives a layout that is not empty.
        let own = own_heap().map(|mut heap| unsafe { heap.calloc(layout.size(), layout.align()) });
        match own.filter(|block| !block.is_null()) {
            Some(block) => block,
            // SAFETY: the same.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match heap_of(block) {
            // SAFETY: the caller gives a block of this allocator with its layout. Its address is in the heap.
            Some(mut heap) => unsafe { heap.free(block, layout.size(), layout.align()) },
            // SAFETY: the same, and it is not in the heap.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(mut heap) = heap_of(block) else {
            // SAFETY: as in `dealloc`.
            return unsafe { System.realloc(block, layout, size) };
        };
        if !FOR_CHILD.get() {
            // SAFETY: as in `dealloc`.
            let resized = unsafe { heap.realloc(block, layout.size(), layout.align(), size) };
            if !resized.is_null() {
                return resized;
            }
        }
        drop(heap);
        // What grows for a child moves to where the child gets it, and what the heap has no room for to where there
        // is some.
        // SAFETY: the caller gives a size that is not 0 and fits the alignment. Both blocks have as many bytes as are
        // copied, and the old one is returned once.
        unsafe {
            let moved = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests;
