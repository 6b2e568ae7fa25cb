//! `resolve-hook`: tells systemd-resolved of the host the names of tenants, by its varlink hook.
//!
//! It is a process of its own, as `userdb` is: a look-up of the host waits for the answer of each hook, and nothing that
//! a supervisor does may delay it. systemd-resolved keeps some connections open, so a client may be silent for as long as
//! it likes between two calls.

mod answer;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::unistd::User;

use super::End;
use super::userdb::{Clients, listen, passes};
use answer::{Call, answer};

/// The folder of all hooks of the host, and the name of this one.
const FOLDER: &str = "/run/systemd/resolve.hook";
const SOCKET: &str = "io.tenantd";

/// The user of systemd-resolved.
const RESOLVER: &str = "systemd-resolve";

/// How long a client may take to send a call or to receive an answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The longest call in bytes.
const CALL_MAX: usize = 16_384;

/// Answers until it is ended.
pub(super) fn resolve_hook() -> anyhow::Result<End> {
    let socket = listen(FOLDER, SOCKET);
    let socket = socket.with_context(|| format!("cannot listen on {FOLDER}/{SOCKET}"))?;
    // Any user may hold connections and say nothing, and one may have many users (subuid(5)).
    let resolver =
        User::from_name(RESOLVER).context("cannot look up the user of systemd-resolved")?;
    let clients = Clients::of(resolver.map(|user| user.uid.as_raw()));
    let clients = Arc::new(Mutex::new(clients));
    loop {
        let client = match socket.accept() {
            Ok((client, _)) => client,
            Err(error) if passes(&error) => {
                // Until a descriptor is free again.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            Err(error) => return Err(error).context("cannot accept a connection"),
        };
        let Some(place) = Clients::enter(&clients, &client) else {
            continue;
        };
        let serve = move || {
            let _place = place;
            // A client that has gone has no answer to get.
            let _gone = serve(client);
        };
        // Without a thread the connection is closed.
        let _none = std::thread::Builder::new().spawn(serve);
    }
}

fn serve(mut client: UnixStream) -> anyhow::Result<()> {
    client.set_write_timeout(Some(LIMIT))?;
    let mut bytes = Vec::new();
    let mut begun = Instant::now();
    loop {
        client.set_read_timeout((!bytes.is_empty()).then_some(LIMIT))?;
        let mut part = [0_u8; 1024];
        let len = client.read(&mut part)?;
        if len == 0 {
            return Ok(());
        }
        if bytes.is_empty() {
            begun = Instant::now();
        }
        anyhow::ensure!(begun.elapsed() < LIMIT, "the call takes too long");
        bytes.extend_from_slice(part.get(..len).unwrap_or_default());
        while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            let call: Vec<u8> = bytes.drain(..=end).collect();
            let call: Call = serde_json::from_slice(call.get(..end).unwrap_or_default())?;
            let mut text =
                serde_json::to_vec(&answer(&call, tenantd_host::hosts_folder::addresses))?;
            text.push(0);
            client.write_all(&text)?;
        }
        anyhow::ensure!(bytes.len() <= CALL_MAX, "the call is too long");
    }
}
