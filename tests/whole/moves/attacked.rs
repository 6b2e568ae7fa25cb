//! Data and hosts that a move could get wrong: files with several names, quotas, and a host that another move is to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use tenantd_api::wire::StateWord;
use tenantd_host::relocation;

use super::hosts::{Both, Second, manifest};
use super::named;
use crate::support::daemon::Daemon;
use crate::support::place::{self, folder, script};

#[track_caller]
pub(super) fn shell(text: &str) {
    let output = Command::new("sh").args(["-ec", text]).output().unwrap();
    assert!(output.status.success(), "{text}: {output:?}");
}

/// What is in these files of a datastore, and how many names each has.
fn files(data: &Path) -> Vec<(String, u64)> {
    let of = |name: &str| {
        let path = data.join(name);
        let text = fs::read_to_string(&path).unwrap();
        (text, fs::metadata(&path).unwrap().nlink())
    };
    ["a", "b", "c", "d", "e", "f"].map(of).into()
}

#[test]
fn files_that_are_one_no_longer_keep_what_each_has() {
    let mut both = Both::start(&named(&["acme"]), &[]);
    both.up("acme");
    let data = format!("/var/lib/tenantd/{}/acme", both.first.app);
    let data = Path::new(&data);
    let within = format!("cd {}", data.display());
    shell(&format!(
        "{within}; for it in a c e; do echo $it-one >$it; done; ln a b; ln c d; ln e f"
    ));
    // Between the first round and the last one.
    fs::write("/srv/hook", format!("{within}; echo other >new; mv new b")).unwrap();
    let rsh = format!(
        "case \"$*\" in *--server*) echo >>/srv/rounds; [ $(wc -l </srv/rounds) = 2 ] && sh /srv/hook;;\n\
         *' seal '*) [ -e /srv/interrupt ] && kill -INT $PPID;; esac\n\
         exec {} \"$@\"",
        both.second.rsh
    );
    both.second.rsh = script("counting", &rsh);
    fs::write("/srv/broken", "seal").unwrap();
    let failed = |both: &Both| {
        let said = both.move_with(&["acme", "h2"], "");
        assert!(
            said.code == 1 && said.err.contains("runs here again"),
            "{said:?}"
        );
        files(&both.there(".acme.importing"))
    };
    assert_eq!(failed(&both), files(data));
    assert_eq!(files(data)[1], ("other\n".to_owned(), 1));
    // Between two moves, with the same content and times.
    shell(&format!("{within}; cp -p d new; mv new d"));
    let expected = files(data);
    let names: Vec<u64> = expected.iter().map(|(_, names)| *names).collect();
    assert_eq!(names, [1, 1, 1, 1, 2, 2]);
    assert_eq!(failed(&both), expected);

    // An undone move to this host is not one to another.
    let mut noted = relocation::mark_of(data).unwrap().unwrap();
    noted.other.machine = "elsewhere".to_owned();
    noted.other.host = "h3".to_owned();
    relocation::mark(data, &noted).unwrap();
    let undone = both.move_with(&["acme", "h2", "--undo"], "");
    assert_eq!(undone.code, 0, "{undone:?}");
    let other = "`tenantd move acme h3 --undo`";
    assert!(undone.out.contains(other), "{undone:?}");
    assert!(!both.there(".acme.importing").exists());
    assert_eq!(relocation::mark_of(data).unwrap(), Some(noted));
    fs::remove_file("/srv/broken").unwrap();
    // Interrupted as by Ctrl-C, after the last round.
    fs::write("/srv/interrupt", "").unwrap();
    let said = both.move_with(&["acme", "h2"], "");
    assert!(said.code == 1 && said.out.contains(other), "{said:?}");
    for words in ["interrupted by a signal", "runs here again"] {
        assert!(said.err.contains(words), "{said:?}");
    }
    assert_eq!(both.first.tenant("acme").state, StateWord::Up);
    fs::remove_file("/srv/interrupt").unwrap();
    both.moved("acme");
    assert_eq!(files(&both.there("acme")), expected);
    both.second.tell("stop acme").expect(0);
    both.end();
}

/// Makes a btrfs with quotas for the datastores of a host.
pub(super) fn disk(name: &str, within: &str) {
    let image = format!("/srv/disk-{name}");
    shell(&format!(
        "truncate -s 256M {image}; mkfs.btrfs -q -m single {image}; device=$(losetup --find --show {image})
         trap \"losetup -d $device\" EXIT
         {within} mount -n -t btrfs $device /var/lib/tenantd
         {within} btrfs quota enable /var/lib/tenantd"
    ));
}

#[test]
fn a_tenant_with_a_quota_moves_only_to_where_it_has_one_and_has_it_there() {
    place::host();
    folder("/srv/data");
    folder("/srv/acks");
    disk("first", "");
    let entry = "acme = { ip = \"10.77.0.11\", limits = { disk.max = \"24 MiB\" } }\n";
    let first = Daemon::start(&manifest(entry));
    let second = Second::boot(&first.app, &manifest(""));
    let both = Both { first, second };
    both.up("acme");
    let said = both.move_with(&["acme", "h2"], "");
    assert!(
        said.code == 1 && said.err.contains("has no quotas of folders"),
        "{said:?}"
    );
    assert_eq!(both.first.tenant("acme").state, StateWord::Up);
    disk("second", &both.within());
    let data = format!("/var/lib/tenantd/{}/acme", both.first.app);
    shell(&format!("head -c 16M /dev/urandom >{data}/large"));
    let said = both.moved("acme");
    assert!(said.contains("round 1: a snapshot, "), "{said}");
    assert_eq!(both.second.state("acme"), Some(StateWord::Up));
    assert_eq!(fs::metadata(both.there("acme")).unwrap().ino(), 256);
    let status = both.second.tell("status acme").expect(0);
    assert!(status.contains("disk.max 24 MiB"), "{status}");
    // What was received counts.
    let more = both.there("acme").join("more");
    let full = fs::write(&more, vec![1; 12 << 20]).and_then(|()| fs::File::open(&more)?.sync_all());
    let full = full.unwrap_err();
    assert_eq!(full.raw_os_error(), Some(libc::EDQUOT), "{full}");
    both.second.tell("stop acme").expect(0);
    both.end();
}
