//! Two tenants whose program tells on a second launch: it takes a lock of its own in its datastore
//! and writes down every start.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tenantd::wire::AppStatus;

use crate::support::daemon::Daemon;
use crate::support::place::{self, example, folder, script};
use crate::support::visit::accepts;

/// The tenant to which it happens.
pub const ACME: &str = "acme";
/// The one that must not notice.
pub const GLOBEX: &str = "globex";

const ADDRESSES: [(&str, &str); 2] = [(ACME, "10.77.0.11"), (GLOBEX, "10.77.0.12")];

/// Where the program looks for its data.
const DATA: &str = "/srv/data";

/// Makes the host and the program, and gives the manifest back. A deaf program does not hear
/// SIGTERM.
pub fn manifest(deaf: bool) -> String {
    place::host();
    folder(DATA);
    let program = script(
        "twofold",
        &format!(
            "{} exec 9>>{DATA}/guard\nflock -n 9 || echo $$ >>{DATA}/twofold\n\
             exec {} 80",
            if deaf { "trap '' TERM;" } else { "" },
            example("idle"),
        ),
    );
    let tenants: String = ADDRESSES
        .iter()
        .map(|(name, ip)| format!("{name} = {{ ip = \"{ip}\" }}\n"))
        .collect();
    format!(
        "[app]\nname = \"APP\"\ncommand = [\"{program}\"]\ndatastore.path = \"{DATA}\"\n\
         ready.tcp = 80\nrestart.delay = \"0s\"\nstop.grace = \"{}\"\n[tenants]\n{tenants}",
        if deaf { "50ms" } else { "10s" },
    )
}

fn datastore(app: &str, tenant: &str) -> PathBuf {
    format!("/var/lib/tenantd/{app}/{tenant}").into()
}

/// The processes that have a tenant's datastore where its program looks for it.
fn on(datastore: &Path) -> Vec<u32> {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let wanted = identity(datastore).unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let has_it = |pid: &u32| {
        // Who has just ended is nowhere.
        identity(Path::new(&format!("/proc/{pid}/root{DATA}"))).is_ok_and(|it| it == wanted)
    };
    processes.filter(has_it).collect()
}

/// Every tenant that is wanted up answers, and has one launch.
#[track_caller]
pub fn all_is_well(daemon: &Daemon, status: &AppStatus) {
    for (name, ip) in ADDRESSES {
        let store = datastore(&daemon.app, name);
        assert!(
            !store.join("twofold").exists(),
            "{name} had two launches at a time"
        );
        let Some(tenant) = status
            .tenants
            .iter()
            .find(|tenant| tenant.name.as_str() == name)
        else {
            assert_eq!(on(&store), [0; 0], "{name} is in the manifest no more");
            continue;
        };
        let Some(pid) = tenant.pid else {
            assert_eq!(on(&store), [0; 0], "{tenant:?}");
            continue;
        };
        assert_eq!(on(&store), [pid], "{tenant:?}");
        let leaf = format!("/sys/fs/cgroup/tenantd/{}/{name}/cgroup.procs", daemon.app);
        assert_eq!(fs::read_to_string(leaf).unwrap(), format!("{pid}\n"));
        assert!(accepts(ip, 80));
    }
}
