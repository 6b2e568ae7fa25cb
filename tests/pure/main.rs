//! Tests that need neither root nor packages. `tests/run --quick` runs them.

/// The example program, included to run its unit tests. Cargo builds an example either as a program
/// or as tests, and the other two test binaries need the program.
#[path = "../../examples/guestbook/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is not called")]
mod guestbook;

mod cells;
mod conventions;
mod dependencies;
mod golden;
mod growth;
mod learned;
mod manifest;
mod places;
mod sim;
mod simulation;
mod units;
