//! The targets of launches, and the watch on folders.

use super::*;

fn paths(list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(PathBuf::from).collect()
}

#[test]
fn a_path_in_another_one_does_not_matter() {
    let all = paths(&[
        "/var/lib/a-b",
        "/var/lib/a/c",
        "/dev/shm",
        "/var/lib/a",
        "/dev",
        "/dev",
    ]);
    assert_eq!(
        outermost(all),
        paths(&["/dev", "/var/lib/a", "/var/lib/a-b"])
    );
}

#[test]
fn own_folders_are_where_their_links_lead() {
    let resolved = resolved(&paths(&["/dev", "/does/not/exist"]));
    assert_eq!(resolved, paths(&["/dev", "/does/not/exist"]));
}

#[test]
fn a_missing_target_hangs_on_the_nearest_folder_above() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    let chain = chain(&root.join("a/b"));
    assert_eq!(chain[0], (root.to_owned(), Scope::Itself));
    assert_eq!(
        chain[1],
        (root.parent().unwrap().to_owned(), Scope::Entries)
    );
    assert_eq!(chain.last(), Some(&("/".into(), Scope::Entries)));
}

#[test]
fn mount_points_are_recognized() {
    assert!(is_mount_point(Path::new("/proc")).unwrap());
    assert!(!is_mount_point(Path::new("/proc/self/does-not-exist")).unwrap());
    let temporary = tempfile::tempdir().unwrap();
    assert!(!is_mount_point(temporary.path()).unwrap());
}

/// All changes until one for which this is true.
async fn until(watch: &HostWatch, is_last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut all = Vec::new();
    while !all.iter().any(&is_last) {
        all.extend(watch.next().await.unwrap());
    }
    all
}

#[tokio::test]
async fn removals_and_renames_are_seen_also_while_a_folder_is_in_use() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    let target = root.join("target");
    std::fs::create_dir(&target).unwrap();
    let watch = HostWatch::new().unwrap();
    let above = watch.add(root, Scope::Entries).unwrap();
    let itself = watch.add(&target, Scope::Itself).unwrap();
    // The same folder by another path has the same number.
    assert_eq!(watch.add(&root.join("target/."), Scope::Itself), Ok(itself));
    std::fs::rename(&target, root.join("moved")).unwrap();
    let seen = until(&watch, |it| *it == Change::Renamed(itself)).await;
    assert!(
        seen.contains(&Change::Entry(above, "moved".into())),
        "{seen:?}"
    );
    let in_use = File::open(root.join("moved")).unwrap();
    std::fs::remove_dir(root.join("moved")).unwrap();
    let seen = until(&watch, |it| *it == Change::Entry(above, "moved".into())).await;
    assert!(!seen.contains(&Change::Removed(itself)), "{seen:?}");
    drop(in_use);
    until(&watch, |it| *it == Change::Unwatched(itself)).await;
    // What is made is seen only where that is asked for.
    watch.add(root, Scope::NewEntries).unwrap();
    std::fs::create_dir(&target).unwrap();
    until(&watch, |it| *it == Change::Entry(above, "target".into())).await;
    watch.remove(above).unwrap();
    watch.remove(above).unwrap();
}
