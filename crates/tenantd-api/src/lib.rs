//! Talks to tenantd's supervisors: the types of the control protocol, and a client that speaks it.
//!
//! Each application has one supervisor, which listens on a socket of its own and speaks varlink
//! (<https://varlink.org>). [`client::Connection`] asks it; [`client::app`] tells which
//! applications run on this host; [`wire`] holds what is asked and answered.

#![forbid(unsafe_code)]

pub mod client;
pub mod wire;
