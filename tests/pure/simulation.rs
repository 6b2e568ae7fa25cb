//! Runs the supervisor through thousands of simulated histories, each generated from a seed.
//!
//! A history that violates an invariant names its seed. `TENANTD_SIM_SEED=SEED cargo test --test
//! pure simulation` runs that history alone and prints all its events. `TENANTD_SIM_HISTORIES` sets
//! the number of histories.

use crate::sim;

use std::collections::BTreeMap;
use std::time::Instant;

use sim::world::World;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn every_history_keeps_the_invariants() {
    if let Some(seed) = number("TENANTD_SIM_SEED") {
        let (outcome, result) = World::new(seed, true).run();
        println!("{}", outcome.trace);
        result.unwrap();
        return;
    }
    let histories = number("TENANTD_SIM_HISTORIES").unwrap_or(2_000);
    let began = Instant::now();
    let (mut events, mut launches, mut deaths) = (0u64, 0u64, 0u64);
    let (mut reloads, mut interrupted, mut offline_edits) = (0u64, 0u64, 0u64);
    let (mut applied, mut refused) = (0u64, 0u64);
    let mut states = BTreeMap::new();
    for seed in 0..histories {
        let (outcome, result) = World::new(seed, false).run();
        if let Err(violation) = result {
            let variable = format!("TENANTD_SIM_SEED={seed}");
            panic!(
                "{:?} is violated, {variable}: {}",
                violation.invariant, violation.cause
            );
        }
        events += u64::from(outcome.events);
        launches += u64::from(outcome.launches);
        deaths += u64::from(outcome.deaths);
        reloads += u64::from(outcome.reloads);
        interrupted += u64::from(outcome.interrupted);
        offline_edits += u64::from(outcome.offline_edits);
        applied += u64::from(outcome.applied.0);
        refused += u64::from(outcome.applied.1);
        for (state, count) in outcome.states {
            *states.entry(state).or_insert(0u64) += u64::from(count);
        }
    }
    println!(
        "{histories} histories, {events} events, {launches} launches, {deaths} deaths, {reloads} \
         reloads ({interrupted} interrupted by a death), {offline_edits} edits without a supervisor, {applied} live changes applied and {refused} refused in {:.1?}",
        began.elapsed()
    );
    assert!(interrupted > 0 && offline_edits > 0);
    assert!(applied > 0 && refused > 0);
    println!("states: {states:?}");
    assert_eq!(states.len(), 13, "each state must occur: {states:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| World::new(seed, true).run().0.trace;
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed));
    }
    assert_ne!(trace(1), trace(2));
}
