//! `resolve-hook`: tells systemd-resolved of the host the names of tenants, by its varlink hook.
//!
//! It is a process of its own, as `userdb` is: a look-up of the host waits for the answer of each hook, and nothing that
//! a supervisor does may delay it. systemd-resolved keeps some connections open, so a client may be silent for as long as
//! it likes between two calls.

mod answer;

use anyhow::Context;
use nix::unistd::User;

use super::End;
use super::lookups::Service;
use answer::{Call, answer};

/// The folder of all hooks of the host, and the name of this one.
const FOLDER: &str = "/run/systemd/resolve.hook";
const SOCKET: &str = "io.tenantd";

/// The user of systemd-resolved.
const RESOLVER: &str = "systemd-resolve";

/// The longest call in bytes.
const CALL_MAX: usize = 16_384;

/// Answers until it is ended.
pub(super) fn resolve_hook() -> anyhow::Result<End> {
    // Any user may hold connections and say nothing, and one may have many users (subuid(5)).
    let resolver =
        User::from_name(RESOLVER).context("cannot look up the user of systemd-resolved")?;
    let service = Service {
        folder: FOLDER,
        name: SOCKET,
        served: resolver.map(|user| user.uid.as_raw()),
        call_max: CALL_MAX,
        is_kept_open: true,
    };
    service.serve(|call: &Call, text| {
        let answer = answer(call, tenantd_host::hosts_folder::addresses);
        serde_json::to_writer(&mut *text, &answer)?;
        text.push(0);
        Ok(())
    })
}
