//! What is left in the pipes of a program that has ended.

use std::io;
use std::os::fd::OwnedFd;

use super::{Pipes, Taken, keys, pipe, stream};
use crate::logs::mark::Rest;
use crate::logs::{Batch, Line, split};
use tenantd_core::name::TenantName;
use tenantd_host::want;

impl Pipes {
    /// Reads lines of a tenant's pipes, whether they are ready or not: first those of standard
    /// output. None if there are no more.
    pub(in crate::logs) fn take_rest(
        &mut self,
        tenant: &TenantName,
        rest: Rest,
    ) -> Option<(Batch, Taken)> {
        let number = *self.of.get(tenant)?;
        for key in keys(number) {
            let Some(pipe) = pipe(&mut self.open, key) else {
                continue;
            };
            let mut lines = Vec::new();
            let opened = pipe.descriptor((&self.app, tenant), stream(key));
            let taken = opened.and_then(|fd| {
                let bytes = self.scratch.copy(&fd)?;
                let used = match (split::whole_lines(bytes, &mut lines), rest) {
                    (0, Rest::All) if !bytes.is_empty() => split::end(bytes, &mut lines),
                    (used, _) => used,
                };
                let lines = lines.len();
                Ok(Taken {
                    key,
                    used,
                    lines,
                    fd,
                })
            });
            match taken {
                Ok(Taken { used: 0, .. }) => {}
                Ok(taken) => return Some((self.batch(key, lines)?, taken)),
                // It is read later.
                Err(error) if want::error_passes(&error) => {}
                Err(error) => self.give_up(key, &error),
            }
        }
        None
    }

    /// Consumes what [`Pipes::take_rest`] read. The pipe stays ready or not. Returns the number of
    /// bytes.
    pub(in crate::logs) fn consume_rest(&mut self, taken: &Taken) -> usize {
        if let Err(error) = self.scratch.consume(&taken.fd, taken.used) {
            self.give_up(taken.key, &error);
        }
        taken.used
    }

    /// Reads the next lines of a pipe without a writer, and at the end an incomplete line.
    pub(in crate::logs) fn drain(
        &mut self,
        pipe: &OwnedFd,
        lines: &mut Vec<Line>,
    ) -> io::Result<usize> {
        let bytes = self.scratch.copy(pipe)?;
        match split::whole_lines(bytes, lines) {
            0 => Ok(split::end(bytes, lines)),
            used => Ok(used),
        }
    }

    /// Consumes what was drained.
    pub(in crate::logs) fn drained(&mut self, pipe: &OwnedFd, used: usize) -> io::Result<()> {
        self.scratch.consume(pipe, used)
    }
}
