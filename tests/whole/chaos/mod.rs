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

mod law;
mod scene;
mod seen;
mod strokes;
mod upgrade;
mod versions;
mod writer;

use std::collections::BTreeSet;

use crate::random::Random;
use scene::Scene;
use strokes::STROKES;
use versions::FROM;

/// By default: about ten seconds.
const SEED: u64 = 20_261_125;
const ROUNDS: u64 = 30;

/// The maximum number of faults in a round.
const STROKES_MAX: u64 = 4;

/// The maximum number of writes between two faults.
const TURNS_MAX: u64 = 150;

#[test]
fn random_faults_lose_nothing() {
    let seed = number("TENANTD_CHAOS_SEED", SEED);
    let rounds = number("TENANTD_CHAOS_ROUNDS", ROUNDS);
    eprintln!("TENANTD_CHAOS_SEED={seed} TENANTD_CHAOS_ROUNDS={rounds}");
    let mut random = Random::new(seed);
    let mut scene = Scene::begin();
    let mut struck = BTreeSet::new();
    scene.is_lawful();
    for round in 1..=rounds {
        scene.begin_old(&mut random);
        strike(&mut scene, &mut random, round, &mut struck);
        if scene.has_two_versions() {
            scene.upgrade_to_new(&mut random);
            strike(&mut scene, &mut random, round, &mut struck);
        }
        scene.settles();
        scene.is_new();
        scene.is_lawful();
    }
    scene.end();
    if (seed, rounds, std::env::var(FROM).ok()) == (SEED, ROUNDS, None) {
        let of_all = STROKES.iter().map(|(name, _)| *name);
        let missing: Vec<_> = of_all.filter(|name| !struck.contains(name)).collect();
        assert_eq!(missing, [""; 0], "these are to be struck by every run");
    }
}

/// Some faults, one after the other.
fn strike(scene: &mut Scene, random: &mut Random, round: u64, struck: &mut BTreeSet<&str>) {
    for _ in 0..=random.below(STROKES_MAX) {
        scene.writers_turn(random.below(TURNS_MAX));
        let (name, stroke) = random.pick(STROKES);
        eprintln!("round {round}: {name}");
        stroke(scene, random);
        struck.insert(*name);
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number")),
        Err(_) => otherwise,
    }
}
