//! The limit on open descriptors: the supervisor needs more than the usual 1,024, its tenants are
//! to see what they would without it.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit (`RLIMIT_NOFILE`) as far as it may, and gives what it was: that is
/// the tenants'. A program may rely on a small one, for it closes all that there could be, or
/// calls select(2).
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise() -> Result<Rlimit, Errno> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(before)
}

/// Sets it back to what [`raise`] found, for a program that raises it itself. What is open stays.
///
/// # Errors
/// Those of setrlimit(2).
pub fn lower(before: Rlimit) -> Result<(), Errno> {
    setrlimit(Resource::Nofile, before)
}
