//! Crash points: named moments at which a test has this process killed, as an accident could kill
//! it there.
//!
//! The variable `TENANTD_CRASH_AT` arms one of them: `POINT`, `POINT@TENANT` for a single tenant,
//! `POINT#2` for the second time that it is passed. A program that is executed over another has
//! the variable from it and counts from the beginning. Only builds with debug assertions have them;
//! in a release a point is nothing. `tests/whole/crash` knows every point and shows that the next
//! supervisor gets on from each.

#[cfg(debug_assertions)]
pub use armed::point;

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str, _of: &(impl AsRef<std::path::Path> + ?Sized)) {}

#[cfg(debug_assertions)]
mod armed {
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static ARMED: LazyLock<Option<Armed>> =
        LazyLock::new(|| Some(Armed::read(&std::env::var("TENANTD_CRASH_AT").ok()?)));

    /// The point at which this process is to die.
    #[derive(Debug)]
    struct Armed {
        name: String,
        /// The last part of what it is passed for; of anything, if there is none.
        tenant: Option<String>,
        /// How often it is still to be passed, this time included.
        left: AtomicU32,
    }

    /// Kills this process if this is the point that is armed. `of` names the tenant that it is
    /// passed for, as its last part, or nobody.
    pub fn point(name: &'static str, of: &(impl AsRef<Path> + ?Sized)) {
        if let Some(armed) = &*ARMED
            && armed.strikes(name, of.as_ref())
        {
            eprintln!("crash point: {name}");
            // No other can be hit: it is this process itself.
            let _dying = kill_process(getpid(), Signal::KILL);
            // The end may take a moment to reach this thread.
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
        fn only_what_is_armed_strikes_and_only_at_its_time() {
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
