//! The last line of a tenant's output, while it is asked for: of a command that fails, it is often
//! the reason.

mod recent;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use crate::logs::{Batch, Logs, Mark, Stream};
use recent::Recent;
use tenantd_core::name::TenantName;

/// The longest line that is kept, in characters.
const LENGTH_MAX: usize = 300;

/// How long the end of a command waits for its last line.
const LAST_LINE_WITHIN: Duration = Duration::from_secs(1);

/// The last lines of the tenants that are listened to, and those for the history.
#[derive(Debug, Default)]
pub(super) struct LastLines {
    listened: BTreeMap<TenantName, Last>,
    recent: Recent,
}

#[derive(Debug, Default)]
struct Last {
    stdout: String,
    stderr: String,
}

impl LastLines {
    /// Keeps the last line of a tenant from now on.
    pub(super) fn listen(&mut self, tenant: &TenantName) {
        self.listened.insert(tenant.clone(), Last::default());
    }

    /// The last line that is not empty, of standard error if there is one. Nothing is kept any more.
    pub(super) fn end(&mut self, tenant: &TenantName) -> String {
        let Last { stdout, stderr } = self.listened.remove(tenant).unwrap_or_default();
        match stderr.is_empty() {
            true => stdout,
            false => stderr,
        }
    }

    /// A mark is written, after the lines before it were read: that of an end with its number.
    pub(super) fn on_mark(&mut self, tenant: &TenantName, mark: (&Mark, u64)) {
        self.recent.on_mark(tenant, mark);
    }

    /// Lines that were read.
    pub(super) fn see(&mut self, batch: &Batch) {
        self.recent.see(batch);
        let Some(last) = self.listened.get_mut(&batch.tenant) else {
            return;
        };
        let kept = match batch.stream {
            Stream::Stdout => &mut last.stdout,
            Stream::Stderr => &mut last.stderr,
            Stream::Mark | Stream::Syslog | Stream::File => return,
        };
        let line = batch
            .lines
            .iter()
            .rfind(|line| !line.text.trim().is_empty());
        if let Some(line) = line {
            *kept = printable(&line.text);
        }
    }
}

impl Logs {
    /// Keeps the last line of a tenant from now on.
    pub(crate) fn listen(&self, tenant: &TenantName) {
        self.reader.last.borrow_mut().listen(tenant);
    }

    /// The last line of a tenant since [`Logs::listen`], once what it wrote before the present marks
    /// has been read. Empty if there is none, or if writing its output takes too long.
    pub(crate) async fn last_line(&self, tenant: &TenantName) -> String {
        let written = async {
            let mut sink = self.reader.sink.lock().await;
            self.reader.write_marks(&mut sink).await;
        };
        // What is missing then is only a part of a reason.
        let _in_time = timeout(LAST_LINE_WITHIN, written).await;
        self.reader.last.borrow_mut().end(tenant)
    }
}

/// A command may write anything, and this is shown on terminals.
fn printable(line: &str) -> String {
    let mut shown = String::new();
    for letter in line.trim().chars().take(LENGTH_MAX) {
        match letter.is_control() {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Line;
    use crate::logs::split::Extent;

    #[test]
    fn the_last_line_of_standard_error_is_kept() {
        let tenant: TenantName = "acme".parse().unwrap();
        let mut last = LastLines::default();
        let batch = |stream, texts: &[&str]| Batch {
            tenant: tenant.clone(),
            stream,
            lines: texts
                .iter()
                .map(|text| Line {
                    text: (*text).to_owned(),
                    extent: Extent::Whole,
                    origin: None,
                })
                .collect(),
        };
        last.see(&batch(Stream::Stderr, &["nobody listens"]));
        last.listen(&tenant);
        last.see(&batch(Stream::Stdout, &["step 1", "step 2", ""]));
        assert_eq!(last.end(&tenant), "step 2");
        last.listen(&tenant);
        last.see(&batch(Stream::Stderr, &["no \x1b[2Jdisk", "  "]));
        last.see(&batch(Stream::Stdout, &["bye"]));
        assert_eq!(last.end(&tenant), "no \\u{1b}[2Jdisk");
        assert_eq!(last.end(&tenant), "");
    }
}
