//! A tenant replaces its working directory by a symbolic link that leads out of its mount namespace,
//! through `/proc/PID/root`, see `proc_pid_root(5)`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command};

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use crate::guestbook::{manifest, three};
use crate::support::daemon::{Daemon, signal};
use crate::support::place::{example, folder};

/// Guest books that work in a folder of their datastore, which acme has replaced. The link leads through
/// a process of this user; only root may pass what it leads to.
fn replaced(user: &str) -> (Daemon, Outside) {
    let daemon = three();
    let closed = folder("/srv/closed");
    let inner = folder("/srv/closed/inner");
    fs::write(inner.join("secret"), "of the host\n").unwrap();
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let data = |name| format!("/var/lib/tenantd/{}/{name}/work", daemon.app);
    for name in ["acme", "globex", "initech"] {
        folder(&data(name));
    }
    let text = manifest(&example("guestbook")).replace("APP", &daemon.app);
    let line = "[tenants]";
    // A `/proc` of its own would not show acme the process.
    let with =
        "working_directory = \"/var/lib/guestbook/work\"\nwall = { hidepid = false }\n[tenants]";
    fs::write(&daemon.manifest, text.replace(line, with)).unwrap();
    daemon.tell(&["reload"]).expect(0);
    daemon.settles();
    fs::remove_dir(data("acme")).unwrap();
    let outside = Outside::start(user);
    let link = format!("/proc/{}/root/srv/closed/inner", outside.0.id());
    symlink(link, data("acme")).unwrap();
    (daemon, outside)
}

/// A process in the host's namespaces.
struct Outside(Child);

impl Outside {
    fn start(user: &str) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        Self(command.args(["sleep", "1000"]).spawn().unwrap())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn exec_does_not_leave_the_tenant_by_its_working_directory() {
    for user in ["0", "65534"] {
        let (daemon, _outside) = replaced(user);
        let said = daemon.tell(&["exec", "globex", "--", "pwd"]).expect(0);
        assert_eq!(said, "/var/lib/guestbook/work\n");
        let said = daemon.tell(&["exec", "acme", "--", "cat", "secret"]);
        assert!(!said.out.contains("of the host"), "{said:?}");
        assert_eq!(said.code, 125, "{said:?}");
        assert!(said.err.contains("/var/lib/guestbook/work"), "{said:?}");
        assert!(said.err.contains("leads out of the tenant"), "{said:?}");
        daemon.end();
    }
}

#[test]
fn a_launch_does_not_leave_the_tenant_by_its_working_directory() {
    // Its Landlock domain refuses this one first; see also `launch::inside` in tests/kernel.
    let (daemon, _outside) = replaced("65534");
    let said = daemon.tell(&["restart", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    signal(daemon.tenant("acme").pid.unwrap(), Signal::SIGKILL);
    let acme = daemon.until_state("acme", StateWord::Failed);
    let why = acme.why.unwrap();
    assert!(why.contains("/var/lib/guestbook/work"), "{why}");
    daemon.end();
}

/// Links within the tenant are the manifest's and the tenant's own affair.
#[test]
fn a_working_directory_may_be_a_link_within_the_tenant() {
    let (daemon, _outside) = replaced("0");
    let work = format!("/var/lib/tenantd/{}/acme/work", daemon.app);
    fs::remove_file(&work).unwrap();
    folder(&format!("{work}.real"));
    symlink("/var/lib/guestbook/work.real", &work).unwrap();
    let said = daemon.tell(&["exec", "acme", "--", "pwd", "-P"]).expect(0);
    assert_eq!(said, "/var/lib/guestbook/work.real\n");
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.end();
}
