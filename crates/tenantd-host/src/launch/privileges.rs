//! What the processes of a tenant may do, as the kernel takes it: for launches and for `exec`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::io::Errno;

use super::child::privileges as own;
use super::memory::for_child;
use super::raw;
use tenantd_core::capability::{Capabilities, Capability};
use tenantd_core::plan::privileges::Privileges;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::system_calls::{self, Architecture, Instruction, Preset};

/// What a process that starts as one user may do.
#[derive(Debug)]
pub struct Rights {
    /// The capabilities to drop from the bounding set.
    pub(super) dropped: Vec<Capability>,
    /// What it has as another user than root.
    pub(super) ambient: Capabilities,
    /// Whether set-user-ID and set-group-ID programs get their rights.
    pub(super) set_id_programs: bool,
    /// The filter of system calls; empty if there is none.
    pub(super) filter: Arc<[libc::sock_filter]>,
}

impl Rights {
    /// Those of a process of this user.
    ///
    /// # Errors
    /// A [`Failure`] of stage system-calls if there is no filter for this architecture.
    pub fn new(privileges: &Privileges, uid: u32) -> Result<Self, Failure> {
        let kept = privileges.bounding(uid);
        let known = (0..=last_capability()).filter_map(Capability::numbered);
        Ok(Self {
            dropped: known.filter(|one| !kept.has(*one)).collect(),
            ambient: privileges.ambient(uid),
            set_id_programs: privileges.set_id_programs,
            filter: filter(privileges)?,
        })
    }

    /// The capabilities that are dropped.
    pub fn dropped(&self) -> impl Iterator<Item = Capability> {
        self.dropped.iter().copied()
    }

    /// Drops capabilities from the bounding set of this thread, and empties what it would pass on.
    ///
    /// # Errors
    /// Those of prctl(2) and capset(2).
    pub fn drop_capabilities(&self) -> Result<(), Errno> {
        for one in &self.dropped {
            own::drop_from_bounding(*one)?;
        }
        own::plain_secure_bits()?;
        own::inherit(Capabilities::NONE)?;
        rustix::thread::clear_ambient_capability_set()
    }

    /// Forbids new privileges and loads the filter, as root.
    ///
    /// # Errors
    /// Those of prctl(2) and seccomp(2).
    pub fn restrict_calls(&self) -> Result<(), Errno> {
        if !self.set_id_programs {
            rustix::thread::set_no_new_privs(true)?;
        }
        own::load(&self.filter)
    }

    /// Calls `change`, which changes the user, and gives the ambient capabilities to it.
    ///
    /// # Errors
    /// Those of `change`, prctl(2) and capset(2).
    pub fn changing_user(&self, change: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        if self.ambient.is_empty() {
            return change();
        }
        rustix::thread::set_keep_capabilities(true)?;
        change()?;
        own::give(self.ambient)
    }
}

/// The highest number of a capability that this kernel knows: it refuses others.
fn last_capability() -> u32 {
    static LAST: OnceLock<u32> = OnceLock::new();
    *LAST.get_or_init(|| {
        let known = (0..64).take_while(|number| raw::knows_capability(*number));
        known.last().unwrap_or_default()
    })
}

/// A filter, with what it is made from.
type Made = ((Preset, bool), Arc<[libc::sock_filter]>);

/// The filter of these privileges. Each is made once.
fn filter(privileges: &Privileges) -> Result<Arc<[libc::sock_filter]>, Failure> {
    static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());
    let key = (privileges.system_calls, privileges.log_system_calls);
    // No code panics while the lock is held.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, filter)) = made.iter().find(|(of, _)| *of == key) {
        return Ok(Arc::clone(filter));
    }
    let new = new_filter(privileges)?;
    let filter: Arc<[_]> = for_child(|| new.into());
    made.push((key, Arc::clone(&filter)));
    Ok(filter)
}

fn new_filter(privileges: &Privileges) -> Result<Vec<libc::sock_filter>, Failure> {
    let Privileges {
        system_calls: preset,
        log_system_calls: log,
        ..
    } = *privileges;
    if preset == Preset::None {
        return Ok(Vec::new());
    }
    let architecture = Architecture::own().ok_or_else(|| {
        let why = "there is none for this architecture: set `wall.system_calls = \"none\"`";
        Failure::detail(Stage::SystemCalls, "", why)
    })?;
    let program = system_calls::program(preset, log, architecture);
    let as_kernel = |Instruction { code, yes, no, k }| libc::sock_filter {
        code,
        jt: yes,
        jf: no,
        k,
    };
    Ok(program.into_iter().map(as_kernel).collect())
}
