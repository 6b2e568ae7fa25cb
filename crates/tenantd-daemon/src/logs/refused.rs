//! Finds lines that say that a write was refused because the file system is read-only.
//!
//! There is no report of the kernel with a path, so this looks for the text of the error (strerror(3) in
//! English, its name, or its number together with a path). What programs write in other languages is not
//! found. Per launch at most [`MOST`] lines with different paths are reported; after that a tenant's
//! lines are not searched any more.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::logs::split::shown;
use crate::logs::{Batch, Stream};
use tenantd_core::name::TenantName;

/// How many lines of a launch are reported.
const MOST: usize = 8;

/// How many lines may wait for the loop. More are not reported.
const WAITING_MAX: usize = 64;

/// How many characters of a line or a path are reported.
const SHOWN_MAX: usize = 300;

/// A line that says so.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) tenant: TenantName,
    /// The path in it, in a form that is safe on a terminal.
    pub(crate) path: Option<String>,
    /// The line, in the same form.
    pub(crate) line: String,
}

/// The search in the lines of all tenants.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// None if nobody wants to know.
    found: RefCell<Option<mpsc::Sender<Refused>>>,
    /// What was reported of each tenant's launch.
    seen: RefCell<BTreeMap<TenantName, Vec<Option<String>>>>,
}

impl Search {
    /// The lines that are found from now on.
    pub(super) fn begin(&self) -> mpsc::Receiver<Refused> {
        let (found, refused) = mpsc::channel(WAITING_MAX);
        self.found.replace(Some(found));
        refused
    }

    /// A new launch of a tenant begins.
    pub(super) fn launched(&self, tenant: &TenantName) {
        self.seen.borrow_mut().remove(tenant);
    }

    /// Reports the lines of these batches that say that a write was refused.
    pub(super) fn search(&self, batches: &[Batch]) {
        let found = self.found.borrow();
        let Some(found) = &*found else {
            return;
        };
        for batch in batches.iter().filter(|batch| batch.stream != Stream::Mark) {
            for line in &batch.lines {
                if let Some(path) = find(&line.text)
                    && self.is_new(&batch.tenant, path)
                {
                    let cut = |text: &str| shown(text).chars().take(SHOWN_MAX).collect();
                    // If the loop does not keep up, others of this launch have been reported.
                    let _full = found.try_send(Refused {
                        tenant: batch.tenant.clone(),
                        path: path.map(cut),
                        line: cut(&line.text),
                    });
                }
            }
        }
    }

    fn is_new(&self, tenant: &TenantName, path: Option<&str>) -> bool {
        let mut seen = self.seen.borrow_mut();
        let seen = seen.entry(tenant.clone()).or_default();
        if seen.len() >= MOST || seen.iter().any(|it| it.as_deref() == path) {
            return false;
        }
        seen.push(path.map(str::to_owned));
        true
    }
}

/// Whether a line says so, and the path in it.
fn find(line: &str) -> Option<Option<&str>> {
    let text = line.as_bytes();
    let at = |needle: &str| memchr::memmem::find(text, needle.as_bytes());
    // Each with whether it counts only together with a path.
    let found = at("ead-only file system").map(|at| (at, false));
    let found = found.or_else(|| word(text, "EROFS").map(|at| (at, false)));
    let found = found.or_else(|| word(text, "rrno 30").map(|at| (at, true)));
    let found = found.or_else(|| word(text, "rror 30").map(|at| (at, true)));
    let (at, needs_path) = found?;
    let path = path(line, at);
    (path.is_some() || !needs_path).then_some(path)
}

/// Where a line has this text with nothing after it that continues the word.
fn word(text: &[u8], needle: &str) -> Option<usize> {
    let mut all = memchr::memmem::find_iter(text, needle.as_bytes());
    all.find(|at| {
        let after = text.get(at + needle.len());
        after.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
    })
}

