//! The wing that acts: it carries out what a plan says, and decides nothing.
//!
//! It never names the supervisor. What fails here comes back as a [`crate::stage::Failure`].

pub mod fifo;
