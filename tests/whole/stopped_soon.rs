//! What a supervisor does for the tenants that it has adopted once it answers requests: not for those that were stopped,
//! and again if it fails.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::Path;

use tenantd_api::wire::StateWord;
use tenantd_host::{claim, datastore, owner};

use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, example};

const TENANTS: u8 = 40;

/// Ends at once when it is signalled.
fn many() -> Daemon {
    place::host();
    // A test fills it.
    place::fresh("/run", "mode=755,size=4m");
    place::folder("/srv/data");
    example("idle");
    let line = |number| format!("t{number} = {{ ip = \"10.77.0.{}\" }}\n", number + 11);
    let tenants: String = (0..TENANTS).map(line).collect();
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/idle\"]\ndatastore.path = \"/srv/data\"\n\
         ready.tcp = 80\n[tenants]\n{tenants}"
    ))
}

#[test]
fn a_stopped_tenant_stays_without_a_claim_and_another_host_may_start_it() {
    let mut daemon = many();
    for _ in 0..3 {
        daemon.kill();
        daemon.again();
        daemon.tell(&["stop", "--all"]).expect(0);
        for number in 0..TENANTS {
            let path = format!("/var/lib/tenantd/{}/t{number}", daemon.app);
            let path = Path::new(&path);
            let folder = datastore::open(path).unwrap();
            let record = owner::read(folder.as_fd(), path).unwrap().unwrap();
            assert!(!record.live && record.left.is_some(), "{record:?}");
            assert_eq!(claim::holder_of(folder.as_fd(), path).unwrap(), None);
        }
        let said = daemon.output();
        assert!(!said.contains("its program runs on, but"), "{said}");
        daemon.tell(&["start", "--all"]).expect(0);
        daemon.settles();
        assert_eq!(daemon.tenant("t0").state, StateWord::Up);
    }
    daemon.end();
}

/// The supervisor has no room for the claims at first.
#[test]
fn a_claim_that_cannot_be_written_is_continued_later() {
    let mut daemon = many();
    daemon.kill();
    let ballast = "/run/ballast";
    let fill = || {
        let mut ballast = fs::File::options()
            .append(true)
            .create(true)
            .open(ballast)
            .unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    };
    fill();
    daemon.again();
    fill();
    until("it has no room", || {
        daemon
            .output()
            .contains("its program runs on, but")
            .then_some(())
    });
    fs::remove_file(ballast).unwrap();
    let mine = format!("\"pid\":{}", daemon.pid());
    until("each claim is this supervisor's", || {
        let claims = fs::read_dir("/run/tenantd/locks").unwrap();
        let texts = claims.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
        let of_mine = texts.filter(|text| text.contains(&mine)).count();
        (of_mine == usize::from(TENANTS)).then_some(())
    });
    daemon.end();
}
