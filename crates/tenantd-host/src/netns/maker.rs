//! The thread that makes the network namespaces of an application's tenants, one after the other. It is in the host's
//! namespace, except while it makes one. If it cannot return, it makes none before it can.
//!
//! It stays, since a thread costs as much as a fifth of a namespace, and a new one's folder in `/proc` once more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use tokio::sync::oneshot;

use super::{Netns, OWN, Sysctls, failure, go_back, make_from};
use crate::launch::memory::keep_stack_from_children;
use tenantd_core::stage::Failure;
use tenantd_core::sysctl::Sysctl;

/// The name of the thread.
const THREAD: &str = "netns";

/// What the thread has.
struct Workshop {
    /// The host's namespace, while the thread is in another one.
    away_from: Option<File>,
    sysctls: Sysctls,
}

type Work = Box<dyn FnOnce(&mut Workshop) + Send>;

/// A handle to the thread, which ends with it.
#[derive(Debug)]
pub(crate) struct Maker(Sender<Work>);

impl Maker {
    /// Starts the thread in the network namespace of the caller, the host's.
    ///
    /// # Errors
    /// Those of pthread_create(3).
    pub(crate) fn start(sysctls: Sysctls) -> io::Result<Self> {
        let (send, work) = mpsc::channel();
        let builder = thread::Builder::new().name(THREAD.to_owned());
        builder.spawn(move || {
            keep_stack_from_children();
            let away_from = None;
            serve(&work, Workshop { away_from, sysctls });
        })?;
        Ok(Self(send))
    }

    /// Makes a namespace with the host's settings of the kernel and those of the tenant, and calls `inside` in it. `inside`
    /// must not leave anything open in the namespace except in its result.
    ///
    /// # Errors
    /// A [`Failure`] of stage netns, or that of `inside`.
    pub(crate) async fn make<T: Send + 'static>(
        &self,
        own: &Arc<BTreeMap<Sysctl, String>>,
        inside: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<(Netns, T), Failure> {
        let own = Arc::clone(own);
        let (reply, made) = oneshot::channel();
        let work = move |workshop: &mut Workshop| {
            // A caller that does not wait any longer needs none.
            let _gone = reply.send(workshop.make(&own, inside));
        };
        self.0.send(Box::new(work)).map_err(|_| ended())?;
        made.await.map_err(|_| ended())?
    }
}

fn ended() -> Failure {
    failure(
        "",
        &io::Error::other(format!("the thread {THREAD} has ended")),
    )
}

impl Workshop {
    fn make<T>(
        &mut self,
        own: &BTreeMap<Sysctl, String>,
        inside: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(Netns, T), Failure> {
        let home = self.home()?;
        let (made, back) = make_from(&home, &mut self.sysctls, own, inside);
        // The kernel may just have had no memory. The new namespace is as it should be in any case.
        let back = back.or_else(|_| go_back(&home));
        if back.is_err() {
            self.away_from = Some(home);
        }
        back.and(made)
    }

    /// The host's namespace, in which the thread is then.
    fn home(&mut self) -> Result<File, Failure> {
        let Some(home) = self.away_from.take() else {
            return File::open(OWN).map_err(|error| failure(OWN, &error));
        };
        match go_back(&home) {
            Ok(()) => Ok(home),
            Err(why) => {
                self.away_from = Some(home);
                Err(why)
            }
        }
    }
}

/// The main function of the thread: works until no caller is left.
fn serve(queue: &Receiver<Work>, mut workshop: Workshop) {
    while let Ok(work) = queue.recv() {
        work(&mut workshop);
    }
}

#[cfg(test)]
mod as_root {
    use std::collections::BTreeSet;
    use std::os::unix::fs::MetadataExt;

    use nix::sched::{CloneFlags, unshare};
    use rustix::io::Errno;

    use super::*;

    /// The namespace of the calling thread.
    fn here() -> Result<u64, Failure> {
        let own = std::fs::metadata(OWN).map_err(|error| failure(OWN, &error))?;
        Ok(own.ino())
    }

    #[test]
    fn the_thread_is_in_each_namespace_and_home_in_between() {
        let home = here().unwrap();
        let maker = Maker::start(Sysctls::default()).unwrap();
        let own = Arc::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let seen = runtime.unwrap().block_on(async {
            let (first, inside) = maker.make(&own, here).await.unwrap();
            assert_eq!(inside, first.inode());
            let refused = maker.make(&own, || Err::<(), _>(failure("", &Errno::NOSPC.into())));
            assert_eq!(refused.await.unwrap_err().errno, libc::ENOSPC);
            // While it makes none.
            let (reply, home) = oneshot::channel();
            let look = move |it: &mut Workshop| {
                let _told = reply.send((here().unwrap(), it.away_from.is_some()));
            };
            maker.0.send(Box::new(look)).unwrap();
            let (second, _) = maker.make(&own, here).await.unwrap();
            let (home, is_away) = home.await.unwrap();
            assert!(!is_away);
            BTreeSet::from([first.inode(), second.inode(), home])
        });
        assert_eq!(seen.len(), 3);
        assert!(seen.contains(&home));
        assert_eq!(here().unwrap(), home);
    }

    #[test]
    fn a_thread_that_could_not_return_does_so_before_it_makes_the_next() {
        let home = File::open(OWN).unwrap();
        let at_home = here().unwrap();
        let not_one = File::open("/").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                let mut workshop = Workshop {
                    away_from: Some(not_one),
                    sysctls: Sysctls::default(),
                };
                let own = BTreeMap::new();
                let is_made = || panic!("a namespace is made away from home");
                assert!(workshop.make(&own, is_made).map(|(_, ())| ()).is_err());
                assert!(workshop.away_from.is_some());
                workshop.away_from = Some(home);
                let (second, inside) = workshop.make(&own, here).unwrap();
                assert_eq!(second.inode(), inside);
                assert_eq!(here().unwrap(), at_home);
                assert!(workshop.away_from.is_none());
            });
        });
    }
}
