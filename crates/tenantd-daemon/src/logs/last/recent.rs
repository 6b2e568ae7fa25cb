//! The last lines of each tenant's output, for the history: what a program says before it ends is often the
//! reason. They are kept only while a meter reads the history.

use std::collections::{BTreeMap, VecDeque};

use crate::history;
use crate::logs::split::Extent;
use crate::logs::{Batch, Mark, Stream};
use tenantd_api::history::Entry;
use tenantd_core::name::TenantName;

/// How many lines are kept of a tenant: with their bounds, less than 500 bytes of the usual text.
const LINES_MAX: usize = 3;

/// The last lines since each launch.
#[derive(Debug, Default)]
pub(super) struct Recent(BTreeMap<TenantName, Last>);

#[derive(Debug, Default)]
struct Last {
    /// The newest first.
    lines: VecDeque<String>,
    /// Whether the next piece of standard output, and of standard error, belongs to a line that is there.
    is_inside: [bool; 2],
}

impl Recent {
    /// Lines that were read.
    pub(super) fn see(&mut self, batch: &Batch) {
        let which = match batch.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Mark | Stream::Syslog | Stream::File => return,
        };
        if !history::is_kept() {
            return;
        }
        let last = self.0.entry(batch.tenant.clone()).or_default();
        for line in &batch.lines {
            if !last.is_inside[which] && !line.text.trim().is_empty() {
                last.lines.truncate(LINES_MAX - 1);
                last.lines.push_front(Entry::line(&line.text));
            }
            last.is_inside[which] = line.extent == Extent::Continues;
        }
    }

    /// A mark is written, after the lines before it were read: that of an end with its number.
    pub(super) fn on_mark(&mut self, tenant: &TenantName, (mark, end): (&Mark, u64)) {
        if mark.is_end() {
            let last = self.0.remove(tenant).unwrap_or_default();
            history::output(tenant, end, last.lines.into_iter().rev().collect());
        } else if mark.lines_before().is_none() {
            self.0.remove(tenant);
        }
    }
}
