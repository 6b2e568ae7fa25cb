//! Whether the kernel measures what processes wait for.

use std::fs;
use std::path::Path;

use crate::doctor::{Finding, Grade};

/// Checks pressure stall information, see the kernel's Documentation/accounting/psi.rst.
#[must_use]
pub fn pressure() -> Finding {
    of(Path::new("/proc/pressure/cpu"))
}

fn of(file: &Path) -> Finding {
    match fs::read_to_string(file) {
        Ok(_) => {
            let found =
                "the kernel measures it: `tenantd status` tells who waits for what others use";
            Finding::new(Grade::Good, "pressure", found)
        }
        Err(error) => {
            let found = format!(
                "the kernel does not measure it ({error}): `tenantd status` cannot tell which tenant waits for \
                 what another uses"
            );
            let boot = "boot with psi=1; a kernel without CONFIG_PSI cannot measure it";
            Finding::new(Grade::Weak, "pressure", found).fix(boot)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_measure_it_is_weak() {
        assert_eq!(of(Path::new("/nowhere/cpu")).grade, Grade::Weak);
        assert_eq!(of(Path::new("/proc/self/status")).grade, Grade::Good);
    }
}
