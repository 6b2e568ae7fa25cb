//! Two versions of the program: each round begins with the older one, is upgraded to the newer one
//! between the faults, and sometimes goes back.

use std::fs;

use nix::sys::signal::Signal;

use crate::chaos::scene::Scene;
use crate::random::Random;
use crate::support::daemon::{PROGRAM, until};
use crate::support::place::install;

/// The variable that names the older program.
pub const FROM: &str = "TENANTD_CHAOS_FROM";

/// The older program, and how often each one took over.
#[derive(Debug, Default)]
pub struct Versions {
    old: Option<String>,
    /// Whether the older program is installed.
    is_old_on_disk: bool,
    /// How often the older program took over from the newer one, in its process and by a start.
    rolled_back: [u32; 2],
    /// How often the older program refused to, and changed nothing.
    refused: [u32; 2],
}

impl Versions {
    /// As the environment variable says.
    pub fn from_environment() -> Self {
        Self {
            old: std::env::var(FROM).ok(),
            ..Self::default()
        }
    }

    /// Installs the first program.
    pub fn begin(&mut self) {
        self.is_old_on_disk = self.old.is_some();
        self.install();
    }

    /// Installs the same program again, as a new file.
    pub fn install(&self) {
        match &self.old {
            Some(old) if self.is_old_on_disk => install(old),
            Some(_) | None => install(PROGRAM),
        }
    }

    fn select(&mut self, old: bool) {
        self.is_old_on_disk = old;
        self.install();
    }

    /// Prints the result at the end.
    pub fn report(&self) {
        if self.old.is_some() {
            let ([upgrade, start], [no_upgrade, no_start]) = (self.rolled_back, self.refused);
            eprintln!("back to the older program by an upgrade: {upgrade}, refused: {no_upgrade}");
            eprintln!("back to the older program by a start: {start}, refused: {no_start}");
        }
    }
}

impl Scene {
    pub fn has_two_versions(&self) -> bool {
        self.versions.old.is_some()
    }

    /// Whether the running supervisor is the older program.
    fn is_old(&self) -> bool {
        let running = format!("/proc/{}/exe", self.daemon.pid());
        let old = self.versions.old.as_ref();
        old.is_some_and(|old| {
            let length = |path: &str| fs::metadata(path).unwrap().len();
            length(old) == length(&running) && fs::read(old).unwrap() == fs::read(running).unwrap()
        })
    }

    /// Begins a round with the older program, which takes over or starts without tenants.
    /// Everything is as wanted then.
    pub fn start_old(&mut self, random: &mut Random) {
        if !self.has_two_versions() {
            return;
        }
        let kind = random.below(3);
        if !self.is_old() {
            match kind {
                0 => self.roll_back_by_upgrade(),
                1 => self.roll_back_by_start(),
                _ => {}
            }
        }
        if !self.is_old() {
            eprintln!("the older program starts without tenants");
            self.signal_supervisor(Signal::SIGTERM);
            self.wait_for_end();
            self.versions.select(true);
        }
        self.settles();
        self.check();
        assert!(self.is_old());
    }

    fn roll_back_by_upgrade(&mut self) {
        eprintln!("back to the older program by an upgrade");
        self.versions.select(true);
        let said = self.tell(&["upgrade"]);
        let went = said.code == 0;
        assert_eq!(went, self.is_old(), "{said:?}: {}", self.daemon.output());
        self.check_rollback(0, went, &said.err);
    }

    fn roll_back_by_start(&mut self) {
        eprintln!("back to the older program by a start");
        self.versions.select(true);
        self.signal_supervisor(Signal::SIGKILL);
        self.start_supervisor();
        let went = until("the older program serves, or refuses", || {
            let ended = self.daemon.has_ended();
            (ended || self.answers()).then_some(!ended)
        });
        let why = self.daemon.output();
        if !went {
            self.daemon.wait();
        }
        self.check_rollback(1, went, why.lines().last().unwrap_or_default());
    }

    /// Checks that no tenant was affected, whether the older program took over or refused.
    fn check_rollback(&mut self, kind: usize, went: bool, why: &str) {
        if went {
            self.versions.rolled_back[kind] += 1;
        } else {
            eprintln!("refused: {}", why.trim());
            self.versions.refused[kind] += 1;
            self.versions.select(false);
        }
        self.settles();
        self.check();
    }

    /// Installs the newer program, which takes over in one of several ways if there is something to
    /// take over.
    pub fn upgrade_to_new(&mut self, random: &mut Random) {
        if !self.has_two_versions() {
            return;
        }
        self.versions.select(false);
        match random.below(4) {
            0 => {
                eprintln!("to the newer program by an upgrade");
                self.upgrade();
            }
            1 | 2 => {
                eprintln!("to the newer program by a signal");
                self.start_upgrade();
            }
            _ => {
                eprintln!("to the newer program by a start");
                self.signal_supervisor(Signal::SIGKILL);
                self.start_supervisor();
            }
        }
    }

    /// Makes the newer program the running one, once everything is as wanted.
    pub fn finish_with_new(&mut self) {
        if self.is_old() {
            eprintln!("to the newer program at the end");
            let before = self.undisturbed();
            self.must_accept(&["upgrade"]);
            self.check_undisturbed(&before);
            assert!(!self.is_old(), "{}", self.daemon.output());
        }
    }
}
