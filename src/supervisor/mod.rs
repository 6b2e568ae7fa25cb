//! The supervisor decides: events in, actions out.
//!
//! Pure: it reads no clock (the time is passed in), does no I/O, draws no random numbers, and
//! never names `host`. The same events at the same times give the same actions.

pub mod action;
pub mod event;
pub mod time;
