//! What needs neither root nor any package: `tests/run --quick` runs it, wherever cargo does.

/// The example program, so that the tests beside its code run with these: cargo builds an example
/// either as a program or as tests, and the tests of the other two binaries need the program.
#[path = "../../examples/guestbook/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is not called")]
mod guestbook;

mod conventions;
mod golden;
mod manifest;
mod sim;
mod simulation;
