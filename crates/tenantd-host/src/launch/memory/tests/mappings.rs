//! What the kernel says of the mappings of this process.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;

use super::*;

/// What proc_pid_smaps(5) says of the mapping that has an address.
fn mapping_of(address: usize) -> String {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found = String::new();
    let mut is_here = false;
    for line in maps.lines() {
        let bounds = line
            .split_once(' ')
            .and_then(|(bounds, _)| bounds.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        if let Some((Some(from), Some(to))) = bounds.map(|(from, to)| (number(from), number(to))) {
            is_here = (from..to).contains(&address);
        }
        if is_here {
            found += line;
            found.push('\n');
        }
    }
    assert!(!found.is_empty(), "no mapping has {address:x}");
    found
}

/// Whether children get the page of an address, see `VmFlags` in proc_pid_smaps(5).
pub(super) fn is_copied(address: usize) -> bool {
    let mapping = mapping_of(address);
    let flags = mapping
        .lines()
        .find_map(|line| line.strip_prefix("VmFlags:"));
    !flags.unwrap().split(' ').any(|flag| flag == "dc")
}

/// Where the stack for the handlers of this thread's signals begins.
fn handlers_stack() -> usize {
    // SAFETY: all-zero bytes are a stack_t. No new stack is given, and the call writes the present one.
    unsafe {
        let mut found: libc::stack_t = std::mem::zeroed();
        assert_eq!(libc::sigaltstack(ptr::null(), &raw mut found), 0);
        assert_eq!(found.ss_flags & libc::SS_DISABLE, 0, "the thread has none");
        found.ss_sp.addr()
    }
}

#[test]
fn the_stack_for_handlers_is_kept_from_children() {
    keep_from_children().unwrap();
    let of_thread = || {
        let stack = handlers_stack();
        let before = is_copied(stack);
        keep_stack_from_children();
        (before, is_copied(stack))
    };
    assert_eq!(thread::spawn(of_thread).join().unwrap(), (true, false));
}

#[test]
fn threads_share_what_is_for_children() {
    /// Of the C library: each of its arenas but the first begins at a multiple of this.
    const ARENA: usize = 64 << 20;
    const THREADS: usize = 12;
    keep_from_children().unwrap();
    let all_run = Barrier::new(THREADS);
    let of_thread = || {
        let block = for_child(|| Block::new(1000, 8, 1));
        all_run.wait();
        block.address.addr() / ARENA
    };
    let places: BTreeSet<usize> = thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(of_thread));
        threads.map(|it| it.join().unwrap()).into()
    });
    // That of this thread, which was there before, and that of the main thread, which may lie across a multiple.
    assert!(places.len() <= 3, "{places:x?}");
}

/// The linker writes their addresses.
static ADDRESSES: [&str; 2] = ["one", "two"];

#[test]
fn constants_are_in_a_file_that_children_read_too() {
    let words = std::hint::black_box(&ADDRESSES);
    let place = ptr::from_ref(words);
    let before = mapping_of(place.addr());
    assert!(!before.contains("Anonymous:             0 kB"), "{before}");
    keep_from_children().unwrap();
    let after = mapping_of(place.addr());
    assert!(after.contains("Anonymous:             0 kB"), "{after}");
    assert!(after.lines().next().unwrap().contains("r--p"), "{after}");
    assert_eq!(words, &["one", "two"]);
    assert_eq!(child_that_reads(place.cast()), place_of(words[0]));
    drop(std::panic::catch_unwind(|| {
        panic!("the tables of what unwinds")
    }));
}

/// The first byte in memory of the address of a text.
fn place_of(text: &str) -> i32 {
    text.as_ptr().addr().to_ne_bytes()[0].into()
}
