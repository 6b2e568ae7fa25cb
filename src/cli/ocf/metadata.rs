//! `meta-data`: the description of the agent.

use std::io::Write;

use super::{Code, Done, failed};

/// As the schema of the Open Cluster Framework that Debian 12 has allows it.
const TEXT: &str = include_str!("metadata.xml");

/// Prints the description.
pub(super) fn print() -> Done {
    let text = TEXT.replace("VERSION", env!("CARGO_PKG_VERSION"));
    let printed = std::io::stdout().lock().write_all(text.as_bytes());
    printed
        .map(|()| Code::Success)
        .map_err(|error| failed(&error))
}
