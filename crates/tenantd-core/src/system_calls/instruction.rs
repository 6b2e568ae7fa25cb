//! Instructions of the classic Berkeley packet filter, as far as seccomp(2) is used here.

/// Loads 32 bits of `seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// Jumps always.
pub(super) const JUMP: u16 = 0x05;
/// Jumps if the loaded number is equal.
pub(super) const IF_EQUAL: u16 = 0x15;
/// Jumps if the loaded number is equal or greater.
pub(super) const IF_FROM: u16 = 0x35;
/// Jumps if the loaded number has one of the bits.
pub(super) const IF_BITS: u16 = 0x45;
/// Ends with a verdict.
pub(super) const RETURN: u16 = 0x06;

/// Where `seccomp_data` has the number of the call.
pub(super) const AT_NUMBER: u32 = 0;
/// Where `seccomp_data` has the architecture.
pub(super) const AT_ARCHITECTURE: u32 = 4;
/// Where `seccomp_data` has the low half of the first argument, on little-endian machines.
pub(super) const AT_ARGUMENTS: u32 = 16;

/// The verdicts of seccomp(2).
pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const LOG: u32 = 0x7ffc_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;

/// One instruction, with the fields of the kernel's `sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions it skips if its condition holds.
    pub yes: u8,
    /// How many instructions it skips if not.
    pub no: u8,
    /// Its number: what is compared, where it is loaded from, or the verdict.
    pub k: u32,
}

impl Instruction {
    pub(super) const fn plain(code: u16, k: u32) -> Self {
        Self {
            code,
            yes: 0,
            no: 0,
            k,
        }
    }

    pub(super) const fn branch(code: u16, k: u32, yes: u8, no: u8) -> Self {
        Self { code, yes, no, k }
    }
}
