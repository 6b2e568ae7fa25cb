//! A supervisor is killed while it initializes a datastore. The next one begins again with an empty
//! datastore, or finds that it is initialized; the program never runs with half of it.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::support::daemon::Daemon;
use crate::support::place::{self, example, folder};

macro_rules! points {
    ($($test:ident: $point:literal, $fails:literal;)*) => {
        $(
            #[test]
            fn $test() {
                dies_at($point, $fails);
            }
        )*

        const DRIVEN: &[&str] = &[$($point),*];
    };
}

points! {
    begun: "init: begun", false;
    before_the_record: "init: before the record", false;
    cleared: "init: cleared", true;
}

/// The crash points of this module.
pub fn points() -> impl Iterator<Item = &'static str> {
    DRIVEN.iter().copied()
}

#[track_caller]
fn dies_at(point: &str, fails: bool) {
    place::host();
    folder("/srv/data");
    if fails {
        fs::write("/srv/fail", "").unwrap();
    }
    let program = example("idle");
    // It stumbles over what an interrupted one left.
    let init = "mkdir /srv/data/half && test ! -e /srv/fail && mv /srv/data/half /srv/data/made";
    let mut daemon = Daemon::spawn_armed(
        &format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\", \"80\"]\nready.tcp = 80\n\
             restart.delay = \"0s\"\ndatastore.path = \"/srv/data\"\n\
             [app.init]\ncommand = [\"/bin/sh\", \"-c\", \"{init}\"]\n\
             [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        ),
        point,
    );
    let status = daemon.wait();
    let last = daemon.output();
    assert_eq!(status.signal(), Some(9), "{point} was not reached: {last}");
    if fails {
        fs::remove_file("/srv/fail").unwrap();
    }
    daemon.again();
    daemon.tell(&["start", "acme"]).expect(0);
    let after = daemon.settles();
    assert!(after.tenants[0].pid.is_some(), "{after:?}");
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    assert!(fs::metadata(format!("{store}/made")).is_ok(), "{after:?}");
    assert!(fs::metadata(format!("{store}/half")).is_err(), "{after:?}");
    daemon.end();
}
