//! A JVM, which exits with status 143 when it gets SIGTERM.

use std::fs;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use super::{start, stops};
use crate::support::daemon::signal;
use crate::support::place::{self, folder};

const SERVE: &str = "import java.net.ServerSocket;
public class Serve {
    public static void main(String[] arguments) throws Exception {
        try (ServerSocket server = new ServerSocket(80)) {
            while (true) server.accept().close();
        }
    }
}
";

#[test]
fn status_143_is_no_crash() {
    place::host();
    folder("/srv/data");
    fs::write("/srv/Serve.java", SERVE).unwrap();
    let daemon = start(
        "user = \"root\"\ncommand = [\"/usr/bin/java\", \"-XX:+UseSerialGC\", \"-XX:TieredStopAtLevel=1\", \
         \"-XX:-UsePerfData\", \"/srv/Serve.java\"]\ndatastore.path = \"/srv/data\"\n\
         ready = { tcp = 80, within = \"2m\" }\nrestart.when = \"on-failure\"\nrestart.success = [143]",
    );
    stops(&daemon);
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
    daemon.tell(&["start", "acme"]).expect(0);
    // Nobody has requested this end.
    let acme = daemon.tenant("acme");
    assert_eq!(acme.restarts, 0);
    signal(acme.pid.unwrap(), Signal::SIGTERM);
    let acme = daemon.until_state("acme", StateWord::Exited);
    assert_eq!(acme.exit.unwrap().status, Some(143));
    daemon.end();
}
