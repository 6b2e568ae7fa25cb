//! Files that a tenant has for itself, as its program sees them and as they are on the host.

use std::fs::{self, create_dir, create_dir_all, rename};
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use tenantd_core::plan::model::{FilePlan, Seed};

use crate::launch::bench::{Bench, TARGET, write_file};
use crate::launch::folders::{folder, look};
use crate::support::until;

/// A folder of the host that is this test's alone.
const HOST: &str = "/mnt/conf";

/// The datastore of the bench.
const DATASTORE: &str = "/var/lib/tenantd/wiki/acme";

fn file(path: &str, contents: &str) -> FilePlan {
    FilePlan {
        path: path.into(),
        contents: contents.into(),
        template: None,
        uid: None,
        gid: None,
        mode: None,
        secret: false,
    }
}

/// A bench with these files, whose program is a script. The host has a folder with two files.
fn bench<const N: usize>(script: &str, files: [FilePlan; N]) -> Bench {
    let mut bench = Bench::script(script);
    bench.launch.files = Vec::from(files).into();
    create_dir(HOST).unwrap();
    write_file(format!("{HOST}/site.conf"), "the host's\n", 0o644);
    write_file(format!("{HOST}/other"), "other\n", 0o644);
    bench
}

#[test]
fn a_file_stays_the_tenants_own_when_the_host_replaces_its() {
    let script = format!(
        "cat {HOST}/site.conf {HOST}/other; echo >/run/expected/began; \
         while ! test -e /mnt/replaced; do :; done; cat {HOST}/site.conf"
    );
    let site = format!("{HOST}/site.conf");
    let bench = bench(&script, [file(&site, "the tenant's\n")]);
    let mut running = bench.run().unwrap();
    let began = format!("{DATASTORE}/began");
    until("the program has read it", || Path::new(&began).exists());
    // As a package is upgraded.
    write_file(format!("{HOST}/new"), "upgraded\n", 0o644);
    rename(format!("{HOST}/new"), &site).unwrap();
    write_file("/mnt/replaced", "", 0o644);
    assert_eq!(running.end(), tenantd_host::process::Ended::Status(0));
    let said = fs::read_to_string("/run/out").unwrap();
    assert_eq!(said, "the tenant's\nother\nthe tenant's\n");
    assert_eq!(fs::read_to_string(&site).unwrap(), "upgraded\n");
    // At its next start too.
    drop(running);
    let running = bench.run().unwrap();
    drop(running);
    assert_eq!(fs::read_to_string(&site).unwrap(), "upgraded\n");
}

#[test]
fn owner_and_mode_are_those_of_the_hosts_file_or_closed_to_others() {
    let at = |name: &str| format!("{HOST}/{name}");
    let said = FilePlan {
        uid: Some(3),
        gid: Some(4),
        mode: Some(0o604),
        ..file(&at("said"), "")
    };
    let secret = |name: &str| FilePlan {
        secret: true,
        ..file(&at(name), "secret\n")
    };
    let files = [
        file(&at("site.conf"), ""),
        file(&at("absent"), ""),
        said,
        secret("other"),
        secret("closed"),
        file(&at("new/deep/file"), ""),
    ];
    let script = format!(
        "cd {HOST}; stat -c '%n %u %g %a' site.conf absent said other closed new new/deep/file; \
         cat other; ls"
    );
    let bench = bench(&script, files);
    chown(at("site.conf"), Some(1), Some(2)).unwrap();
    write_file(at("closed"), "", 0o600);
    assert_eq!(
        bench.output(),
        "site.conf 1 2 644\nabsent 0 1000 640\nsaid 3 4 604\nother 0 1000 640\n\
         closed 0 0 600\nnew 0 0 755\nnew/deep/file 0 1000 640\nsecret\n\
         absent\nclosed\nnew\nother\nsaid\nsite.conf\n"
    );
    let mut left: Vec<_> = fs::read_dir(HOST)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["closed", "other", "site.conf"]);
}

