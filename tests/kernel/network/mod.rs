//! Networks of tenants on the real kernel, each test in a host of its own.

mod failing;
mod host;
mod release;
mod shape;