/// The last absolute path before the error's text, or else the first one after it.
fn path(line: &str, at: usize) -> Option<&str> {
    let is_before = |path: &&str| path.as_ptr() as usize - line.as_ptr() as usize <= at;
    let (before, after): (Vec<&str>, Vec<&str>) = paths(line).partition(is_before);
    before.into_iter().next_back().or(after.into_iter().next())
}

/// All absolute paths of a line.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let opens = |c: char| c.is_whitespace() || "\"'`([<=\u{2018}\u{201c}".contains(c);
    let starts = line.match_indices('/').filter_map(move |(at, _)| {
        let is_start = line[..at].chars().next_back().is_none_or(opens);
        is_start.then(|| &line[at..])
    });
    starts.filter_map(|rest| {
        let closes = |c: char| c.is_whitespace() || "\"'`)]>,;\u{2019}\u{201d}".contains(c);
        let path = rest.split(closes).next()?;
        let path = path.trim_end_matches([':', '.']);
        (path.len() > 1 && !path.starts_with("//")).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Line;
    use crate::logs::split::Extent;

    #[test]
    fn the_path_is_found_in_what_programs_write() {
        for (line, path) in [
            (
                "2026/11/27 [alert] 7#7: open() \"/var/log/nginx/error.log\" failed (30: Read-only file \
                 system)",
                "/var/log/nginx/error.log",
            ),
            (
                "FATAL:  could not create lock file \"/var/lib/postgresql/15/main/postmaster.pid\": \
                 Read-only file system",
                "/var/lib/postgresql/15/main/postmaster.pid",
            ),
            (
                "(30)Read-only file system: AH00091: apache2: could not open error log file \
                 /var/log/apache2/error.log.",
                "/var/log/apache2/error.log",
            ),
            (
                "java.io.FileNotFoundException: /var/log/tomcat10/x.log (Read-only file system)",
                "/var/log/tomcat10/x.log",
            ),
            (
                "touch: cannot touch '/etc/it': Read-only file system",
                "/etc/it",
            ),
            (
                "OSError: [Errno 30] Read-only file system: '/srv/a b'",
                "/srv/a",
            ),
            (
                "Error: EROFS: read-only file system, open '/opt/app/log'",
                "/opt/app/log",
            ),
            ("/usr/sbin/x: write /var/x: errno 30", "/var/x"),
            ("cannot write /var/y: error 30", "/var/y"),
        ] {
            assert_eq!(find(line), Some(Some(path)), "{line}");
        }
    }

    #[test]
    fn other_lines_are_not_found() {
        for line in [
            "",
            "error 30",
            "error 300 in /var/x",
            "EROFS_MAX /var/x",
            "GET http://example.com/a 200",
            "Permission denied: /etc/x",
        ] {
            assert_eq!(find(line), None, "{line}");
        }
        assert_eq!(find("cannot write: Read-only file system"), Some(None));
        assert_eq!(find("see http://a/b: Read-only file system"), Some(None));
    }

    #[test]
    fn each_path_is_reported_once_per_launch_and_only_some() {
        let search = Search::default();
        let mut found = search.begin();
        let tenant: TenantName = "acme".parse().unwrap();
        let batch = |text: &str| Batch {
            tenant: "acme".parse().unwrap(),
            stream: Stream::Stderr,
            lines: vec![Line::new(text.as_bytes(), Extent::Whole)],
        };
        let lines = |path: &str| batch(&format!("{path}: Read-only file system\x1b"));
        search.search(&[lines("/a"), lines("/a")]);
        let first = found.try_recv().unwrap();
        assert_eq!(first.path.as_deref(), Some("/a"));
        assert_eq!(first.line, "/a: Read-only file system\\x1b");
        assert!(found.try_recv().is_err());
        search.launched(&tenant);
        for number in 0..20 {
            search.search(&[lines(&format!("/{number}"))]);
        }
        assert_eq!(std::iter::from_fn(|| found.try_recv().ok()).count(), MOST);
    }
}
