//! Who has the tenants' pipes open: the log collector, so that a tenant needs no descriptor of the supervisor
//! for its output.
//!
//! epoll(7) watches an open file description until its last descriptor is closed, in whatever process. So the
//! supervisor opens and watches a pipe, passes the descriptor to the log collector, and closes its own. It is
//! notified as before, and opens the pipe by its name for each read. If the collector ends, so do the watches:
//! the supervisor opens and watches all pipes again, for the next collector.
//!
//! The collector survives the supervisor, and with it what is in the pipes.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::{Pair, Pipe, Pipes, keys};
use crate::logs::{LogReader, Logs, Stream};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::fifo;

/// How many pipes a tenant has. The log collector holds both or none.
pub(crate) const BOTH: usize = 2;

/// The ends of the tenants' pipes, for the client of the log collector.
#[derive(Clone)]
pub(crate) struct Ends(pub(in crate::logs) Rc<LogReader>);

/// Descriptors of a tenant's pipes that this process holds too.
#[derive(Debug)]
pub(crate) struct Held {
    number: u64,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Logs {
    /// The ends of the tenants' pipes.
    pub(crate) fn ends(&self) -> Ends {
        Ends(Rc::clone(&self.reader))
    }
}

impl Ends {
    /// Copies of the descriptors of a tenant's pipes. None if this process does not hold both.
    ///
    /// # Errors
    /// What fcntl(2) reports.
    pub(crate) fn held(&self, tenant: &TenantName) -> io::Result<Option<Held>> {
        self.0.pipes.borrow().held(tenant)
    }

    /// Whether this process holds both pipes of a tenant.
    pub(crate) fn has_both(&self, tenant: &TenantName) -> bool {
        let pipes = self.0.pipes.borrow();
        pipes.each(tenant).filter(|pipe| pipe.fd.is_some()).count() == BOTH
    }

    /// Whether this process does not hold a pipe of a tenant that it reads.
    pub(crate) fn lacks(&self, tenant: &TenantName) -> bool {
        let pipes = self.0.pipes.borrow();
        pipes.each(tenant).any(|pipe| pipe.fd.is_none())
    }

    /// The log collector has these: this process closes its own.
    pub(crate) fn handed(&self, held: &Held) {
        self.0.pipes.borrow_mut().handed(held);
    }

    /// Opens the pipes of a tenant that the collector held, without a watch, so that nothing in them is
    /// lost when the collector closes them.
    ///
    /// # Errors
    /// What open(2) reports.
    pub(crate) fn take_back(&self, tenant: &TenantName) -> io::Result<()> {
        self.0.pipes.borrow_mut().reopen(tenant, |_, _| Ok(()))
    }

    /// Opens and watches the pipes of a tenant that the collector held: it has ended, or will.
    ///
    /// # Errors
    /// What open(2) or epoll_ctl(2) reports.
    pub(crate) fn watch_again(&self, tenant: &TenantName) -> io::Result<()> {
        let reader = &self.0;
        let watch = |fd: &OwnedFd, key| reader.watch(fd, key);
        reader.pipes.borrow_mut().reopen(tenant, watch)
    }
}

impl Pipe {
    /// A descriptor of the pipe, for one read.
    pub(super) fn descriptor(
        &self,
        (app, tenant): (&AppName, &TenantName),
        stream: Stream,
    ) -> io::Result<OwnedFd> {
        match &self.fd {
            Some(fd) => fd.try_clone(),
            None => fifo::open_read_end(app, tenant, &stream.to_string()),
        }
    }
}

impl Pipes {
    /// Another descriptor of each pipe that the log collector does not hold.
    pub(in crate::logs) fn copy(&self) -> io::Result<Vec<(TenantName, Stream, OwnedFd)>> {
        let mut copies = Vec::with_capacity(2 * self.open.len());
        for pair in self.open.values() {
            for (stream, pipe) in [Stream::Stdout, Stream::Stderr]
                .into_iter()
                .zip(&pair.pipes)
            {
                if let Some(fd) = pipe.as_ref().and_then(|pipe| pipe.fd.as_ref()) {
                    copies.push((pair.tenant.clone(), stream, fd.try_clone()?));
                }
            }
        }
        Ok(copies)
    }

    /// The descriptor of a pipe that was taken out. If it is open, none is needed in addition.
    pub(in crate::logs) fn descriptor(
        &self,
        tenant: &TenantName,
        stream: Stream,
        pipe: Pipe,
    ) -> io::Result<OwnedFd> {
        match pipe.fd {
            Some(fd) => Ok(fd),
            None => pipe.descriptor((&self.app, tenant), stream),
        }
    }

    fn held(&self, tenant: &TenantName) -> io::Result<Option<Held>> {
        let number = self.of.get(tenant).copied();
        let Some((number, pair)) = number.and_then(|it| Some((it, self.open.get(&it)?))) else {
            return Ok(None);
        };
        let open = pair
            .pipes
            .iter()
            .flatten()
            .filter_map(|pipe| pipe.fd.as_ref());
        let fds: Vec<OwnedFd> = open.map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        Ok((fds.len() == BOTH).then_some(Held { number, fds }))
    }

    /// The pipes of a tenant that are read.
    fn each(&self, tenant: &TenantName) -> impl Iterator<Item = &Pipe> {
        let pair = self.of.get(tenant).and_then(|it| self.open.get(it));
        pair.into_iter()
            .flat_map(|pair| pair.pipes.iter().flatten())
    }

    fn handed(&mut self, held: &Held) {
        // Others, if the tenant was provisioned again meanwhile, are not closed.
        if let Some(pair) = self.open.get_mut(&held.number) {
            for pipe in pair.pipes.iter_mut().flatten() {
                pipe.fd = None;
            }
        }
    }

    fn reopen(
        &mut self,
        tenant: &TenantName,
        watch: impl Fn(&OwnedFd, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(&number) = self.of.get(tenant) else {
            return Ok(());
        };
        let Some(Pair { pipes, .. }) = self.open.get_mut(&number) else {
            return Ok(());
        };
        let streams = [Stream::Stdout, Stream::Stderr];
        for ((pipe, stream), key) in pipes.iter_mut().zip(streams).zip(keys(number)) {
            let Some(pipe) = pipe.as_mut().filter(|pipe| pipe.fd.is_none()) else {
                continue;
            };
            let fd = fifo::open_read_end(&self.app, tenant, &stream.to_string())?;
            watch(&fd, key)?;
            pipe.fd = Some(fd);
        }
        Ok(())
    }
}
