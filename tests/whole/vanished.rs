//! Clients that are gone without a word, and what their connections keep alive.

use std::net::TcpStream;

use crate::support::daemon::{Daemon, in_time, run};
use crate::support::place::{self, example};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[tenants]
acme = { ip = "10.77.0.11" }
"#;

fn nft(words: &str) {
    run(in_time("nft").arg(words)).expect(0);
}

#[test]
fn a_stop_does_not_wait_for_the_confirmation_of_a_client_that_is_gone() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let daemon = Daemon::start_settled(MANIFEST);
    let client = TcpStream::connect("10.77.0.11:80").unwrap();
    // From now on the client hears nothing of the tenant: neither the end of the connection, nor anything else.
    nft(
        "table ip gone { chain rest { type filter hook prerouting priority -400; ip saddr 10.77.0.11 drop; }; }",
    );
    let stopped = daemon.tell(&["stop", "acme"]).expect(0);
    assert!(stopped.contains("acme: down"), "{stopped}");
    nft("delete table ip gone");
    drop(client);
    let said = daemon.end();
    assert!(
        said.contains("acme: ended 1 connections that its program left"),
        "{said}"
    );
}
