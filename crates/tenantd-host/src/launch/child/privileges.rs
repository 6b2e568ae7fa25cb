//! The capabilities of the child, and its filter of system calls.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, set_capabilities, set_capabilities_secure_bits,
    set_keep_capabilities, set_no_new_privs,
};

use super::Fault;
use super::attributes::{AMBIENT, INHERITABLE, SECURE_BITS};
use crate::launch::raw::outcome;
use crate::launch::spec::Rights;
use tenantd_core::capability::{Capabilities, Capability};
use tenantd_core::stage::Stage;

/// Drops capabilities from the bounding set, and empties what would be inherited. The process keeps
/// what it has until it changes its user or executes a program.
pub(super) fn drop_capabilities(rights: &Rights) -> Result<(), Fault> {
    super::each(Stage::Capabilities, &rights.dropped, |one| {
        drop_from_bounding(*one)
    })?;
    plain_secure_bits().map_err(|errno| Fault(Stage::Attributes, SECURE_BITS, errno))?;
    inherit(Capabilities::NONE).map_err(|errno| Fault(Stage::Attributes, INHERITABLE, errno))?;
    clear_ambient_capability_set().map_err(|errno| Fault(Stage::Attributes, AMBIENT, errno))
}

/// Forbids new privileges and loads the filter, while the process has CAP_SYS_ADMIN: with set-id
/// programs, no_new_privs is not there to permit it.
pub(super) fn restrict_calls(rights: &Rights) -> Result<(), Fault> {
    if !rights.set_id_programs {
        set_no_new_privs(true).map_err(super::at(Stage::NoNewPrivs))?;
    }
    load(&rights.filter).map_err(super::at(Stage::SystemCalls))
}

/// Keeps the permitted capabilities at the next change of the user, if some are to be given.
pub(super) fn keep_for_user(rights: &Rights) -> Result<(), Fault> {
    if rights.ambient.is_empty() {
        return Ok(());
    }
    set_keep_capabilities(true).map_err(|errno| Fault(Stage::Attributes, AMBIENT, errno))
}

/// After the change of the user: leaves the ambient capabilities, which execve(2) keeps, and no others.
pub(super) fn give_to_user(rights: &Rights) -> Result<(), Fault> {
    if rights.ambient.is_empty() {
        return Ok(());
    }
    give(rights.ambient).map_err(|errno| Fault(Stage::Attributes, AMBIENT, errno))
}

/// Removes one capability from the bounding set of this thread.
pub(in crate::launch) fn drop_from_bounding(capability: Capability) -> Result<(), Errno> {
    rustix::thread::remove_capability_from_bounding_set(set_of(capability))
}

/// Programs of root get capabilities, and a change of the user drops them, as usual.
pub(in crate::launch) fn plain_secure_bits() -> Result<(), Errno> {
    set_capabilities_secure_bits(CapabilitiesSecureBits::empty())
}

/// Sets what a program with inheritable file capabilities would get.
pub(in crate::launch) fn inherit(inheritable: Capabilities) -> Result<(), Errno> {
    let sets = capabilities(None)?;
    set_capabilities(
        None,
        rustix::thread::CapabilitySets {
            inheritable: CapabilitySet::from_bits_retain(inheritable.bits()),
            ..sets
        },
    )
}

/// Reduces all sets of this thread to the ambient capabilities.
pub(in crate::launch) fn give(ambient: Capabilities) -> Result<(), Errno> {
    let set = CapabilitySet::from_bits_retain(ambient.bits());
    set_capabilities(
        None,
        rustix::thread::CapabilitySets {
            effective: set,
            permitted: set,
            inheritable: set,
        },
    )?;
    for one in ambient.iter() {
        configure_capability_in_ambient_set(set_of(one), true)?;
    }
    Ok(())
}

fn set_of(one: Capability) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << one.number())
}

/// Loads a filter into this thread, see seccomp(2). None if it has no instructions.
pub(in crate::launch) fn load(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    if filter.is_empty() {
        return Ok(());
    }
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?,
        // The kernel only reads it.
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to as many instructions as it says, and both are only read during the
    // call.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })
}
