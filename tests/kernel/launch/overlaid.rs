//! Which files of the host a tenant does not see as they are now.

use std::fs::{self, create_dir, create_dir_all, rename};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use tenantd_core::plan::model::Seed;
use tenantd_host::datastore::overlaid::{Overlaid, examine};

use crate::launch::bench::{Bench, write_file};
use crate::launch::folders::folder;

const DATASTORE: &str = "/var/lib/tenantd/wiki/acme";

/// A bench with an overlay over a folder with these files.
fn bench(files: &[&str]) -> Bench {
    let mut bench = Bench::new().for_root();
    fs::remove_dir(DATASTORE).unwrap();
    bench.datastore.target = None;
    bench.datastore.folders = [folder("/run/conf", Seed::Overlay)].into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    for file in files {
        let path = Path::new("/run/conf").join(file);
        create_dir_all(path.parent().unwrap()).unwrap();
        write_file(path.to_str().unwrap(), "host", 0o644);
    }
    bench
}

fn found(bench: &Bench) -> Overlaid {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut all = examine(&bench.datastore, deadline).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// What is hidden, with a `+` if the host has a newer one.
fn hidden(bench: &Bench) -> Vec<String> {
    let found = found(bench);
    assert!(found.complete);
    let hidden = found.hidden.iter().map(|file| {
        let newer = if file.newer { "+" } else { "" };
        format!("{} {}{newer}", file.done.word(), file.path.display())
    });
    hidden.collect()
}

#[test]
fn what_a_tenant_has_done_is_told_from_the_datastore() {
    let mut bench = bench(&[
        "changed",
        "same-size",
        "mode",
        "gone",
        "sub/deep",
        "dir/a",
        "seen",
    ]);
    // Nothing is there before the first launch.
    assert_eq!(examine(&bench.datastore, Instant::now()).unwrap(), []);
    bench.set_script(
        "cd /run/conf && echo longer > changed && printf mine > same-size && chmod 600 mode && \
         rm gone && echo x > sub/deep && echo x > new && rm -r dir && mkdir dir && echo x > dir/a",
    );
    assert_eq!(bench.output(), "");
    let done = [
        "changed changed",
        "replaced dir",
        "deleted gone",
        "frozen mode",
        "changed same-size",
        "changed sub/deep",
    ];
    assert_eq!(hidden(&bench), done);
    // The host's package is upgraded: its files have an old time, and are renamed into place.
    for file in ["mode", "gone", "new", "seen"] {
        write_file("/run/conf/.new", "host", 0o644);
        let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let new = fs::File::options()
            .write(true)
            .open("/run/conf/.new")
            .unwrap();
        new.set_modified(old).unwrap();
        rename("/run/conf/.new", format!("/run/conf/{file}")).unwrap();
    }
    let newer = [
        "changed changed",
        "replaced dir",
        "deleted gone+",
        "changed mode+",
        "changed new+",
        "changed same-size",
        "changed sub/deep",
    ];
    assert_eq!(hidden(&bench), newer);
}

#[test]
fn links_that_a_tenant_made_are_not_followed() {
    let mut bench = bench(&["sub/file", "link"]);
    create_dir("/run/elsewhere").unwrap();
    write_file("/run/elsewhere/file", "secret", 0o644);
    bench.set_script("cd /run/conf && rm -r sub link && ln -s /run/elsewhere sub && ln -s / link");
    assert_eq!(bench.output(), "");
    assert_eq!(hidden(&bench), ["changed link", "changed sub"]);
    // Nor one in place of the folder itself.
    let upper = format!("{DATASTORE}/run/conf");
    rename(&upper, format!("{upper}.old")).unwrap();
    symlink("/run/elsewhere", &upper).unwrap();
    let why = examine(&bench.datastore, Instant::now() + Duration::from_secs(1)).unwrap_err();
    assert_eq!(why.errno, libc::ELOOP, "{why}");
}

#[test]
fn a_hundred_thousand_files_do_not_exceed_the_time() {
    let bench = bench(&["kept"]);
    // As a launch makes it.
    let _running = bench.run().unwrap();
    let upper = format!("{DATASTORE}/run/conf");
    for number in 0..100_000 {
        fs::File::create(format!("{upper}/{number}")).unwrap();
    }
    let begun = Instant::now();
    let limit = Duration::from_millis(20);
    let all = examine(&bench.datastore, begun + limit).unwrap();
    assert!(!all[0].complete);
    assert!(begun.elapsed() < limit * 10, "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(hidden(&bench), [""; 0]);
    println!("100,000 files: {:?}", begun.elapsed());
}
