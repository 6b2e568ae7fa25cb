//! Moves of datastores that are subvolumes of btrfs, by snapshots, and what is copied by rsync in their place.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use tenantd_api::wire::StateWord;

use super::attacked::{disk, shell};
use super::hosts::{Both, Second, manifest, tenants};
use super::{is_killed_and_finished, named};
use crate::support::daemon::{Daemon, PROGRAM};
use crate::support::place::{self, folder, script};

/// Crash points of a move by snapshots, and whether the datastore is handed over at each.
const POINTS: [(&str, bool); 6] = [
    ("move: snapshot made", false),
    ("move: snapshot made#2", false),
    ("move: snapshot received", false),
    ("move: snapshot noted", false),
    ("move: copy made", false),
    ("move: handed over", true),
];

/// Those of this module alone.
pub(super) fn points() -> impl Iterator<Item = &'static str> {
    [0, 2, 3, 4].into_iter().map(|number| POINTS[number].0)
}

/// Two hosts whose datastores are on btrfs.
fn hosts(names: &[String], known_there: &[String]) -> Both {
    place::host();
    folder("/srv/data");
    folder("/srv/acks");
    disk("first", "");
    let first = Daemon::start(&manifest(&tenants(names)));
    let second = Second::boot(&first.app, &manifest(&tenants(known_there)));
    let both = Both { first, second };
    disk("second", &both.within());
    both
}

/// Nothing of the move is left beside the datastores of either host.
#[track_caller]
fn nothing_is_left(both: &Both, tenant: &str) {
    let here = format!("/var/lib/tenantd/{}", both.first.app);
    for folder in [Path::new(&here), both.there(tenant).parent().unwrap()] {
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                !name.starts_with(&format!(".{tenant}.")),
                "{folder:?}: {name}"
            );
        }
    }
}

