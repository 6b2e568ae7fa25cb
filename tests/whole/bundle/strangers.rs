//! What a bundle, the entry in it, a tenant or a user of the host would do with the rights of root.

use std::os::unix::fs::FileTypeExt;

use rustix::fs::{OFlags, makedev, mkdirat, openat};

use super::*;

#[test]
fn the_entry_of_a_bundle_names_nothing_of_the_host() {
    place::host();
    place::folder("/srv/data");
    place::folder("/srv/etc");
    fs::write("/srv/secret", "s").unwrap();
    let for_root = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions("/srv/secret", for_root).unwrap();
    let keys = "ip = \"10.77.0.11\", datastore = \"/srv/etc/planted\", user = \"daemon\", \
                secrets = { token = \"/srv/secret\" }";
    let tenants = format!("acme = {{ {keys} }}\n");
    let daemon = Daemon::start(&manifest("daemon", "10.77.0.0/24", &tenants));
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    fs::write("/srv/etc/planted/override.conf", "x").unwrap();
    daemon.tell(&["export", "acme", "--to", BUNDLE]).expect(0);
    daemon.end();
    fs::rename("/srv/etc/planted", "/srv/exported").unwrap();

    let config = write_manifest("second", &manifest("bin", "10.77.0.0/24", ""));
    let before = fs::read_to_string(&config).unwrap();
    let (code, said) = import(&config);
    assert!(
        code == 1 && said.contains("`user`, `secrets`, `datastore`"),
        "{said}"
    );
    assert!(!Path::new("/srv/etc/planted").exists());
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
    // What the operator writes is the operator's.
    let config = write_manifest("second", &manifest("bin", "10.77.0.0/24", &tenants));
    let (code, said) = import(&config);
    assert_eq!(code, 0, "{said}");
    assert!(Path::new("/srv/etc/planted/override.conf").exists());
}

/// Makes folders in folders, also where their path is longer than the kernel takes.
fn nest(data: &Path, name: &str, number: usize) {
    let mut folder = fs::File::open(data).unwrap();
    for _ in 0..number {
        mkdirat(&folder, name, Mode::RWXU).unwrap();
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        folder = openat(&folder, name, flags, Mode::empty()).unwrap().into();
    }
}

#[test]
fn a_datastore_is_exported_if_it_can_be_imported_however_deep_it_is() {
    let (daemon, data) = exported();
    let deep = "n".repeat(100);
    nest(&data, &deep, 50);
    let said = daemon.tell(&["export", "acme", "--to", "/srv/other"]);
    assert!(
        said.code == 1 && said.err.contains("longer than 4095 bytes"),
        "{said:?}"
    );
    fs::rename(data.join(&deep), "/srv/deep").unwrap_or_else(|_| {
        run(Command::new("rm").arg("-rf").arg(data.join(&deep))).expect(0);
    });
    nest(&data, "d", 300);
    daemon.tell(&["export", "acme", "--to", BUNDLE]).expect(0);
    daemon.end();
    let config = write_manifest("second", &manifest("bin", "10.77.0.0/24", ""));
    let few = format!(
        "ulimit -Sn 100; exec {PROGRAM} import {BUNDLE} --config {}",
        config.display()
    );
    run(Command::new("sh").args(["-c", &few])).expect(0);
    let last = Path::new(TARGET).join("d/".repeat(300));
    assert!(last.is_dir());
}

#[test]
fn an_export_replaces_no_device_and_follows_no_link_of_others() {
    let (daemon, _) = exported();
    let device = Path::new("/srv/null");
    let kind = FileType::CharacterDevice;
    mknodat(CWD, device, kind, Mode::RUSR | Mode::WUSR, makedev(1, 3)).unwrap();
    daemon
        .tell(&["export", "acme", "--to", "/srv/null"])
        .expect(0);
    let there = fs::symlink_metadata(device).unwrap().file_type();
    assert!(there.is_char_device(), "{there:?}");

    fs::write("/srv/victim", "precious").unwrap();
    symlink("/srv/victim", "/srv/.other.part").unwrap();
    daemon
        .tell(&["export", "acme", "--to", "/srv/other"])
        .expect(0);
    assert_eq!(fs::read_to_string("/srv/victim").unwrap(), "precious");
    assert!(fs::symlink_metadata("/srv/other").unwrap().is_file());
    daemon.end();
}