#[test]
fn the_folder_of_a_file_is_read_only() {
    let script = format!(
        "echo x 2>/dev/null >{HOST}/site.conf; echo x 2>/dev/null >{HOST}/new; \
         rm -f {HOST}/other 2>/dev/null; cat {HOST}/*"
    );
    let own = file(&format!("{HOST}/site.conf"), "own\n");
    for bench in [
        bench(&script, [own.clone()]).for_root(),
        bench(&script, [own]).for_root().on_a_writable_host(),
    ] {
        assert_eq!(bench.output(), "other\nown\n");
    }
}

#[test]
fn a_file_in_a_folder_of_the_tenant_is_written_into_it() {
    let stored = format!("{TARGET}/sub/site.conf");
    let files = [
        file(&stored, "stored\n"),
        file("/run/wiki/conf", "run\n"),
        file("/tmp/conf", "tmp\n"),
        file("/mnt/private/conf", "private\n"),
    ];
    let read = format!("cat {stored} /run/wiki/conf /tmp/conf /mnt/private/conf");
    let mut bench = bench(&read, files);
    bench.launch.private = ["/mnt/private".into()].into();
    let expected = "stored\nrun\ntmp\nprivate\n";
    assert_eq!(bench.output(), expected);
    let on_host = format!("{DATASTORE}/sub/site.conf");
    assert_eq!(look(&on_host), (0, 1000, 0o640));
    assert_eq!(look(format!("{DATASTORE}/sub")), (1000, 1000, 0o755));
    for absent in ["/run/wiki", "/tmp/conf", "/mnt/private"] {
        assert!(!Path::new(absent).exists(), "{absent}");
    }
    // What the tenant has made of it does not last: it may replace the file in its own folder.
    bench.set_script(&format!(
        "rm -f {stored} && echo mine >{stored} && cat {stored}"
    ));
    assert_eq!(bench.output(), "mine\n");
    bench.set_script(&read);
    assert_eq!(bench.output(), expected);
    // It is written only if it differs.
    let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&on_host);
    assert_eq!(bench.output(), expected);
    assert_eq!(inode(&on_host), before);
    let entries = fs::read_dir(format!("{DATASTORE}/sub")).unwrap().count();
    assert_eq!(entries, 1);
}

#[test]
fn a_file_in_an_overlay_is_written_over_the_hosts() {
    let site = format!("{HOST}/site.conf");
    let mut bench = bench(&format!("cat {site} {HOST}/other"), [file(&site, "own\n")]);
    fs::remove_dir(DATASTORE).unwrap();
    bench.datastore.target = None;
    bench.datastore.folders = [folder(HOST, Seed::Overlay)].into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    assert_eq!(bench.output(), "own\nother\n");
    assert_eq!(fs::read_to_string(&site).unwrap(), "the host's\n");
}

