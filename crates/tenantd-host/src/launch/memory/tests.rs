//! The allocator by itself: the tests do not allocate with it otherwise. Each test is a process of its own.

mod mappings;

use std::fs;
use std::sync::Mutex;
use std::thread;

use proptest::prelude::*;

use super::*;
use mappings::is_copied;

/// A block, full of a byte.
#[derive(Debug)]
struct Block {
    address: *mut u8,
    layout: Layout,
    byte: u8,
}

// SAFETY: only this owns the block.
unsafe impl Send for Block {}

impl Block {
    fn new(size: usize, align: usize, byte: u8) -> Self {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: `size` is not 0.
        let address = unsafe { Memory.alloc(layout) };
        let mut block = Self {
            address,
            layout,
            byte,
        };
        block.check_place();
        block.bytes().fill(byte);
        block
    }

    fn zeroed(size: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: `size` is not 0.
        let address = unsafe { Memory.alloc_zeroed(layout) };
        let block = Self {
            address,
            layout,
            byte: 0,
        };
        block.check_place();
        block
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the block has as many bytes, which `new` or `zeroed` has set.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.layout.size()) }
    }

    fn check_place(&self) {
        assert!(!self.address.is_null());
        assert!(self.address.addr().is_multiple_of(self.layout.align()));
        assert_eq!(self.is_kept(), !FOR_CHILD.get());
    }

    fn is_kept(&self) -> bool {
        range::has(self.address.addr())
    }

    fn check(&mut self) {
        let byte = self.byte;
        assert!(self.bytes().iter().all(|it| *it == byte), "changed");
    }

    fn resize(&mut self, size: usize) {
        let (before, was_kept) = (self.layout.size(), self.is_kept());
        // SAFETY: the block is from `Memory` with this layout, and `size` is not 0.
        self.address = unsafe { Memory.realloc(self.address, self.layout, size) };
        assert!(!self.address.is_null());
        assert!(self.address.addr().is_multiple_of(self.layout.align()));
        assert_eq!(self.is_kept(), was_kept && !FOR_CHILD.get());
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        let byte = self.byte;
        let (old, new) = self.bytes().split_at_mut(before.min(size));
        assert!(old.iter().all(|it| *it == byte), "lost");
        new.fill(byte);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block is from `Memory` with this layout.
        unsafe { Memory.dealloc(self.address, self.layout) }
    }
}

/// One step of a history.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: u8,
    size: usize,
    align: usize,
    is_for_child: bool,
    which: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 1..200_usize, 2 => 1..9000_usize, 1 => 1..300_000_usize];
    let all = (
        0..8_u8,
        size,
        0..13_u32,
        prop::bool::weighted(0.2),
        any::<usize>(),
    );
    all.prop_map(|(what, size, align, is_for_child, which)| Step {
        what,
        size,
        align: 1 << align,
        is_for_child,
        which,
    })
}

/// Takes a step, on this thread.
fn take(step: Step, blocks: &mut Vec<Block>) {
    let byte = step.which.to_le_bytes()[0];
    let mut act = || {
        let place = step.which.checked_rem(blocks.len());
        match (step.what, place) {
            (0..=2, _) | (_, None) => blocks.push(Block::new(step.size, step.align, byte)),
            (3, _) => {
                let mut block = Block::zeroed(step.size, step.align);
                block.check();
                blocks.push(block);
            }
            (4 | 5, Some(place)) => blocks[place].resize(step.size),
            (_, Some(place)) => blocks.swap_remove(place).check(),
        }
    };
    match step.is_for_child {
        true => for_child(act),
        false => act(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn blocks_keep_what_is_in_them(history in prop::collection::vec(step(), 1..200)) {
        keep_from_children().unwrap();
        let mut blocks = Vec::new();
        for step in history {
            take(step, &mut blocks);
        }
        blocks.iter_mut().for_each(Block::check);
    }
}

#[test]
fn threads_free_and_resize_what_others_allocated() {
    keep_from_children().unwrap();
    let pool: Mutex<Vec<Block>> = Mutex::default();
    thread::scope(|scope| {
        for first in 1..=6_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let mut random = first;
                for _ in 0..4000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let bits = usize::try_from(random >> 33).unwrap();
                    let step = Step {
                        what: u8::try_from(bits % 8).unwrap(),
                        size: 1 + (bits >> 3) % [64, 600, 20_000][bits % 3],
                        align: 1 << ((bits >> 8) % 7),
                        is_for_child: bits.is_multiple_of(5),
                        which: bits,
                    };
                    let mut taken: Vec<Block> = pool.lock().unwrap().pop().into_iter().collect();
                    take(step, &mut taken);
                    let mut pool = pool.lock().unwrap();
                    let place = bits % (pool.len() + 1);
                    for block in taken {
                        pool.insert(place, block);
                    }
                    pool.truncate(300);
                }
            });
        }
    });
    pool.into_inner().unwrap().iter_mut().for_each(Block::check);
}

