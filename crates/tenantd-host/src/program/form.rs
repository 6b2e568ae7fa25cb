//! Says what a file is that the kernel does not execute: a program for another machine, or one whose
//! interpreter is missing.

use std::path::Path;

use tenantd_core::stage::{Failure, Stage};

use crate::regular;

/// How much of the file is looked at. The kernel reads a script's first line, and a linker puts what is
/// needed here, in less.
const LOOKED_AT: u64 = 4096;

/// Says more about a program that was not executed, where its file tells. It looks at the file that the
/// host has at this path. Reading may block.
#[must_use]
pub fn explain(failure: Failure) -> Failure {
    if failure.stage != Stage::Exec {
        return failure;
    }
    let begin = regular::read_begin(Path::new(&failure.object), LOOKED_AT);
    // The failure itself says what there is to say about a file that cannot be read.
    let begin = begin.unwrap_or_default();
    let said = match failure.errno {
        libc::ENOEXEC => Elf::of(&begin).map(|elf| elf.misfit(&begin)),
        libc::ENOENT => interpreter(&begin)
            .map(|path| format!("the file is there, but its interpreter {path:?} is not")),
        _ => None,
    };
    match said {
        Some(said) => failure.with(said),
        None => failure,
    }
}

/// The head of an ELF file, see elf(5).
#[derive(Debug, Clone, Copy)]
struct Elf {
    is_64: bool,
    is_big_endian: bool,
    machine: u16,
}

impl Elf {
    fn of(begin: &[u8]) -> Option<Self> {
        if begin.get(..4)? != b"\x7fELF" {
            return None;
        }
        let is_big_endian = *begin.get(5)? == 2;
        let elf = Self {
            is_64: *begin.get(4)? == 2,
            is_big_endian,
            machine: 0,
        };
        let machine = u16::try_from(elf.number(begin, 18, 2)?).ok()?;
        Some(Self { machine, ..elf })
    }

    /// The unsigned number of this many bytes at a place.
    fn number(self, begin: &[u8], at: usize, len: usize) -> Option<u64> {
        let bytes = begin.get(at..at.checked_add(len)?)?;
        let add = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        Some(match self.is_big_endian {
            true => bytes.iter().fold(0, add),
            false => bytes.iter().rev().fold(0, add),
        })
    }

    /// Why the kernel does not execute it.
    fn misfit(self, begin: &[u8]) -> String {
        let bits = if self.is_64 { 64 } else { 32 };
        let (machine, here) = (self.machine_name(), std::env::consts::ARCH);
        if machine != here {
            return format!("it is a {bits}-bit program for {machine}, and this machine is {here}");
        }
        match self.number(begin, 16, 2) {
            // A program, or one that can be loaded anywhere.
            Some(2 | 3) if self.is_64 => format!("it is a program for {machine}, but is damaged"),
            Some(2 | 3) => {
                format!("it is a {bits}-bit program for {machine}, which this kernel does not run")
            }
            Some(_) | None => "it is an ELF file, but no program".to_owned(),
        }
    }

    /// The name of its machine, as in [`std::env::consts::ARCH`].
    fn machine_name(self) -> String {
        let name = match (self.machine, self.is_64) {
            (2, _) => "sparc",
            (3, _) => "x86",
            (8, false) => "mips",
            (8, true) => "mips64",
            (20, _) => "powerpc",
            (21, _) => "powerpc64",
            (22, _) => "s390x",
            (40, _) => "arm",
            (43, _) => "sparc64",
            (62, _) => "x86_64",
            (183, _) => "aarch64",
            (243, false) => "riscv32",
            (243, true) => "riscv64",
            (258, _) => "loongarch64",
            (other, _) => return format!("ELF machine {other}"),
        };
        name.to_owned()
    }

    /// The path of its interpreter, which loads it.
    fn interpreter(self, begin: &[u8]) -> Option<&[u8]> {
        // Where the numbers are: the table of segments, its entry size and count; in an entry, the place
        // and the length of the segment.
        let (word, table, entry, place, length) = match self.is_64 {
            true => (8, 32, 54, 8, 32),
            false => (4, 28, 42, 4, 16),
        };
        let number = |at: u64, len| self.number(begin, usize::try_from(at).ok()?, len);
        let (first, size) = (number(table, word)?, number(entry, 2)?);
        for index in 0..number(entry + 2, 2)? {
            let at = first.checked_add(index.checked_mul(size)?)?;
            // PT_INTERP
            if number(at, 4)? == 3 {
                let from = usize::try_from(number(at.checked_add(place)?, word)?).ok()?;
                let len = usize::try_from(number(at.checked_add(length)?, word)?).ok()?;
                let path = begin.get(from..from.checked_add(len)?)?;
                return path.split(|&byte| byte == 0).next();
            }
        }
        None
    }
}

/// The interpreter of a script, as its first line has it, or of a program.
fn interpreter(begin: &[u8]) -> Option<String> {
    let path = match begin.strip_prefix(b"#!") {
        Some(line) => {
            let line = line.split(|&byte| byte == b'\n').next()?;
            let line = line.trim_ascii_start();
            // With a line end of another system, which is part of the name for the kernel.
            line.split(|byte| matches!(byte, b' ' | b'\t')).next()?
        }
        None => Elf::of(begin)?.interpreter(begin)?,
    };
    Some(String::from_utf8_lossy(path).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(bytes: &[u8], errno: i32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app");
        std::fs::write(&path, bytes).unwrap();
        let object = path.display().to_string();
        let said = explain(Failure::errno(Stage::Exec, &object, errno)).to_string();
        said.replace(&object, "app")
    }

    /// The head of a program.
    fn elf(class: u8, order: u8, kind: [u8; 2], machine: [u8; 2]) -> Vec<u8> {
        let head = [b"\x7fELF".as_slice(), &[class, order, 1], &[0; 9]].concat();
        [head, kind.to_vec(), machine.to_vec(), vec![0; 100]].concat()
    }

    #[test]
    fn a_program_for_another_machine_is_no_script() {
        let here = std::env::consts::ARCH;
        let said = explained(&elf(2, 2, [0, 2], [0, 22]), libc::ENOEXEC);
        assert_eq!(
            said,
            format!(
                "cannot execute the program app: Exec format error (ENOEXEC): it is a 64-bit program \
                 for s390x, and this machine is {here} [install the program for this machine]"
            )
        );
        let arm = explained(&elf(1, 1, [3, 0], [40, 0]), libc::ENOEXEC);
        assert!(arm.contains("a 32-bit program for arm, and"), "{arm}");
        let strange = explained(&elf(2, 1, [2, 0], [0, 3]), libc::ENOEXEC);
        assert!(strange.contains("for ELF machine 768, and"), "{strange}");
        for script in [b"echo".as_slice(), b"", b"\x7fELF"] {
            let said = explained(script, libc::ENOEXEC);
            assert!(said.contains("a script needs #!"), "{said}");
        }
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let missing = |bytes: &[u8]| explained(bytes, libc::ENOENT);
        let said = missing(b"#! /bin/sh\r\necho\r\n");
        assert!(
            said.contains(r#"the file is there, but its interpreter "/bin/sh\r" is not ["#),
            "{said}"
        );
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let said = missing(&this);
        assert!(said.contains("its interpreter \"/lib"), "{said}");
        // Of any bytes, none is outside of the file.
        for len in 0..200 {
            let _said = missing(&this[..len]);
        }
        assert!(missing(b"x").contains("in its first line, is installed"));
    }
}
