//! Makes a system call fail on the calling thread, for errors that a test host cannot cause.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Makes a system call do `action` on this thread and its children from now on; if `first` is
/// given, only calls with this first argument.
pub fn intercept(syscall: libc::c_long, first: Option<i32>, action: SeccompAction) {
    intercept_at(syscall, first.map(|value| (0, value)), action);
}

/// The same for a value of any argument, which are counted from 0.
fn intercept_at(syscall: libc::c_long, argument: Option<(u8, i32)>, action: SeccompAction) {
    let rules = argument.map(|(position, value)| {
        // The lower half of the register, in which AT_FDCWD is negative.
        let value = u64::from(value.cast_unsigned());
        let (size, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        let condition = SeccompCondition::new(position, size, equal, value).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    });
    let filter = SeccompFilter::new(
        BTreeMap::from([(syscall, rules.into_iter().collect())]),
        SeccompAction::Allow,
        action,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
}

/// Makes a system call fail from now on.
pub fn deny(syscall: libc::c_long, first: Option<i32>, errno: i32) {
    intercept(syscall, first, SeccompAction::Errno(errno.unsigned_abs()));
}

/// Makes a system call fail from now on if its second argument has this value.
pub fn deny_second(syscall: libc::c_long, second: i32, errno: i32) {
    let action = SeccompAction::Errno(errno.unsigned_abs());
    intercept_at(syscall, Some((1, second)), action);
}
