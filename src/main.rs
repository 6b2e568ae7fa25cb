//! The `tenantd` program.

fn main() {}