/// How a child ends that reads a byte: its exit status, or the number of the signal with a minus.
fn child_that_reads(address: *const u8) -> i32 {
    let mut status = 0;
    // SAFETY: the child only reads, and exits. The byte is set in this process. waitpid(2) writes to `status` only.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(address.read_volatile().into());
        }
        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
    }
    match libc::WIFSIGNALED(status) {
        true => -libc::WTERMSIG(status),
        false => libc::WEXITSTATUS(status),
    }
}

#[test]
fn a_child_has_only_what_is_for_it() {
    let before = Block {
        byte: 5,
        ..Block::before()
    };
    keep_from_children().unwrap();
    let (kept, mut grown) = (Block::new(3000, 8, 7), Block::new(100, 8, 9));
    assert_eq!(child_that_reads(kept.address), -libc::SIGSEGV);
    let given = for_child(|| Block::new(3000, 8, 7));
    assert_eq!(child_that_reads(given.address), 7);
    assert_eq!(child_that_reads(before.address), 0);
    for_child(|| grown.resize(5000));
    assert_eq!(child_that_reads(grown.address), 9);
    drop(std::panic::catch_unwind(|| {
        for_child(|| panic!("in work for a child"))
    }));
    assert!(Block::new(10, 8, 1).is_kept(), "after a panic");
}

impl Block {
    /// A block of zeros that was allocated before memory was kept from children.
    fn before() -> Self {
        let layout = Layout::from_size_align(64, 8).unwrap();
        // SAFETY: the size is not 0.
        let address = unsafe { Memory.alloc_zeroed(layout) };
        Self {
            address,
            layout,
            byte: 0,
        }
    }
}

/// The megabytes of memory of this process.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * rustix::param::page_size()) >> 20
}

#[test]
fn memory_is_used_again_and_returned() {
    keep_from_children().unwrap();
    let before = resident();
    let many = || {
        (0..40_000)
            .map(|number| Block::new(200 + number % 1900, 8, 1))
            .collect()
    };
    let first: Vec<Block> = many();
    let full = resident();
    assert!(full > before + 30, "{before} MB, {full} MB");
    drop(first);
    let empty = resident();
    assert!(empty < before + 8, "not returned: {before} MB, {empty} MB");
    for _ in 0..3 {
        drop::<Vec<Block>>(many());
    }
    let large: Vec<Block> = (0..8).map(|_| Block::new(4 << 20, 8, 1)).collect();
    let again = resident();
    assert!(again < full + 8, "{full} MB, {again} MB");
    drop(large);
    assert!(resident() < before + 8);
}

#[test]
fn what_does_not_fit_is_of_the_system() {
    keep_from_children().unwrap();
    let layout = Layout::from_size_align(3 << 30, 8).unwrap();
    // SAFETY: the size is not 0; the block is returned with its layout. Nothing is written to it.
    unsafe {
        let block = Memory.alloc(layout);
        assert!(!block.is_null());
        assert!(!range::has(block.addr()));
        Memory.dealloc(block, layout);
    }
}

#[test]
fn the_stack_of_a_thread_is_kept_from_children() {
    let here = || {
        let local = 0_u8;
        is_copied((&raw const local).addr())
    };
    let of_thread = move || {
        let before = here();
        keep_stack_from_children();
        let kept = here();
        copy_stack().unwrap();
        (before, kept, here())
    };
    assert_eq!(thread::spawn(of_thread).join().unwrap(), (true, true, true));
    keep_from_children().unwrap();
    assert_eq!(
        thread::spawn(of_thread).join().unwrap(),
        (true, false, true)
    );
    let makes_a_child = move || {
        keep_stack_from_children();
        copy_kept_stack().unwrap();
        here()
    };
    assert!(thread::spawn(makes_a_child).join().unwrap());
    // The C library gives it to the next thread.
    thread::spawn(keep_stack_from_children).join().unwrap();
    let next = thread::spawn(move || (here(), copy_stack().is_ok(), here()));
    assert_eq!(next.join().unwrap(), (false, true, true));
}