#[test]
fn a_subvolume_moves_by_snapshots_with_all_that_its_files_have() {
    let both = hosts(&named(&["acme", "bolt"]), &[]);
    both.up("acme");
    let data = format!("/var/lib/tenantd/{}/acme", both.first.app);
    let data = Path::new(&data);
    shell(&format!(
        "cd {}; head -c 20000000 /dev/urandom >large; truncate -s 30M holes; echo x >>holes; echo one >a; ln a b; mkfifo pipe
         mkdir -m 2751 in; echo y >in/file; chown 5:6 in/file; touch -d @1000 in/file; ln -s ../a in/link",
        data.display()
    ));
    for (name, value) in [("user.note", "kept"), ("security.note", "kept too")] {
        setxattr(data.join("a"), name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    let told = both.move_with(&["acme", "h2", "--dry-run"], "").expect(0);
    assert!(
        told.contains("btrfs send over") && told.contains("both hosts have btrfs"),
        "{told}"
    );
    let told = both.move_with(&["acme", "h2", "--dry-run", "--transport", "rsync"], "");
    assert!(
        told.out.contains("rsync over") && told.out.contains("(--transport rsync)"),
        "{told:?}"
    );
    assert!(!both.there("acme").exists());

    // It is written to until the stop, so the last snapshot differs from the first one. What was sent is not sent again.
    for (step, sent) in [("snapshot", ""), ("seal", "round 1: a snapshot, 20.")] {
        fs::write("/srv/broken", step).unwrap();
        let said = both.move_with(&["acme", "h2"], "");
        let is_so = said.code == 1 && said.err.contains("h2: broken") && said.out.contains(sent);
        assert!(is_so, "{step}: {said:?}");
        assert_eq!(both.first.tenant("acme").state, StateWord::Up, "{step}");
    }
    fs::remove_file("/srv/broken").unwrap();
    let said = both.moved("acme");
    for word in ["round 1: a snapshot, 0.", "last round: a snapshot, 0."] {
        assert!(said.contains(word), "{word}: {said}");
    }
    has_the_same(&both, "acme");
    both.is_whole("acme");
    nothing_is_left(&both, "acme");
    // Only the record of this host is there, and the folder can be written to.
    let there = both.there("acme");
    let mut list = [0; 1024];
    let length = listxattr(&there, &mut list[..]).unwrap();
    assert_eq!(&list[..length], b"trusted.tenantd.owner\0");
    assert_eq!(fs::metadata(&there).unwrap().ino(), 256);
    fs::write(there.join("new"), "").unwrap();
    comes_back(&both, "acme");

    is_copied_by_rsync_where_it_must(&both, "bolt");
    both.end();
}

/// It moves to the first host again, where its datastore is another subvolume than before.
#[track_caller]
fn comes_back(both: &Both, tenant: &str) {
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    let pid = both.first.pid();
    let rsh = script(
        "back",
        &format!(
            "shift; export PATH={programs}:$PATH\nexec nsenter -t {pid} -n -m -u -C sh -c \"$*\""
        ),
    );
    let said = both.second.tell(&format!("move --rsh {rsh} {tenant} h1"));
    let is_so = said.code == 0 && said.out.contains("last round: a snapshot, 20.");
    assert!(is_so, "{said:?}");
    both.first.tell(&["start", tenant]).expect(0);
    both.first.tell(&["stop", tenant]).expect(0);
}

/// The files that were made for it are the same on both hosts, with owners, modes, times, names and attributes.
#[track_caller]
fn has_the_same(both: &Both, tenant: &str) {
    let there = both.there(tenant);
    let of = |path: &Path| {
        let it = fs::symlink_metadata(path).unwrap();
        (
            it.mode(),
            it.uid(),
            it.gid(),
            it.mtime(),
            it.nlink(),
            it.size(),
        )
    };
    let kept = both.kept(tenant);
    for name in [
        "large", "holes", "a", "b", "pipe", "in", "in/file", "in/link",
    ] {
        assert_eq!(of(&kept.join(name)), of(&there.join(name)), "{name}");
        if kept.join(name).is_file() {
            assert!(fs::read(kept.join(name)).unwrap() == fs::read(there.join(name)).unwrap());
        }
    }
    assert!(fs::metadata(there.join("holes")).unwrap().blocks() < 100);
    for (name, value) in [("user.note", "kept"), ("security.note", "kept too")] {
        let mut bytes = [0; 64];
        let length = getxattr(there.join("b"), name, &mut bytes[..]).unwrap();
        assert_eq!(&bytes[..length], value.as_bytes());
    }
}

/// Has the second host count each extent for its writer. Whether the kernel can.
fn has_simple_quotas(within: &str) -> bool {
    let on = "import fcntl, os, struct, sys
fcntl.ioctl(os.open('/var/lib/tenantd', os.O_RDONLY), 0xc0109428, struct.pack('QQ', 4, 0))";
    shell(&format!("{within} btrfs quota disable /var/lib/tenantd"));
    let words: Vec<&str> = within.split(' ').collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["python3", "-c", on]);
    let is_on = command.output().unwrap().status.success();
    if !is_on {
        shell(&format!("{within} btrfs quota enable /var/lib/tenantd"));
    }
    is_on
}

/// What cannot be sent, or not be received, is copied, and --transport btrfs is refused.
fn is_copied_by_rsync_where_it_must(both: &Both, tenant: &str) {
    both.up(tenant);
    let data = format!("/var/lib/tenantd/{}/{tenant}", both.first.app);
    let because = |why: &str| {
        let told = both.move_with(&[tenant, "h2", "--dry-run"], "").expect(0);
        assert!(
            told.contains("rsync over") && told.contains(why),
            "{why}: {told}"
        );
        let refused = both.move_with(&[tenant, "h2", "--transport", "btrfs"], "");
        let is_refused = refused.err.contains("--transport btrfs is not possible");
        assert!(
            refused.code == 1 && is_refused && refused.err.contains(why),
            "{refused:?}"
        );
        assert_eq!(both.first.tenant(tenant).state, StateWord::Up);
    };
    let within = both.within();
    shell(&format!(
        "{within} mount -n --bind /srv/machine-id /usr/bin/btrfs"
    ));
    because("h2: cannot execute btrfs: Permission denied");
    shell(&format!("{within} umount -n /usr/bin/btrfs"));
    shell(&format!(
        "{within} mount -n -t tmpfs tmpfs /var/lib/tenantd"
    ));
    because("h2: /var/lib/tenantd is not on btrfs");
    shell(&format!("{within} umount -n /var/lib/tenantd"));
    // Linux 6.7 has them.
    if has_simple_quotas(&within) {
        because(" has simple quotas, which do not count what a snapshot has");
        shell(&format!(
            "{within} btrfs quota disable /var/lib/tenantd; {within} btrfs quota enable /var/lib/tenantd"
        ));
    }
    // Made while it is copied: it would be missing in the copy.
    fs::write("/srv/hook", format!("btrfs subvolume create {data}/inner")).unwrap();
    let rsh = format!(
        "case \"$*\" in *' snapshot '*) [ -e /srv/hook ] && sh /srv/hook >&2; rm -f /srv/hook;; esac\nexec {} \"$@\"",
        both.second.rsh
    );
    let rsh = script("hooked", &rsh);
    let said = both.move_by(&rsh, &[tenant, "h2"], "");
    let words = super::words(&said.err);
    assert!(
        said.code == 1
            && words.contains("has subvolumes in it")
            && words.contains("runs here again"),
        "{said:?}"
    );
    let undone = both.move_with(&[tenant, "h2", "--undo"], "");
    assert_eq!(undone.code, 0, "{undone:?}");
    nothing_is_left(both, tenant);
    fs::write(format!("{data}/inner/file"), "of a subvolume").unwrap();
    because("has subvolumes in it, which are no part of a snapshot");
    let said = both.moved(tenant);
    assert!(said.contains(" files, "), "{said}");
    let inner = both.there(tenant).join("inner/file");
    assert_eq!(fs::read_to_string(inner).unwrap(), "of a subvolume");
    both.is_whole(tenant);
    nothing_is_left(both, tenant);
}

#[test]
fn a_move_by_snapshots_that_was_killed_is_finished_by_the_next() {
    let names: Vec<String> = (0..POINTS.len())
        .map(|number| format!("s{number}"))
        .collect();
    let both = hosts(&names, &names);
    std::thread::scope(|each| {
        for (name, (point, is_over)) in names.iter().zip(POINTS) {
            let both = &both;
            each.spawn(move || {
                is_killed_and_finished(both, name, point, is_over);
                nothing_is_left(both, name);
            });
        }
    });
    both.end();
}
