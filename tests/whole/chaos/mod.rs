//! Chaos: random strokes at random moments against a supervisor and four tenants of the real
//! redis-server, each with a writer that remembers what was acknowledged to it.
//!
//! After each round every tenant is as wanted, has one launch if it is wanted up, and nothing is
//! left of those that are not; there were never two launches on one datastore; and in the end no
//! acknowledged write is missing. Of an upgrade no tenant notices to which nothing else happens.
//!
//! The seed and the number of rounds are fixed, and can be said:
//!
//! ```sh
//! TENANTD_CHAOS_SEED=7 TENANTD_CHAOS_ROUNDS=1000 cargo test --test whole chaos -- --nocapture
//! ```
//!
//! The same seed gives the same strokes; at which step they hit, the machine decides.
//!
//! `TENANTD_CHAOS_FROM=FILE` names an older program: each round then begins with it, and the one
//! that is tested takes over from it amid the strokes, by an upgrade or after a death. At times it
//! is gone back. No tenant to which nothing was done may be launched anew by any of it.

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

/// Without words from outside: some ten seconds.
const SEED: u64 = 20_261_125;
const ROUNDS: u64 = 30;

/// Strokes of one round, at most.
const STROKES_MAX: u64 = 4;

/// Turns of the writers between two strokes, at most.
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

/// Some strokes, one after the other.
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
