//! A tenant as one stream: exported, checked, and imported elsewhere.

mod strangers;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, PROGRAM, run, tenantd, write_manifest};
use crate::support::place::{self, SRV, script};

const BUNDLE: &str = "/srv/acme.tenantd";

/// Where the second application has the tenant.
const TARGET: &str = "/var/lib/tenantd/second/acme";

fn manifest(user: &str, subnet: &str, tenants: &str) -> String {
    let program = script(&format!("program-{user}"), "exec sleep 1000");
    format!(
        "[app]\nname = \"APP\"\nuser = \"{user}\"\ncommand = [\"{program}\"]\ndatastore.path = \"/srv/data\"\n\
         [network]\nsubnet = \"{subnet}\"\n[defaults]\nautostart = false\n[tenants]\n{tenants}"
    )
}

/// An access control list that also lets the user 1 read.
fn acl() -> Vec<u8> {
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, right, id) in [
        (0x01u16, 6u16, u32::MAX),
        (0x02, 4, 1),
        (0x04, 4, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(right.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// Fills a datastore with one of each kind, of the user 1.
fn fill(data: &Path) {
    let flags = XattrFlags::empty();
    let holes = File::create(data.join("holes")).unwrap();
    holes.set_len(1 << 30).unwrap();
    holes.write_all_at(b"middle", 500 << 20).unwrap();
    let folder = data.join("folder\nwith a line");
    fs::create_dir(&folder).unwrap();
    let long = folder.join("n".repeat(200));
    fs::write(&long, vec![7; 300_000]).unwrap();
    fs::hard_link(&long, data.join("second name")).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(
        CWD,
        data.join("gone"),
        FileType::CharacterDevice,
        Mode::empty(),
        0,
    )
    .unwrap();
    for name in [
        "holes",
        "link",
        "fifo",
        "second name",
        "folder\nwith a line",
    ] {
        std::os::unix::fs::lchown(data.join(name), Some(1), Some(1)).unwrap();
    }
    let setuid = data.join("set-user-id");
    fs::write(&setuid, "x").unwrap();
    fs::set_permissions(
        &setuid,
        std::os::unix::fs::PermissionsExt::from_mode(0o4755),
    )
    .unwrap();
    let capable = data.join("capable");
    fs::write(&capable, "x").unwrap();
    let net_bind = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setxattr(&capable, "security.capability", &net_bind, flags).unwrap();
    setxattr(&long, "user.note", b"1\n2\n", flags).unwrap();
    setxattr(&long, "system.posix_acl_access", &acl(), flags).unwrap();
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

/// All that a bundle keeps of each entry, with the owners as `owner` says.
fn seen(data: &Path, owner: impl Fn(u32) -> u32) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let names = ["user.note", "security.capability"];
            let said = format!(
                "{:o} {}:{} {} {}.{} {} {} {:?} {:?}",
                meta.mode(),
                owner(meta.uid()),
                owner(meta.gid()),
                if meta.is_dir() { 0 } else { meta.size() },
                meta.mtime(),
                meta.mtime_nsec(),
                if meta.is_dir() { 0 } else { meta.nlink() },
                meta.rdev(),
                fs::read_link(&path).ok(),
                names.map(|name| attribute(&path, name)),
            );
            all.insert(path.strip_prefix(data).unwrap().to_owned(), said);
        }
    }
    all
}

fn import(config: &Path) -> (i32, String) {
    let said = tenantd(&["import", BUNDLE, "--config", config.to_str().unwrap()]);
    (said.code, said.out + &said.err)
}

/// The names below the datastores of the second application.
fn left() -> Vec<PathBuf> {
    let folder = fs::read_dir(Path::new(TARGET).parent().unwrap());
    let entries = folder.into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// A tenant with data, exported.
fn exported() -> (Daemon, PathBuf) {
    place::host();
    place::folder("/srv/data");
    let tenants =
        "acme = { ip = \"10.77.0.11\", environment = { TITLE = \"Acme & Sons\" } } # first\n";
    let daemon = Daemon::start(&manifest("daemon", "10.77.0.0/24", tenants));
    daemon.tell(&["start", "acme"]).expect(0);
    let data = PathBuf::from(format!("/var/lib/tenantd/{}/acme", daemon.app));
    let refused = daemon.tell(&["export", "acme", "--to", BUNDLE]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("tenantd stop acme"), "{refused:?}");
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(!Path::new(BUNDLE).exists());
    fill(&data);
    let said = daemon.tell(&["export", "acme", "--to", BUNDLE]);
    assert_eq!(said.code, 0, "{said:?}");
    (daemon, data)
}

/// The content, holes, names and access control list of what was imported for the user 2.
fn is_whole(target: &Path) {
    let holes = File::open(target.join("holes")).unwrap();
    let mut middle = [0; 6];
    holes.read_exact_at(&mut middle, 500 << 20).unwrap();
    assert_eq!(&middle, b"middle");
    assert!(holes.metadata().unwrap().blocks() < 1000);
    let [one, other] = ["folder\nwith a line", "second name"].map(|name| target.join(name));
    let one = one.join("n".repeat(200));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&one), inode(&other));
    assert_eq!(fs::read(&one).unwrap(), vec![7; 300_000]);
    let mut expected = acl();
    expected[16] = 2;
    assert_eq!(attribute(&one, "system.posix_acl_access"), Some(expected));
}

