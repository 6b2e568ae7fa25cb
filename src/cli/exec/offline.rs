//! `exec --offline`: the command runs while the tenant is down or has failed.
//!
//! The supervisor launches a process that has what the program would have, and that ends with this one. The
//! command joins it as it would join the program.

use std::ffi::OsString;
use std::io;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use tenantd_api::client::ClientError;
use tenantd_api::client::watch::{Subscription, Watched};
use tenantd_api::wire::watch::EventKind;
use tenantd_api::wire::{ExecTarget, StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::process::start_ticks;

/// How many characters of a command others see, in messages and in the state of the tenant.
const SHOWN: usize = 80;

/// A command, for messages.
pub(super) fn text(command: &[OsString]) -> String {
    let words = command.iter().map(|word| word.to_string_lossy());
    let text = words.collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|it| !it.is_control()).collect();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// What the supervisor has launched for the command.
pub(super) struct Held {
    app: AppName,
    tenant: TenantName,
    pid: u32,
    start_ticks: u64,
}

impl Held {
    pub(super) fn new(app: &AppName, tenant: &TenantName, target: &ExecTarget) -> Self {
        Self {
            app: app.clone(),
            tenant: tenant.clone(),
            pid: target.pid,
            start_ticks: target.start_ticks,
        }
    }

    /// Ends it, and waits until the tenant is as it was before. The next supervisor ends it if none runs.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub(super) fn release(self) -> anyhow::Result<()> {
        self.end().context("cannot end what was launched for it")?;
        let waited = super::super::converse(async { Ok(self.over().await) })?;
        match waited {
            Ok(()) => Ok(()),
            Err(error) => {
                // The command has run, and its exit code is what counts.
                let (tenant, app) = (&self.tenant, &self.app);
                anstream::eprintln!(
                    "tenantd: {tenant}: cannot see whether it is as before: {error}: see `tenantd status \
                     --app {app}`"
                );
                Ok(())
            }
        }
    }

    fn end(&self) -> io::Result<()> {
        let number = i32::try_from(self.pid).unwrap_or_default();
        let Some(pid) = Pid::from_raw(number) else {
            return Ok(());
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if start_ticks(number) != Some(self.start_ticks) {
            return Ok(());
        }
        match pidfd_send_signal(&pidfd, Signal::TERM) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the launch is over.
    async fn over(&self) -> Result<(), ClientError> {
        let mut watch = Subscription::open(&self.app, std::slice::from_ref(&self.tenant)).await?;
        loop {
            let tenant = match watch.next().await? {
                Watched::Snapshot(snapshot) => snapshot.tenants.into_iter().next(),
                Watched::Event(event) => match event.kind {
                    EventKind::Removed => None,
                    _ => event.status,
                },
                // Not asked for.
                Watched::Request(_) => continue,
            };
            if tenant.is_none_or(|tenant| is_over(&tenant)) {
                return Ok(());
            }
        }
    }
}

/// Whether nothing is left of the launch for a command.
fn is_over(tenant: &TenantStatus) -> bool {
    let ends = [StateWord::Stopping, StateWord::Releasing];
    tenant.offline.is_none() && !ends.contains(&tenant.state)
}
