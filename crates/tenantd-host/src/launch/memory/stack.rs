//! The stacks of threads, of which a child needs one only: that of the thread that makes it.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::range;

thread_local! {
    static IS_KEPT: Cell<bool> = const { Cell::new(false) };
}

/// No child gets the stack of this thread, which never makes one, and that of its signal handlers; nothing, if children get
/// all memory. Call it in threads that stay: the C library gives the stack of one that has ended to another.
///
/// An error is not one for the caller: then each child gets it.
pub fn keep_stack_from_children() {
    if range::is_reserved() {
        IS_KEPT.set(advise(Advice::LinuxDontFork).is_ok());
        keep_handlers_stack();
    }
}

/// The same for the stack on which handlers of signals run, see sigaltstack(2). No child has a handler. It is not given to
/// another thread: the standard library unmaps it when this one ends.
fn keep_handlers_stack() {
    let mut found = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: no new stack is given, and the call writes the present one. All-zero bytes are a stack_t: it is valid also
    // if the call fails, and has no size then.
    let found = unsafe {
        libc::sigaltstack(ptr::null(), found.as_mut_ptr());
        found.assume_init()
    };
    if found.ss_flags & libc::SS_DISABLE != 0 {
        return;
    }
    let pages = pages_within(found.ss_sp.expose_provenance(), found.ss_size);
    // SAFETY: these pages are that stack. The advice does not change what is in them.
    let _refused = unsafe { madvise(pages.0, pages.1, Advice::LinuxDontFork) };
}

/// Children get the stack of this thread, whatever thread had it before.
///
/// # Errors
/// Those of pthread_getattr_np(3) and madvise(2).
pub(crate) fn copy_stack() -> Result<(), Errno> {
    advise(Advice::LinuxDoFork)
}

/// Before this thread makes a child, which it does if there is no thread of the children: children get its stack again.
///
/// # Errors
/// As for [`copy_stack`].
pub(crate) fn copy_kept_stack() -> Result<(), Errno> {
    match IS_KEPT.get() {
        true => copy_stack().inspect(|()| IS_KEPT.set(false)),
        false => Ok(()),
    }
}

fn advise(advice: Advice) -> Result<(), Errno> {
    let (begin, size) = bounds()?;
    let (stack, bytes) = pages_within(begin, size);
    // SAFETY: these pages are the stack of this thread. Neither advice changes what is in them.
    unsafe { madvise(stack, bytes, advice) }
}

/// The whole pages within these bytes.
fn pages_within(begin: usize, size: usize) -> (*mut libc::c_void, usize) {
    let page = rustix::param::page_size();
    let (first, end) = (begin.next_multiple_of(page), (begin + size) / page * page);
    let bytes = end.saturating_sub(first);
    (ptr::with_exposed_provenance_mut(first), bytes)
}

/// Where the stack of this thread begins, and its bytes.
fn bounds() -> Result<(usize, usize), Errno> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut begin, mut size) = (ptr::null_mut(), 0);
    let checked = |error: libc::c_int| match error {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(error)),
    };
    // SAFETY: a thread that runs has attributes. They are initialized when the call succeeds, are read then, and
    // destroyed once. `begin` and `size` outlive the call that writes them.
    unsafe {
        let of = attributes.as_mut_ptr();
        checked(libc::pthread_getattr_np(libc::pthread_self(), of))?;
        let got = checked(libc::pthread_attr_getstack(
            of,
            &raw mut begin,
            &raw mut size,
        ));
        checked(libc::pthread_attr_destroy(of)).and(got)?;
    }
    Ok((begin.expose_provenance(), size))
}