#[test]
fn a_tenant_is_the_same_after_an_export_and_an_import() {
    let (daemon, data) = exported();
    let size = fs::metadata(BUNDLE).unwrap();
    assert!(
        size.len() < 1 << 20 && size.mode() & 0o777 == 0o600,
        "{size:?}"
    );
    // Other programs can read it.
    run(Command::new("tar").args(["-tf", BUNDLE])).expect(0);
    let said = tenantd(&["import", BUNDLE, "--verify"]).expect(0);
    assert!(
        said.contains(&format!("intact: {}/acme of ", daemon.app)),
        "{said}"
    );

    // Its hub has the address of the second one.
    daemon.end();

    let config = write_manifest("second", &manifest("bin", "10.77.0.0/24", ""));
    // It does not fit: nothing is made.
    let narrow = write_manifest("narrow", &manifest("bin", "10.78.0.0/24", ""));
    let (code, said) = import(&narrow);
    assert_eq!(code, 78, "{said}");
    assert!(!Path::new("/var/lib/tenantd/narrow").exists());

    let (code, said) = import(&config);
    assert_eq!(code, 0, "{said}");
    let target = Path::new(TARGET);
    let mapped = |id| if id == 1 { 2 } else { id };
    assert_eq!(seen(target, |id| id), seen(&data, mapped));
    is_whole(target);
    let root = fs::metadata(target).unwrap();
    assert_eq!(
        (root.uid(), root.mode() & 0o7777),
        (2, fs::metadata(&data).unwrap().mode() & 0o7777)
    );
    assert_eq!(attribute(target, "trusted.tenantd.owner"), None);
    assert_eq!(attribute(target, "trusted.tenantd.import"), None);
    assert_eq!(left(), [target]);
    let text = fs::read_to_string(&config).unwrap();
    let line = "acme = { ip = \"10.77.0.11\", environment = { TITLE = \"Acme & Sons\" } }";
    assert!(text.contains(line), "{text}");

    // What is there is never replaced. Moved away, it is restored, and the entry stays.
    let (code, said) = import(&config);
    assert!(
        code == 1 && said.contains("there is a datastore already"),
        "{said}"
    );
    fs::rename(target, target.with_extension("old")).unwrap();
    let (code, said) = import(&config);
    assert_eq!(code, 0, "{said}");
    assert_eq!(seen(target, |id| id), seen(&data, mapped));
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
    is_imported_beside(&config);
}

/// A copy beside the original has a name and an address of its own.
fn is_imported_beside(config: &Path) {
    let words = ["import", BUNDLE, "--config", config.to_str().unwrap()];
    let with = |more: &[&str]| tenantd(&[&words, more].concat());
    let said = with(&["--as", "copy"]);
    assert_eq!(said.code, 78, "{said:?}");
    let said = with(&["--ip", "10.77.0.12"]);
    assert!(
        said.code == 1 && said.err.contains("--ip would change nothing"),
        "{said:?}"
    );
    with(&["--as", "copy", "--ip", "10.77.0.12"]).expect(0);
    let text = fs::read_to_string(config).unwrap();
    let line = "copy = { ip = \"10.77.0.12\", environment = { TITLE = \"Acme & Sons\" } }";
    assert!(text.contains(line), "{text}");
    is_whole(&Path::new(TARGET).with_file_name("copy"));
}

/// Where users could enter, no file gives privileges.
fn is_refused_where_users_enter(config: &Path) {
    let parent = Path::new(TARGET).parent().unwrap();
    for folder in [parent, Path::new("/var/lib/tenantd")] {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let (code, said) = import(config);
    assert!(code == 1 && said.contains("it gives privileges"), "{said}");
    assert!(left().is_empty());
    fs::set_permissions(parent, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn an_import_that_fails_or_is_killed_leaves_nothing_for_the_next_one() {
    let (daemon, data) = exported();
    daemon.end();
    let config = write_manifest("second", &manifest("bin", "10.77.0.0/24", ""));
    let before = fs::read_to_string(&config).unwrap();
    let whole = fs::read(BUNDLE).unwrap();
    let config_text = config.to_str().unwrap();
    for length in [700, whole.len() / 2, whole.len() - 2048] {
        let mut killed = Command::new(PROGRAM)
            .args(["import", "-", "--config", config_text])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // More than a pipe and the buffer of the command hold has been read by it then.
        killed
            .stdin
            .as_mut()
            .unwrap()
            .write_all(&whole[..length])
            .unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(!Path::new(TARGET).exists());
        assert_eq!(fs::read_to_string(&config).unwrap(), before);
    }
    // A part of it, and one with a changed byte of a file.
    let at = whole.windows(64).position(|part| part == [7; 64]).unwrap();
    let mut changed = whole.clone();
    changed[at] = 8;
    for (bytes, why) in [
        (&whole[..whole.len() / 2], "the bundle is incomplete"),
        (&changed[..], "the bundle is damaged: data/"),
    ] {
        fs::write(BUNDLE, bytes).unwrap();
        let (code, said) = import(&config);
        assert!(code == 1 && said.contains(why), "{said}");
        assert_eq!(left(), [] as [&Path; 0]);
    }
    fs::write(BUNDLE, &whole).unwrap();

    is_refused_where_users_enter(&config);
    let (code, said) = import(&config);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        seen(Path::new(TARGET), |id| id).len(),
        seen(&data, |id| id).len()
    );
}

#[test]
fn a_device_is_not_exported() {
    let (daemon, data) = exported();
    let device = data.join("device");
    mknodat(
        CWD,
        &device,
        FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    let said = daemon.tell(&["export", "acme", "--to", "/srv/other"]);
    assert!(
        said.code == 1 && said.err.contains("it is a device"),
        "{said:?}"
    );
    let parts = fs::read_dir(SRV).unwrap().flatten();
    let parts = parts.filter(|entry| entry.file_name().as_bytes().ends_with(b".part"));
    assert_eq!(parts.count(), 0);
    daemon.end();
}
