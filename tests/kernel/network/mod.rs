//! Networks of tenants on the real kernel, each test in its own test host.

mod failing;
mod host;
mod load;
mod release;
mod shape;
mod sysctls;
mod unused;
mod watch;
