//! The id of this boot of the host: objects of another boot are other objects, whatever their numbers.

use std::io;
use std::sync::OnceLock;

/// Where the kernel says it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The id, which is the same as long as this process lives: it is read once.
///
/// # Errors
/// Those of reading `/proc`.
pub(crate) fn id() -> io::Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let boot = std::fs::read_to_string(BOOT_ID)?.trim().to_owned();
    Ok(BOOT.get_or_init(|| boot))
}
