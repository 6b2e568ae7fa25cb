//! Chaos: random faults at random moments for a supervisor and four tenants that run the real
//! redis-server, each with a writer that remembers which of its writes were acknowledged.
//!
//! After each round every tenant is as wanted, has one launch if it is wanted up, and has nothing
//! on the host otherwise. There were never two launches on one datastore, and at the end no
//! acknowledged write is missing. An upgrade does not interrupt tenants that nothing else was done
//! to.
//!
//! The seed and the number of rounds have defaults, and can be set:
//!
//! ```sh
//! TENANTD_CHAOS_SEED=7 TENANTD_CHAOS_ROUNDS=1000 cargo test --test whole chaos -- --nocapture
//! ```
//!
//! The same seed gives the same faults; the step at which each of them occurs depends on the
//! machine.
//!
//! `TENANTD_CHAOS_FROM=FILE` names an older program: each round then begins with it, and the tested
//! program takes over from it between the faults, by an upgrade or after a death. Some rounds go
//! back to the older program. No tenant may be relaunched by any of this unless something was done
//! to it.

mod checks;
mod faults;
mod scene;
mod seen;
mod upgrade;
mod versions;
mod writer;

use std::collections::BTreeSet;

use crate::random::Random;
use faults::FAULTS;
use scene::Scene;
use versions::FROM;

/// By default: about ten seconds.
const SEED: u64 = 20_261_125;
const ROUNDS: u64 = 30;

/// The maximum number of faults in a round.
const FAULTS_MAX: u64 = 4;

/// The maximum number of writes between two faults.
const WRITES_MAX: u64 = 150;

#[test]
fn random_faults_lose_nothing() {
    let seed = number("TENANTD_CHAOS_SEED", SEED);
    let rounds = number("TENANTD_CHAOS_ROUNDS", ROUNDS);
    eprintln!("TENANTD_CHAOS_SEED={seed} TENANTD_CHAOS_ROUNDS={rounds}");
    let mut random = Random::new(seed);
    let mut scene = Scene::begin();
    let mut injected = BTreeSet::new();
    scene.check();
    for round in 1..=rounds {
        scene.start_old(&mut random);
        inject(&mut scene, &mut random, round, &mut injected);
        if scene.has_two_versions() {
            scene.upgrade_to_new(&mut random);
            inject(&mut scene, &mut random, round, &mut injected);
        }
        scene.settles();
        scene.finish_with_new();
        scene.check();
    }
    scene.end();
    if (seed, rounds, std::env::var(FROM).ok()) == (SEED, ROUNDS, None) {
        let of_all = FAULTS.iter().map(|(name, _)| *name);
        let missing: Vec<_> = of_all.filter(|name| !injected.contains(name)).collect();
        assert_eq!(missing, [""; 0], "these faults must occur in every run");
    }
}

/// Some faults, one after the other.
fn inject(scene: &mut Scene, random: &mut Random, round: u64, injected: &mut BTreeSet<&str>) {
    for _ in 0..=random.below(FAULTS_MAX) {
        scene.wait_for_writes(random.below(WRITES_MAX));
        let (name, fault) = random.pick(FAULTS);
        eprintln!("round {round}: {name}");
        fault(scene, random);
        injected.insert(*name);
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number")),
        Err(_) => otherwise,
    }
}
