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
    gone_back: [u32; 2],
    /// How often the older program refused to, and changed nothing.
    refused: [u32; 2],
}

impl Versions {
    /// As the environment variable says.
    pub fn told() -> Self {
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

    fn put(&mut self, old: bool) {
        self.is_old_on_disk = old;
        self.install();
    }

    /// Prints the result at the end.
    pub fn say(&self) {
        if self.old.is_some() {
            let ([upgrade, start], [no_upgrade, no_start]) = (self.gone_back, self.refused);
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
    pub fn begin_old(&mut self, random: &mut Random) {
        if !self.has_two_versions() {
            return;
        }
        let way = random.below(3);
        if !self.is_old() {
            match way {
                0 => self.go_back_by_an_upgrade(),
                1 => self.go_back_by_a_start(),
                _ => {}
            }
        }
        if !self.is_old() {
            eprintln!("the older program begins with nothing");
            self.signal_supervisor(Signal::SIGTERM);
            self.supervisor_ends();
            self.versions.put(true);
        }
        self.settles();
        self.is_lawful();
        assert!(self.is_old());
    }

    fn go_back_by_an_upgrade(&mut self) {
        eprintln!("back to the older program by an upgrade");
        self.versions.put(true);
        let said = self.tell(&["upgrade"]);
        let went = said.code == 0;
        assert_eq!(went, self.is_old(), "{said:?}: {}", self.daemon.output());
        self.went_back(0, went, &said.err);
    }

    fn go_back_by_a_start(&mut self) {
        eprintln!("back to the older program by a start");
        self.versions.put(true);
        self.signal_supervisor(Signal::SIGKILL);
        self.begin_supervisor();
        let went = until("the older program serves, or refuses to", || {
            let ended = self.daemon.has_ended();
            (ended || self.answers()).then_some(!ended)
        });
        let why = self.daemon.output();
        if !went {
            self.daemon.wait();
        }
        self.went_back(1, went, why.lines().last().unwrap_or_default());
    }

    /// Checks that no tenant was affected, whether the older program took over or refused.
    fn went_back(&mut self, way: usize, went: bool, why: &str) {
        if went {
            self.versions.gone_back[way] += 1;
        } else {
            eprintln!("refused: {}", why.trim());
            self.versions.refused[way] += 1;
            self.versions.put(false);
        }
        self.settles();
        self.is_lawful();
    }

    /// Installs the newer program, which takes over in one of several ways if there is something to
    /// take over.
    pub fn upgrade_to_new(&mut self, random: &mut Random) {
        if !self.has_two_versions() {
            return;
        }
        self.versions.put(false);
        match random.below(4) {
            0 => {
                eprintln!("to the newer program by an upgrade");
                self.upgrade();
            }
            1 | 2 => {
                eprintln!("to the newer program by a signal");
                self.begin_to_upgrade();
            }
            _ => {
                eprintln!("to the newer program by a start");
                self.signal_supervisor(Signal::SIGKILL);
                self.begin_supervisor();
            }
        }
    }

    /// Makes the newer program the running one, once everything is as wanted.
    pub fn is_new(&mut self) {
        if self.is_old() {
            eprintln!("to the newer program at last");
            let before = self.at_rest();
            self.is_told(&["upgrade"]);
            self.all_go_on(&before);
            assert!(!self.is_old(), "{}", self.daemon.output());
        }
    }
}
