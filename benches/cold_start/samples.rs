//! The measured values of each program, and the order of measurements: in turn, so that other load
//! on the machine affects both programs.

use std::collections::BTreeMap;

use crate::crew::median;

/// Measured values by name, of each program.
#[derive(Debug)]
pub struct Samples(Vec<BTreeMap<String, Vec<f64>>>);

impl Samples {
    pub fn new(programs: usize) -> Self {
        Self(vec![BTreeMap::new(); programs])
    }

    pub fn add(&mut self, which: usize, name: &str, value: f64) {
        self.0[which]
            .entry(name.to_owned())
            .or_default()
            .push(value);
    }

    /// All of each program.
    pub fn all(&self, name: &str) -> Vec<Vec<f64>> {
        self.0.iter().map(|values| values[name].clone()).collect()
    }

    /// The median of each program.
    pub fn of(&self, name: &str) -> Vec<f64> {
        let of_one = |values: &BTreeMap<String, Vec<f64>>| median(values[name].clone());
        self.0.iter().map(of_one).collect()
    }
}

/// The number of each program, once per round, with the number of the round.
pub fn in_turn(programs: &[String], rounds: usize) -> impl Iterator<Item = (usize, &str, usize)> {
    (0..rounds).flat_map(|round| {
        let programs = programs.iter().enumerate();
        programs.map(move |(which, program)| (which, program.as_str(), round))
    })
}
