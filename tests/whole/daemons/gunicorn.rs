//! gunicorn, which is upgraded by SIGUSR2: a new master takes over from the old one.

use std::fs;

use nix::sys::signal::Signal;

use super::{ACME, file_of, known, restarted, start, stops};
use crate::support::daemon::signal;
use crate::support::place::{self, folder};
use crate::support::visit::get;

const APPLICATION: &str = "def application(request, respond):
    respond('200 OK', [('Content-Length', '6')])
    return [b'a page']
";

#[test]
fn the_new_master_counts_after_an_upgrade() {
    place::host();
    folder("/srv/data");
    fs::write("/srv/page.py", APPLICATION).unwrap();
    let daemon = start(
        "user = \"root\"\ncommand = [\"/usr/bin/gunicorn\", \"--daemon\", \"--bind\", \"0.0.0.0:80\", \"--pid\", \
         \"/run/gunicorn.pid\", \"--chdir\", \"/srv\", \"page:application\"]\nprivate = [\"/run\"]\n\
         environment = { PYTHONDONTWRITEBYTECODE = \"1\" }\ndatastore.path = \"/srv/data\"\n\
         daemonizes = true\npid_file = \"/run/gunicorn.pid\"\nready.tcp = 80",
    );
    let old = known(&daemon, "pid file").pid.unwrap();
    signal(old, Signal::SIGUSR2);
    let new: u32 = file_of(old, "/run/gunicorn.pid.2").trim().parse().unwrap();
    // It removes its file, and only then the new one renames its own.
    signal(old, Signal::SIGTERM);
    let acme = daemon.until_tenant("acme", |acme| acme.pid == Some(new));
    assert_eq!((acme.restarts, acme.main.as_deref()), (0, Some("pid file")));
    assert_eq!(get(ACME, "/").1, "a page");
    signal(new, Signal::SIGKILL);
    restarted(&daemon, 1);
    assert_eq!(known(&daemon, "pid file").restarts, 1);
    stops(&daemon);
    daemon.end();
}
