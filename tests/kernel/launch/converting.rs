//! Datastores with one folder that get several, and folders over those of the host.

use std::fs::{self, Permissions, create_dir, create_dir_all, set_permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};

use nix::mount::{MsFlags, mount, umount};
use tenantd_core::plan::model::{FolderPlan, Seed};

use crate::launch::bench::{Bench, TARGET, write_file};
use crate::launch::folders::{folder, look};

const DATASTORE: &str = "/var/lib/tenantd/wiki/acme";

fn below(path: &str) -> String {
    format!("{DATASTORE}{path}")
}

fn names(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mount_tmpfs(path: &str) {
    let none = MsFlags::empty();
    mount(Some("test"), path, Some("tmpfs"), none, None::<&str>).unwrap();
}

/// A bench with a plain datastore that has data, and with `/run/one` as a new folder in its plan.
fn plain() -> Bench {
    let mut bench = Bench::new();
    set_permissions(DATASTORE, Permissions::from_mode(0o2770)).unwrap();
    write_file(below("/file"), "kept\n", 0o640);
    create_dir(below("/inner")).unwrap();
    create_dir(below("/.hidden")).unwrap();
    create_dir("/run/one").unwrap();
    bench.datastore.folders = [folder("/run/one", Seed::Empty)].into();
    bench
}

#[test]
fn a_plain_datastore_is_converted() {
    let mut bench = plain();
    chown(DATASTORE, Some(1000), Some(77)).unwrap();
    bench.set_script("cat /run/expected/file; ls -A /run/expected /run/one");
    assert_eq!(
        bench.output(),
        "kept\n/run/expected:\n.hidden\nfile\ninner\n\n/run/one:\n"
    );
    assert_eq!(look(DATASTORE), (0, 0, 0o700));
    assert_eq!(look(below(TARGET)), (1000, 77, 0o2770));
    assert_eq!(names(DATASTORE), [".tenantd", "run"]);
}

#[test]
fn without_folders_a_plain_datastore_stays_plain() {
    let mut bench = plain();
    bench.datastore.folders = [].into();
    // A tenant may have a folder with our name; it has no meaning.
    create_dir(below("/.tenantd")).unwrap();
    chown(below("/.tenantd"), Some(1000), Some(1000)).unwrap();
    write_file(
        below("/.tenantd/layout"),
        "{\"version\":1,\"folders\":{}}",
        0o644,
    );
    drop(bench.run().unwrap());
    assert_eq!(names(DATASTORE), [".hidden", ".tenantd", "file", "inner"]);
    assert_eq!(look(DATASTORE), (1000, 1000, 0o2770));
    // Only a conversion would need the name.
    bench.datastore.folders = [folder("/run/one", Seed::Empty)].into();
    let why = bench.failure();
    assert!(
        why.contains("/acme/.tenantd: File exists (EEXIST): it is not a folder of root"),
        "{why}"
    );
    assert_eq!(names(DATASTORE), [".hidden", ".tenantd", "file", "inner"]);
}

#[test]
fn an_entry_that_cannot_be_moved_is_named_and_nothing_is_changed() {
    let bench = plain();
    mount_tmpfs(&below("/inner"));
    let expected = "cannot prepare the datastore /var/lib/tenantd/wiki/acme/inner: it cannot be \
                    moved for `folders`, nothing was changed: something is mounted on it: unmount \
                    it, and mount it at its new place after the next start";
    assert_eq!(bench.failure(), expected);
    assert_eq!(names(DATASTORE), [".hidden", ".tenantd", "file", "inner"]);
    assert_eq!(look(DATASTORE), (1000, 1000, 0o2770));
    umount(below("/inner").as_str()).unwrap();
    drop(bench.run().unwrap());
    assert_eq!(names(&below(TARGET)), [".hidden", "file", "inner"]);
}

#[test]
fn a_plain_datastore_whose_path_is_not_known_is_refused() {
    let mut bench = plain();
    bench.datastore.target = None;
    let why = bench.failure();
    assert!(
        why.contains("set `path` in [app.datastore] to it, beside `folders`"),
        "{why}"
    );
    assert_eq!(names(DATASTORE), [".hidden", ".tenantd", "file", "inner"]);
    // Without data, there is nothing to ask for.
    fs::remove_dir(below("/.hidden")).unwrap();
    fs::remove_dir(below("/inner")).unwrap();
    fs::remove_file(below("/file")).unwrap();
    drop(bench.run().unwrap());
    assert_eq!(names(DATASTORE), [".tenantd", "run"]);
}

#[test]
fn the_path_of_a_plain_datastore_is_remembered() {
    let mut bench = plain();
    let (app, tenant) = ("wiki".parse().unwrap(), "acme".parse().unwrap());
    tenantd_host::datastore::claim(&app, &tenant, &bench.datastore).unwrap();
    // `folders` instead of `path`.
    bench.datastore.target = None;
    bench.datastore.folders = [folder(TARGET, Seed::Empty), folder("/run/one", Seed::Empty)].into();
    bench.set_script("cat /run/expected/file; ls -A /run/one");
    assert_eq!(bench.output(), "kept\n");
    assert_eq!(names(&below(TARGET)), [".hidden", "file", "inner"]);
}

#[test]
fn a_conversion_is_completed_without_folders_too() {
    let mut bench = plain();
    // As a supervisor that was killed leaves it, when the manifest was put back then.
    create_dir_all(below("/.tenantd/converting")).unwrap();
    set_permissions(below("/.tenantd"), Permissions::from_mode(0o700)).unwrap();
    fs::rename(below("/file"), below("/.tenantd/converting/file")).unwrap();
    bench.datastore.folders = [].into();
    bench.set_script("ls -A /run/expected");
    // The folder was not given to the tenant in this test.
    set_permissions(below("/.tenantd/converting"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(bench.output(), ".hidden\nfile\ninner\n");
    assert_eq!(names(DATASTORE), [".tenantd", "run"]);
}

#[test]
fn a_mark_that_cannot_be_read_fails_the_launch() {
    let bench = plain();
    drop(bench.run().unwrap());
    for text in ["", "{\"version\":2,\"folders\":{}}"] {
        write_file(below("/.tenantd/layout"), text, 0o600);
        let why = bench.failure();
        assert!(
            why.contains("/.tenantd/layout: ") && why.contains("cannot read it"),
            "{why}"
        );
    }
    fs::remove_file(below("/.tenantd/layout")).unwrap();
    nix::unistd::mkfifo(
        below("/.tenantd/layout").as_str(),
        nix::sys::stat::Mode::S_IRUSR,
    )
    .unwrap();
    assert!(bench.failure().contains("/.tenantd/layout: "));
}

/// A bench with a folder over the host's `/run/conf`, which has the files `a`, `b` and `c`.
fn overlay(more: FolderPlan) -> Bench {
    let mut bench = Bench::new().for_root();
    fs::remove_dir(DATASTORE).unwrap();
    create_dir("/run/conf").unwrap();
    chown("/run/conf", Some(0), Some(9)).unwrap();
    set_permissions("/run/conf", Permissions::from_mode(0o1775)).unwrap();
    for name in ["a", "b", "c"] {
        write_file(format!("/run/conf/{name}"), "host\n", 0o644);
    }
    bench.datastore.target = None;
    bench.datastore.folders = [more].into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    bench
}

#[test]
fn an_overlay_has_the_hosts_files_and_the_tenants_changes() {
    let mut bench = overlay(folder("/run/conf", Seed::Overlay));
    bench.set_script("cd /run/conf; cat a b c; echo own > a; rm b; echo new > d");
    assert_eq!(bench.output(), "host\nhost\nhost\n");
    // The host has none of it, and what it changes arrives with the next launch.
    assert_eq!(names("/run/conf"), ["a", "b", "c"]);
    assert_eq!(fs::read_to_string("/run/conf/a").unwrap(), "host\n");
    for name in ["a", "b", "c", "e"] {
        write_file(format!("/run/conf/{name}"), "newer\n", 0o644);
    }
    bench.set_script("cd /run/conf; head *");
    assert_eq!(
        bench.output(),
        "==> a <==\nown\n\n==> c <==\nnewer\n\n==> d <==\nnew\n\n==> e <==\nnewer\n"
    );
    let upper = below("/run/conf");
    assert_eq!(names(&upper), ["a", "b", "d"]);
    assert!(
        fs::symlink_metadata(below("/run/conf/b"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert_eq!(look(&upper), (0, 9, 0o1775));
    assert_eq!(look(below("/.tenantd")), (0, 0, 0o700));
}

#[test]
fn options_of_an_overlay_are_set_explicitly() {
    let bench = overlay(folder("/run/conf", Seed::Overlay));
    let mounts = bench.run().unwrap().proc("mountinfo");
    let line = mounts
        .lines()
        .find(|line| line.contains(" /run/conf "))
        .unwrap();
    assert!(line.contains(" - overlay tenantd rw,"), "{line}");
    assert!(line.contains("nosuid,nodev"), "{line}");
    assert!(
        !line.contains("volatile") && !line.contains("userxattr"),
        "{line}"
    );
}

#[test]
fn a_folder_stays_what_it_was_made_as() {
    let mut bench = overlay(folder("/run/conf", Seed::Overlay));
    bench.set_script("rm /run/conf/b");
    bench.output();
    bench.datastore.folders = [folder("/run/conf", Seed::Copy)].into();
    bench.set_script("ls /run/conf");
    assert_eq!(bench.output(), "a\nc\n");
    // The other way round.
    bench.datastore.folders = [folder("/run/own", Seed::Copy)].into();
    create_dir("/run/own").unwrap();
    bench.set_script(":");
    bench.output();
    write_file("/run/own/later", "", 0o644);
    bench.datastore.folders = [folder("/run/own", Seed::Overlay)].into();
    bench.set_script("ls /run/own");
    assert_eq!(bench.output(), "");
}

#[test]
fn an_overlay_on_an_overlay_is_refused_with_what_to_do() {
    let mut bench = overlay(folder("/run/conf", Seed::Overlay));
    for name in ["lower", "upper", "work", "all"] {
        create_dir_all(format!("/run/container/{name}")).unwrap();
    }
    let options = "lowerdir=/run/container/lower,upperdir=/run/container/upper,\
                   workdir=/run/container/work";
    let none = MsFlags::empty();
    mount(
        Some("o"),
        "/run/container/all",
        Some("overlay"),
        none,
        Some(options),
    )
    .unwrap();
    bench.datastore.source = "/run/container/all/acme".into();
    create_dir("/run/container/all/acme").unwrap();
    let why = bench.failure();
    assert!(
        why.starts_with("cannot prepare the datastore /run/container/all/acme/run/conf: "),
        "{why}"
    );
    assert!(why.contains("use seed = \"copy\""), "{why}");
    bench.datastore.folders = [folder("/run/more", Seed::Copy)].into();
    create_dir("/run/more").unwrap();
    drop(bench.run().unwrap());
    let device = |path: &str| fs::metadata(path).unwrap().dev();
    assert_eq!(
        device("/run/container/all"),
        device("/run/container/all/acme/run/more")
    );
}
/// A tenant that runs as root can write a mark into its plain datastore. It leads only itself astray.
#[test]
fn a_mark_that_a_tenant_forged_reaches_nothing_outside() {
    let bench = plain().for_root();
    create_dir(below("/.tenantd")).unwrap();
    set_permissions(below("/.tenantd"), Permissions::from_mode(0o700)).unwrap();
    create_dir("/run/outside").unwrap();
    let marks = [
        "/../../../../../../run/outside/new",
        "/../../../../../../run/outside",
        "/..",
        "/link/new",
    ];
    std::os::unix::fs::symlink("/run/outside", below("/link")).unwrap();
    for path in marks {
        fs::create_dir_all(below("/.tenantd/converting")).unwrap();
        let text = format!("{{\"version\":1,\"folders\":{{{path:?}:\"overlay\"}}}}");
        write_file(below("/.tenantd/layout"), &text, 0o600);
        let why = bench.failure();
        assert!(
            why.starts_with("cannot prepare the datastore "),
            "{path}: {why}"
        );
        assert!(names("/run/outside").is_empty(), "{path}");
    }
    // Links in place of what tenantd makes there are not followed either.
    fs::remove_file(below("/.tenantd/layout")).unwrap();
    fs::remove_dir(below("/.tenantd/converting")).unwrap();
    for name in ["preparing", "converting", "layout", "layout.new"] {
        write_file("/run/outside/file", "kept", 0o644);
        std::os::unix::fs::symlink("/run/outside/file", below(&format!("/.tenantd/{name}")))
            .unwrap();
        let why = bench.failure();
        assert!(
            why.starts_with("cannot prepare the datastore "),
            "{name}: {why}"
        );
        assert_eq!(
            fs::read_to_string("/run/outside/file").unwrap(),
            "kept",
            "{name}"
        );
        fs::remove_file(below(&format!("/.tenantd/{name}"))).unwrap();
    }
}

/// What a conversion would refuse is known before, without a change.
#[test]
fn a_rehearsal_finds_what_a_conversion_would_refuse() {
    let mut bench = plain();
    bench.datastore.target = None;
    let said = |bench: &Bench| match bench.rehearse() {
        Ok(()) => String::new(),
        Err(why) => why.to_string(),
    };
    assert!(
        said(&bench).contains("set `path` in [app.datastore] to it"),
        "{}",
        said(&bench)
    );
    bench.datastore.target = Some(std::path::Path::new(TARGET).into());
    mount_tmpfs(&below("/inner"));
    assert!(
        said(&bench).contains("/acme/inner: it cannot be moved"),
        "{}",
        said(&bench)
    );
    umount(below("/inner").as_str()).unwrap();
    assert_eq!(said(&bench), "");
    assert_eq!(names(DATASTORE), [".hidden", "file", "inner"]);
}

#[test]
fn the_root_of_a_converted_datastore_is_closed_again() {
    let bench = plain();
    drop(bench.run().unwrap());
    assert_eq!(look(DATASTORE), (0, 0, 0o700));
    set_permissions(DATASTORE, Permissions::from_mode(0o755)).unwrap();
    chown(DATASTORE, Some(1000), Some(1000)).unwrap();
    drop(bench.run().unwrap());
    assert_eq!(look(DATASTORE), (0, 0, 0o700));
}
