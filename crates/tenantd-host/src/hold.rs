//! The process that holds a tenant's namespaces for a command of `exec --offline`: this program, executed
//! as the tenant's would be. It does nothing but wait for the end of the client, also while no supervisor
//! runs, and ends with it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use tenantd_core::plan::model::LaunchPlan;

use crate::process::start_ticks;
use crate::sealed::ITSELF;

/// The variable with the process number of the client, and when that process started.
const CLIENT: &str = "TENANTD_OFFLINE_CLIENT";

/// The plan of a launch that holds what the program would have, until this client ends. A sealed
/// copy of the file is executed, whatever the tenant sees of the host, and also if a package has replaced it.
#[must_use]
pub fn instead_of(launch: &LaunchPlan, client: u32) -> LaunchPlan {
    let pid = i32::try_from(client).unwrap_or_default();
    let started = start_ticks(pid).unwrap_or_default();
    LaunchPlan {
        program: PathBuf::from(ITSELF),
        argv: vec!["tenantd".to_owned(), format!("exec --offline of {client}")],
        environment: Arc::new(BTreeMap::from([(
            CLIENT.to_owned(),
            format!("{client} {started}"),
        )])),
        ..launch.clone()
    }
}

/// In that process: waits for the end of the client or a signal, and then returns true. False in any other
/// process.
///
/// # Errors
/// Those of pidfd_open(2), signalfd(2) and poll(2).
pub fn asked() -> io::Result<bool> {
    let Some(client) = std::env::var(CLIENT).ok() else {
        return Ok(false);
    };
    let mut numbers = client.split(' ').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(started))) = (numbers.next(), numbers.next()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    wait(i32::try_from(pid).unwrap_or_default(), started)?;
    Ok(true)
}

fn wait(pid: i32, started: u64) -> io::Result<()> {
    let all = SigSet::all();
    all.thread_block()?;
    let signals = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC)?;
    let Some(number) = Pid::from_raw(pid) else {
        return Ok(());
    };
    let client = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(client) => client,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    // The tenant may not see the client in /proc. If it does, the number may have a new owner.
    if start_ticks(pid).is_some_and(|now| now != started) {
        return Ok(());
    }
    loop {
        let mut either = [
            PollFd::new(&client, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        match poll(&mut either, None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
