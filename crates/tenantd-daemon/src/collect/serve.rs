//! Answers the supervisor's requests: one connection after the other, as there is one supervisor.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::collect::follow::Follower;
use crate::collect::sockets::Sockets;
use crate::collect::{Answer, Ask};

/// Answers requests until one asks for the end.
///
/// # Errors
/// What accept(2) reports.
pub(super) fn serve(
    listener: &UnixListener,
    sockets: &Sockets,
    follower: &Follower,
) -> io::Result<()> {
    loop {
        let (connection, _) = listener.accept()?;
        match converse(connection, sockets, follower) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The supervisor has died; the next one connects.
            Err(error) => tracing::debug!(%error, "lost the connection to the supervisor"),
        }
    }
}

/// Answers the requests of one connection. Returns whether it asked for the end.
fn converse(connection: UnixStream, sockets: &Sockets, follower: &Follower) -> io::Result<bool> {
    let mut out = connection.try_clone()?;
    for line in BufReader::new(connection).lines() {
        let ask = serde_json::from_str(&line?);
        let (answer, ends) = match ask {
            Ok(ask) => answer(&ask, sockets, follower),
            Err(error) => (failed(&error), false),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        out.write_all(&text)?;
        if ends {
            return Ok(true);
        }
    }
    Ok(false)
}

fn answer(ask: &Ask, sockets: &Sockets, follower: &Follower) -> (Answer, bool) {
    let mut answer = Answer::default();
    let done = match ask {
        Ask::Add { tenant, files } => {
            if let Some(files) = files {
                follower.follow(tenant, files.clone());
            }
            sockets.add(tenant)
        }
        Ask::Remove { tenant } => {
            let read = follower.remove(tenant);
            sockets.remove(tenant).and(read)
        }
        Ask::List => {
            answer.tenants = sockets.tenants();
            Ok(())
        }
        Ask::End => {
            let read = follower.end();
            sockets.end().and(read)
        }
    };
    match done {
        Ok(()) => (answer, *ask == Ask::End),
        Err(error) => (failed(&error), *ask == Ask::End),
    }
}

fn failed(error: &dyn std::fmt::Display) -> Answer {
    Answer {
        error: Some(error.to_string()),
        tenants: Vec::new(),
    }
}
