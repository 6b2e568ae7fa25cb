//! Tenants that are stopped right after their adoption: what a supervisor does later for those that it has adopted is
//! not done for them any longer.

use std::os::fd::AsFd;
use std::path::Path;

use tenantd_api::wire::StateWord;
use tenantd_host::{claim, datastore, owner};

use crate::support::daemon::Daemon;
use crate::support::place::{self, example};

const TENANTS: u8 = 40;

/// Ends at once when it is signalled.
fn many() -> Daemon {
    place::host();
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
