//! The tables of strings for execve(2). One of the strings may end with the number of the process: the child
//! sets it, as it must not allocate.

use std::ffi::{CString, c_char};
use std::sync::atomic::{AtomicU8, Ordering};

/// C strings, and the table of their addresses that execve(2) wants.
pub(super) struct Strings {
    // Owns the bytes that the table points to.
    _strings: Vec<CString>,
    /// One more string: that with the number of the process.
    number: Option<Number>,
    table: Vec<*const c_char>,
}

// SAFETY: the table points to the bytes of the strings that it owns. Nothing changes either, except for
// the bytes of `number`, which are atomic.
#[allow(unsafe_code)]
unsafe impl Sync for Strings {}

impl Strings {
    pub(super) fn new(strings: Vec<CString>) -> Self {
        // Moving a CString does not move its bytes, which are on the heap.
        let mut table: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        table.push(std::ptr::null());
        Self {
            _strings: strings,
            number: None,
            table,
        }
    }

    /// The same with one more string: `PREFIX`, and the number of the process that sets it.
    pub(super) fn with_number(mut self, prefix: &str) -> Self {
        let number = Number::new(prefix);
        self.table.insert(0, number.as_ptr());
        self.number = Some(number);
        self
    }

    /// Sets the number, if there is one. Allocates nothing.
    pub(super) fn set_number(&self, pid: u32) {
        if let Some(number) = &self.number {
            number.set(pid);
        }
    }

    /// The table. It ends with a null pointer and is valid as long as `self`.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.table.as_ptr()
    }
}

/// The most digits of a process number.
const DIGITS: usize = 10;

/// A string with room for a number at its end. It is a C string at any time.
struct Number {
    bytes: Box<[AtomicU8]>,
    prefix: usize,
}

impl Number {
    /// The string without a number.
    fn new(prefix: &str) -> Self {
        // One more is the NUL byte.
        let room = std::iter::repeat_n(0, DIGITS + 1);
        let bytes = prefix.bytes().chain(room).map(AtomicU8::new);
        Self {
            bytes: bytes.collect(),
            prefix: prefix.len(),
        }
    }

    /// Appends the number to the prefix. Allocates nothing.
    fn set(&self, number: u32) {
        let mut rest = number;
        let mut digits = [0; DIGITS];
        let mut length = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            length += 1;
            if rest == 0 {
                break;
            }
        }
        let digits = digits.iter().skip(DIGITS - length);
        for (byte, digit) in self.bytes.iter().skip(self.prefix).zip(digits) {
            byte.store(*digit, Ordering::Relaxed);
        }
    }

    /// The C string. It is valid as long as `self`.
    fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_at_the_end() {
        for number in [1, 10, 4711, u32::MAX] {
            let text = Number::new("PID=");
            text.set(number);
            let bytes = text.bytes.iter().map(|byte| byte.load(Ordering::Relaxed));
            let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
            assert_eq!(bytes, format!("PID={number}").as_bytes());
        }
    }
}
