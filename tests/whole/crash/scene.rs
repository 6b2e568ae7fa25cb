//! Two tenants whose program detects a second launch on its datastore.

use std::fs;

use tenantd_api::wire::AppStatus;

use crate::support::daemon::Daemon;
use crate::support::place::{self, example, folder};
use crate::support::store::{Store, guard};
use crate::support::visit::accepts;

/// The tenant that the tests act on.
pub const ACME: &str = "acme";
/// The tenant that must not be interrupted.
pub const GLOBEX: &str = "globex";

/// Its address, and the one that a reload gives to it.
pub const ADDRESS: &str = "10.77.0.11";
pub const OTHER_ADDRESS: &str = "10.77.0.21";

/// Another change that a reload makes, in its line of the manifest.
pub const LIMITS: &str = "limits = { open_files = 321 }";

const ADDRESSES: [(&str, &str); 2] = [(ACME, ADDRESS), (GLOBEX, "10.77.0.12")];

/// The folder in which the program looks for its data.
const DATA: &str = "/srv/data";

/// Makes the host and the program, and returns the manifest. A deaf program ignores SIGTERM.
pub fn manifest(deaf: bool) -> String {
    place::host();
    folder(DATA);
    let guard = guard(DATA, if deaf { "trap '' TERM" } else { "" });
    let program = example("idle");
    let tenants: String = ADDRESSES
        .iter()
        .map(|(name, ip)| format!("{name} = {{ ip = \"{ip}\" }}\n"))
        .collect();
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{guard}\", \"{program}\", \"80\"]\ndatastore.path = \"{DATA}\"\n\
         ready.tcp = 80\nrestart.delay = \"0s\"\nstop.grace = \"{}\"\n[tenants]\n{tenants}",
        if deaf { "50ms" } else { "10s" },
    )
}

/// Checks that every tenant that is wanted up answers and has one launch.
#[track_caller]
pub fn check_all(daemon: &Daemon, status: &AppStatus) {
    for (name, _) in ADDRESSES {
        let store = Store::of(&daemon.app, name);
        assert!(
            !store.had_two_launches(),
            "{name} had two launches at a time"
        );
        let Some(tenant) = status
            .tenants
            .iter()
            .find(|tenant| tenant.name.as_str() == name)
        else {
            assert_eq!(
                store.users(DATA),
                [0; 0],
                "{name} is no longer in the manifest"
            );
            continue;
        };
        let Some(pid) = tenant.pid else {
            assert_eq!(store.users(DATA), [0; 0], "{tenant:?}");
            continue;
        };
        assert_eq!(
            store.users(DATA),
            [i32::try_from(pid).unwrap()],
            "{tenant:?}"
        );
        let leaf = format!(
            "/sys/fs/cgroup/tenantd/{}/{name}/program/cgroup.procs",
            daemon.app
        );
        assert_eq!(fs::read_to_string(leaf).unwrap(), format!("{pid}\n"));
        assert!(accepts(&tenant.addresses.to_string(), 80));
    }
}
