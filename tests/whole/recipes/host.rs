//! A test host with the machine's files, where everything that is written is known: the folders that
//! a program could write to are unions, whose upper layers begin empty. So a search of the upper
//! layers is a search of all that was written anywhere on the host, and the machine is not changed.

use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::support::daemon::run;
use crate::support::place::{folder, fresh};

/// The folders of a host that programs write to.
const WRITTEN: [&str; 8] = [
    "/etc", "/home", "/opt", "/root", "/srv", "/tmp", "/usr", "/var",
];

/// Where the upper layers are.
const LAYERS: &str = "/mnt";

/// What is searched: the upper layers, and the folders in memory.
const SEARCHED: [&str; 5] = [
    LAYERS,
    "/dev/shm",
    "/run",
    "/var/lib/tenantd",
    "/var/log/tenantd",
];

/// Makes the test host.
pub fn enter() {
    crate::support::enter();
    fresh("/dev/shm", "mode=1777");
    fresh(LAYERS, "mode=700");
    for path in WRITTEN {
        let [upper, work] = ["", ".work"].map(|end| format!("{LAYERS}{path}{end}"));
        folder(&upper);
        folder(&work);
        // The upper folder is what the union's root looks like.
        run(Command::new("chmod")
            .arg("--reference")
            .args([path, &upper]))
        .expect(0);
        run(Command::new("chown")
            .arg("--reference")
            .args([path, &upper]))
        .expect(0);
        let options = format!("lowerdir={path},upperdir={upper},workdir={work}");
        let nothing = MsFlags::empty();
        mount(
            Some("test"),
            path,
            Some("overlay"),
            nothing,
            Some(options.as_str()),
        )
        .unwrap();
    }
    for path in ["/var/lib/tenantd", "/var/log/tenantd"] {
        folder(path);
        fresh(path, "mode=755");
    }
    // The machine's own manifests are no part of this host, and what is in /srv is another test's.
    folder("/etc/tenantd");
    fresh("/etc/tenantd", "mode=700");
    fresh("/srv", "mode=755");
}

/// The files that contain a text or have it in their paths, as the host sees them, in order.
pub fn search(text: &str) -> Vec<String> {
    let grep = ["-r", "-l", "-a", "-F", "-e", text];
    let found = run(Command::new("grep").args(grep).args(SEARCHED).arg("/srv"));
    assert!(found.code < 2, "{found:?}");
    let named = format!("*{text}*");
    let find = [&SEARCHED[..], &["/srv", "-path", &named, "-type", "f"]].concat();
    let named = run(Command::new("find").args(find)).expect(0);
    let lines = found.out.lines().chain(named.lines());
    let mut paths: Vec<String> = lines.map(on_host).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The path on the host of a file in an upper layer.
fn on_host(path: &str) -> String {
    match Path::new(path).strip_prefix(LAYERS) {
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => path.to_owned(),
    }
}

#[test]
fn whatever_is_written_on_the_host_is_found() {
    enter();
    let written = [
        "/etc/written",
        "/opt/written",
        "/run/written",
        "/var/lib/written",
        "/var/tmp/written",
    ];
    for path in written {
        std::fs::write(path, "some marker\n").unwrap();
    }
    std::fs::create_dir("/usr/share/marker").unwrap();
    std::fs::write("/usr/share/marker/empty", "").unwrap();
    assert_eq!(
        search("marker"),
        [&written[..4], &["/usr/share/marker/empty"], &written[4..]]
            .concat()
            .iter()
            .fold(Vec::<String>::new(), |mut all, path| {
                all.push((*path).to_owned());
                all.sort();
                all
            })
    );
}
