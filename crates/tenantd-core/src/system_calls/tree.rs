//! Builds the program: a head that judges the architecture, a binary tree over the numbers of the calls
//! whose leaves are verdicts, and blocks that look at arguments.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Preset;
use super::calls::{Architecture, REFUSED, Refused, number};
use super::instruction::{
    ALLOW, AT_ARCHITECTURE, AT_ARGUMENTS, AT_NUMBER, ERRNO, IF_BITS, IF_EQUAL, IF_FROM,
    Instruction, JUMP, LOAD, LOG, RETURN,
};

/// The flags for new namespaces in clone(2): NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and
/// NEWNET. NEWTIME is below them, where clone(2) has the signal.
const NAMESPACES: u32 = 0x7e02_0000;
/// The same for unshare(2).
const NAMESPACES_AND_TIME: u32 = NAMESPACES | 0x80;

/// The bit that the numbers of the x32 ABI have.
const X32: u32 = 0x4000_0000;

/// AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
const FAMILIES: [u32; 4] = [1, 2, 10, 16];

/// The requests of ioctl(2) that are refused. TIOCSTI types on a terminal, TIOCLINUX pastes on the console. The others
/// lead out of the quota of a datastore: FS_IOC_FSSETXATTR gives a file to another project, FS_IOC_SETFLAGS keeps
/// new files out of that of their folder, and those of btrfs make subvolumes and snapshots, which are counted for
/// themselves (SUBVOL_CREATE, SNAP_CREATE, and both in their second version), or the datastore read-only for tenantd
/// too (SUBVOL_SETFLAGS).
const REQUESTS: [u32; 9] = [
    0x5412,
    0x541c,
    0x401c_5820,
    0x4008_6602,
    0x5000_940e,
    0x5000_9401,
    0x5000_9418,
    0x5000_9417,
    0x4008_941a,
];

/// What happens with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leaf {
    Allow,
    Refuse,
    Missing,
    Clone,
    Unshare,
    Family,
    Request,
    OtherProcess,
    Others(u32),
}

/// The program for a preset; empty if it refuses nothing. With `log`, what would be refused is
/// logged and allowed, except for clone3(2): glibc calls it for every new thread.
#[must_use]
pub fn program(preset: Preset, log: bool, architecture: Architecture) -> Vec<Instruction> {
    if preset == Preset::None {
        return Vec::new();
    }
    let mut built = Builder {
        code: Vec::new(),
        jumps: Vec::new(),
        log,
    };
    built.head(architecture);
    let ranges = ranges(preset, architecture);
    built.tree(&ranges);
    built.blocks();
    built.code
}

/// The first number of each range of numbers that have the same verdict.
fn ranges(preset: Preset, architecture: Architecture) -> Vec<(u32, Leaf)> {
    let mut leaves = BTreeMap::new();
    for row in REFUSED {
        if let (Some(number), Some(leaf)) = (number(row, architecture), leaf(row.0, row.3, preset))
        {
            leaves.insert(number, leaf);
        }
    }
    let mut ranges = vec![(0, Leaf::Allow)];
    let mut begin = |from: u32, leaf: Leaf| match ranges.last_mut() {
        Some(last) if last.0 == from => last.1 = leaf,
        Some(last) if last.1 == leaf => {}
        Some(_) | None => ranges.push((from, leaf)),
    };
    for (number, leaf) in leaves {
        begin(number, leaf);
        begin(number + 1, Leaf::Allow);
    }
    ranges
}

/// What a preset does with a call; `None` if it allows it.
fn leaf(name: &str, refused: Refused, preset: Preset) -> Option<Leaf> {
    let is_strict = preset == Preset::Strict;
    match refused {
        Refused::From(least) => (is_strict || least == Preset::Service).then_some(Leaf::Refuse),
        Refused::Missing => Some(Leaf::Missing),
        Refused::NewNamespace if name == "clone" => Some(Leaf::Clone),
        Refused::NewNamespace => Some(Leaf::Unshare),
        Refused::Family => Some(Leaf::Family),
        Refused::Request => Some(Leaf::Request),
        Refused::OtherProcess => is_strict.then_some(Leaf::OtherProcess),
        Refused::Others(process) => is_strict.then_some(Leaf::Others(process)),
    }
}

struct Builder {
    code: Vec<Instruction>,
    /// Jumps to blocks that are not built yet.
    jumps: Vec<(usize, Leaf)>,
    log: bool,
}

impl Builder {
    fn load(&mut self, from: u32) {
        self.code.push(Instruction::plain(LOAD, from));
    }

    fn argument(&mut self, index: u32) {
        self.load(AT_ARGUMENTS + 8 * index);
    }

