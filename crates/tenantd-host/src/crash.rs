//! Crash points: named places in the code at which a test can kill the process.
//!
//! The variable `TENANTD_CRASH_AT` arms one point: `POINT`, `POINT@TENANT` for a single tenant,
//! `POINT#2` for the second time that it is reached. A program that is executed in the same process
//! inherits the variable and counts from the beginning. Processes die only in builds with debug
//! assertions; in all builds each point is a mark of the [`timeline`](crate::timeline). `tests/whole/crash` lists all of them and shows that the next supervisor
//! recovers from each.

#[cfg(debug_assertions)]
pub use armed::point;

/// A mark of the [`timeline`](crate::timeline), and nothing else in a build without debug assertions.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(name: &'static str, of: &(impl AsRef<std::path::Path> + ?Sized)) {
    crate::timeline::mark(name, of);
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static ARMED: LazyLock<Option<Armed>> =
        LazyLock::new(|| Some(Armed::read(&std::env::var("TENANTD_CRASH_AT").ok()?)));

    /// The armed crash point.
    #[derive(Debug)]
    struct Armed {
        name: String,
        /// Only for objects whose path ends with this; `None` for all.
        tenant: Option<String>,
        /// How often it must still be reached, including the last time.
        left: AtomicU32,
    }

    /// Kills this process if this point is armed. The last part of `of` is the name of the tenant,
    /// or `of` is empty. It is also a mark of the [`timeline`](crate::timeline).
    pub fn point(name: &'static str, of: &(impl AsRef<Path> + ?Sized)) {
        crate::timeline::mark(name, of);
        if let Some(armed) = &*ARMED
            && armed.strikes(name, of.as_ref())
        {
            eprintln!("crash point: {name}");
            // Cannot fail: a process may signal itself.
            let _dying = kill_process(getpid(), Signal::KILL);
            // The signal may reach this thread a moment later.
            loop {
                std::thread::park();
            }
        }
    }

    impl Armed {
        fn read(text: &str) -> Self {
            let (rest, times) = match text.split_once('#') {
                Some((rest, times)) => (rest, times.parse().ok()),
                None => (text, None),
            };
            let (name, tenant) = match rest.split_once('@') {
                Some((name, tenant)) => (name, Some(tenant.to_owned())),
                None => (rest, None),
            };
            Self {
                name: name.to_owned(),
                tenant,
                left: AtomicU32::new(times.unwrap_or(1)),
            }
        }

        fn strikes(&self, name: &str, of: &Path) -> bool {
            name == self.name
                && self
                    .tenant
                    .as_ref()
                    .is_none_or(|tenant| of.ends_with(tenant))
                && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_the_armed_crash_point_ends_the_process() {
            let armed = Armed::read("link: made@acme#2");
            let strikes = |name, of| armed.strikes(name, Path::new(of));
            assert!(!strikes("link: made", "tenantd:wiki/globex"));
            assert!(!strikes("link: gone", "tenantd:wiki/acme"));
            assert!(!strikes("link: made", "tenantd:wiki/acme"));
            assert!(strikes("link: made", "acme"));
            assert!(!strikes("link: made", "acme"));
            assert!(Armed::read("hub made").strikes("hub made", Path::new("")));
        }
    }
}
