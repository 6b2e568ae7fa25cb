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
    let rules = first.map(|value| {
        // The lower half of the register, in which AT_FDCWD is negative.
        let value = u64::from(value.cast_unsigned());
        let (size, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        let condition = SeccompCondition::new(0, size, equal, value).unwrap();
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