    fn branch(&mut self, code: u16, k: u32, yes: u8, no: u8) {
        self.code.push(Instruction::branch(code, k, yes, no));
    }

    fn allow(&mut self) {
        self.code.push(Instruction::plain(RETURN, ALLOW));
    }

    fn refuse(&mut self, errno: i32) {
        let verdict = match self.log {
            true => LOG,
            false => ERRNO | errno.unsigned_abs(),
        };
        self.code.push(Instruction::plain(RETURN, verdict));
    }

    /// ENOSYS for programs of another architecture or ABI: their numbers mean other calls.
    fn head(&mut self, architecture: Architecture) {
        self.load(AT_ARCHITECTURE);
        self.branch(IF_EQUAL, architecture.audit(), 1, 0);
        self.refuse(libc::ENOSYS);
        self.load(AT_NUMBER);
        if architecture == Architecture::X86 {
            self.branch(IF_FROM, X32, 0, 1);
            self.refuse(libc::ENOSYS);
        }
    }

    fn tree(&mut self, ranges: &[(u32, Leaf)]) {
        let (left, right) = ranges.split_at(ranges.len() / 2);
        let Some((from, leaf)) = right.first().copied() else {
            return;
        };
        if left.is_empty() {
            return self.leaf(leaf);
        }
        let at = self.code.len();
        self.branch(IF_FROM, from, 0, 0);
        self.tree(left);
        let skipped = self.code.len() - at - 1;
        self.tree(right);
        if let Some(branch) = self.code.get_mut(at) {
            branch.yes = u8::try_from(skipped).expect("half of the table fits a jump");
        }
    }

    fn leaf(&mut self, leaf: Leaf) {
        match leaf {
            Leaf::Allow => self.allow(),
            Leaf::Refuse => self.refuse(libc::EPERM),
            Leaf::Missing => {
                let verdict = ERRNO | libc::ENOSYS.unsigned_abs();
                self.code.push(Instruction::plain(RETURN, verdict));
            }
            Leaf::Clone
            | Leaf::Unshare
            | Leaf::Family
            | Leaf::Request
            | Leaf::OtherProcess
            | Leaf::Others(_) => {
                self.jumps.push((self.code.len(), leaf));
                self.code.push(Instruction::plain(JUMP, 0));
            }
        }
    }

    /// A block for each kind of jump, and the jumps to it.
    fn blocks(&mut self) {
        let mut jumps = std::mem::take(&mut self.jumps);
        jumps.sort_by_key(|(_, leaf)| *leaf);
        let mut built = None;
        let mut begin = 0;
        for (at, leaf) in jumps {
            if built != Some(leaf) {
                begin = self.code.len();
                self.block(leaf);
                built = Some(leaf);
            }
            let distance = u32::try_from(begin - at - 1).unwrap_or(u32::MAX);
            if let Some(jump) = self.code.get_mut(at) {
                jump.k = distance;
            }
        }
    }

    fn block(&mut self, leaf: Leaf) {
        match leaf {
            Leaf::Allow | Leaf::Refuse | Leaf::Missing => {}
            Leaf::Clone => self.unless_bits(NAMESPACES),
            Leaf::Unshare => self.unless_bits(NAMESPACES_AND_TIME),
            Leaf::Family => {
                self.argument(0);
                let mut left: u8 = 4;
                for family in FAMILIES {
                    self.branch(IF_EQUAL, family, left, 0);
                    left -= 1;
                }
                self.refuse(libc::EAFNOSUPPORT);
                self.allow();
            }
            Leaf::Request => {
                self.argument(1);
                for (at, request) in REQUESTS.into_iter().enumerate() {
                    let after = u8::try_from(REQUESTS.len() - at).unwrap_or(u8::MAX);
                    self.branch(IF_EQUAL, request, after, 0);
                }
                self.allow();
                self.refuse(libc::EPERM);
            }
            Leaf::OtherProcess => {
                self.argument(0);
                self.if_zero();
            }
            Leaf::Others(process) => {
                self.argument(0);
                self.branch(IF_EQUAL, process, 0, 2);
                self.argument(1);
                self.branch(IF_EQUAL, 0, 1, 0);
                self.refuse(libc::EPERM);
                self.allow();
            }
        }
    }

    fn unless_bits(&mut self, bits: u32) {
        self.argument(0);
        self.branch(IF_BITS, bits, 0, 1);
        self.refuse(libc::EPERM);
        self.allow();
    }

    fn if_zero(&mut self) {
        self.branch(IF_EQUAL, 0, 1, 0);
        self.refuse(libc::EPERM);
        self.allow();
    }
}
