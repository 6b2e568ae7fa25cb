//! Makes one system call fail on the calling thread, for causes that no test host can give.
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

/// From now on this system call does `action` on this thread and in its children; only with this
/// first argument where one is given.
pub fn intercept(syscall: libc::c_long, first: Option<i32>, action: SeccompAction) {
    let rules = first.map(|value| {
        let value = u64::from(value.unsigned_abs());
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

/// From now on this system call fails.
pub fn deny(syscall: libc::c_long, first: Option<i32>, errno: i32) {
    intercept(syscall, first, SeccompAction::Errno(errno.unsigned_abs()));
}