/// A tenant that makes a link of a file or of its folder.
#[test]
fn links_of_a_tenant_are_not_followed() {
    let path = format!("{TARGET}/sub/site.conf");
    let bench = bench("true", [file(&path, "own\n")]);
    let victim = format!("{HOST}/site.conf");
    let intact = |why: &str| {
        assert_eq!(
            fs::read_to_string(&victim).unwrap(),
            "the host's\n",
            "{why}"
        );
        assert_eq!(look(&victim), (0, 0, 0o644), "{why}");
    };
    // The file: it is replaced, and what it led to is not touched.
    let stored = format!("{DATASTORE}/sub/site.conf");
    create_dir_all(format!("{DATASTORE}/sub")).unwrap();
    symlink(&victim, &stored).unwrap();
    symlink(&victim, format!("{DATASTORE}/sub/.site.conf.tenantd-new")).unwrap();
    bench.rehearse().unwrap();
    assert_eq!(bench.output(), "");
    assert_eq!(fs::read_to_string(&stored).unwrap(), "own\n");
    intact("a link");
    // Another name of a file that it may not write to.
    fs::remove_file(&stored).unwrap();
    write_file(format!("{DATASTORE}/other"), "own\n", 0o640);
    chown(format!("{DATASTORE}/other"), Some(0), Some(1000)).unwrap();
    fs::hard_link(format!("{DATASTORE}/other"), &stored).unwrap();
    assert_eq!(bench.output(), "");
    let links = |path: &str| std::os::unix::fs::MetadataExt::nlink(&fs::metadata(path).unwrap());
    assert_eq!(links(&stored), 1);
    // A FIFO, which nobody writes to.
    fs::remove_file(&stored).unwrap();
    nix::unistd::mkfifo(stored.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(bench.output(), "");
    assert_eq!(fs::read_to_string(&stored).unwrap(), "own\n");
    // The folder: absolute, and relative to what the tenant sees.
    for to in [HOST, "../../../../log/tenantd/conf", "/proc/self/root"] {
        fs::remove_dir_all(format!("{DATASTORE}/sub"))
            .or_else(|_| fs::remove_file(format!("{DATASTORE}/sub")))
            .unwrap();
        symlink(to, format!("{DATASTORE}/sub")).unwrap();
        for why in [bench.failure(), bench.rehearse().unwrap_err().to_string()] {
            let expected = format!("cannot write the file {path}: ");
            assert!(why.starts_with(&expected) && why.contains("ELOOP"), "{why}");
        }
        intact(to);
    }
    // A folder in the place of the file.
    fs::remove_file(format!("{DATASTORE}/sub")).unwrap();
    create_dir_all(&stored).unwrap();
    for why in [bench.failure(), bench.rehearse().unwrap_err().to_string()] {
        assert_eq!(
            why,
            format!(
                "cannot write the file {path}: Is a directory (EISDIR) [a folder has its name: \
                 remove or rename that one]"
            )
        );
    }
}

#[test]
fn a_rehearsal_writes_nothing() {
    let path = format!("{TARGET}/site.conf");
    let bench = bench("true", [file(&path, ""), file(&format!("{HOST}/a"), "")]);
    bench.rehearse().unwrap();
    assert_eq!(fs::read_dir(DATASTORE).unwrap().count(), 0);
    drop(bench.run().unwrap());
    assert_eq!(look(format!("{DATASTORE}/site.conf")), (0, 1000, 0o640));
}

#[test]
fn a_file_that_cannot_be_there_is_refused_before() {
    let mut bench = bench("true", []);
    for (path, why) in [
        (
            "/etc/no-such-folder/conf",
            "cannot write the file /etc/no-such-folder/conf: No such file or directory (ENOENT) \
             [its folder must exist on the host: create it, or install the program]",
        ),
        (
            "/mnt/conf/other/below",
            "cannot write the file /mnt/conf/other/below: Not a directory (ENOTDIR)",
        ),
        (
            "/mnt/link/site.conf",
            "cannot write the file /mnt/link: Too many symbolic links encountered \
             (ELOOP) [symbolic links are not allowed here: use the real path]",
        ),
    ] {
        let _made_before = symlink(HOST, "/mnt/link");
        bench.launch.files = vec![file(path, "")].into();
        assert_eq!(bench.rehearse().unwrap_err().to_string(), why);
        assert_eq!(bench.failure(), why);
    }
}

#[test]
fn a_missing_folder_and_a_file_can_have_the_same_parent() {
    let script = format!("cat {HOST}/site.conf; touch {HOST}/data/x; ls {HOST}");
    let site = format!("{HOST}/site.conf");
    let mut bench = bench(&script, [file(&site, "own\n")]);
    bench.datastore.target = Some(Path::new(HOST).join("data").into());
    assert_eq!(bench.output(), "own\ndata\nother\nsite.conf\n");
    assert!(Path::new(DATASTORE).join("x").exists());
    assert!(!Path::new(HOST).join("data").exists());
}
