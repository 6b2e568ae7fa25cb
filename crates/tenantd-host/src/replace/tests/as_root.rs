//! What only root can give a file, or mount.

use std::os::unix::fs::fchown;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{
    IFlags, XattrFlags, getxattr, ioctl_getflags, ioctl_setflags, removexattr, setxattr,
};

use super::*;

/// A file system of a megabyte in a mount namespace of its own, which ends with the thread.
fn small() -> (TempDir, PathBuf) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Some("size=64k,mode=755");
    let nothing = MsFlags::empty();
    mount(Some("test"), folder.path(), Some("tmpfs"), nothing, options).unwrap();
    let path = folder.path().join("wiki.toml");
    fs::write(&path, "one").unwrap();
    (folder, path)
}

fn set(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1024];
    let length = getxattr(path, name, value.as_mut_slice())?;
    value.truncate(length);
    Ok(value)
}

/// An access control list: the owning group may read, the group 33 may read and write.
fn list() -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, none),
        (0x04, 4, none),
        (0x08, 6, 33),
        (0x10, 6, none),
        (0x20, 0, none),
    ];
    for (kind, permissions, id) in entries {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

#[test]
fn owner_lists_and_other_attributes_are_those_of_the_old_file() {
    let (_folder, path) = file("one");
    fchown(File::open(&path).unwrap(), Some(7), Some(4)).unwrap();
    set(&path, ACCESS, &list());
    set(&path, "user.note", b"ours");
    set(&path, "trusted.note", b"root's");
    set(&path, "security.note", b"a module's");
    let (mode, before) = (fs::metadata(&path).unwrap().mode(), inode(&path));
    assert_eq!(mode & 0o7777, 0o660);
    Old::read(&path).unwrap().replace("two").unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_ne!(found.ino(), before);
    assert_eq!((found.uid(), found.gid(), found.mode()), (7, 4, mode));
    // Without the list, the mode would let the owning group write.
    assert_eq!(get(&path, ACCESS).unwrap(), list());
    assert_eq!(get(&path, "user.note").unwrap(), b"ours");
    assert_eq!(get(&path, "trusted.note").unwrap(), b"root's");
    assert_eq!(get(&path, "security.note").unwrap(), b"a module's");
}

#[test]
fn a_default_list_of_the_folder_gives_nobody_a_right() {
    let (folder, path) = file("one");
    set(folder.path(), DEFAULT, &list());
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    Old::read(&path).unwrap().replace("two").unwrap();
    assert_eq!(get(&path, ACCESS), Err(Errno::NODATA));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn the_new_file_can_at_no_time_be_used_by_others() {
    let (folder, path) = file("one");
    set(folder.path(), DEFAULT, &list());
    let file = create(&beside(&path, "new")).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0);
}

#[test]
fn flags_are_kept_and_a_protected_file_is_refused() {
    let (_folder, path) = file("one");
    let flags = || ioctl_getflags(File::open(&path).unwrap()).unwrap();
    let give = |flags| ioctl_setflags(File::open(&path).unwrap(), flags).unwrap();
    give(flags() | IFlags::NODUMP | IFlags::SYNC);
    let wanted = flags();
    Old::read(&path).unwrap().replace("two").unwrap();
    assert_eq!(flags(), wanted);
    for (flag, letter) in [(IFlags::IMMUTABLE, "+i"), (IFlags::APPEND, "+a")] {
        give(wanted | flag);
        let refused = Old::read(&path).unwrap().replace("three").unwrap_err();
        give(wanted);
        assert!(matches!(refused, ReplaceError::Fixed { .. }), "{refused}");
        let option = letter.replace('+', "-");
        assert!(refused.to_string().contains(&option), "{refused}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(names(&path), ["wiki.toml"]);
}

#[test]
fn an_attribute_that_cannot_be_copied_keeps_the_file() {
    let (_folder, path) = file("one");
    // Computed from the text by the kernel: a copy would say that the new text is the old one.
    set(&path, "security.ima", &[1; 21]);
    let before = inode(&path);
    Old::read(&path).unwrap().replace("two").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(inode(&path), before);
    assert_eq!(names(&path), ["wiki.toml"]);
    removexattr(&path, "security.ima").unwrap();
}

#[test]
fn a_mount_point_is_written_in_place() {
    let (folder, path) = small();
    let source = folder.path().join("source");
    fs::write(&source, "one and more").unwrap();
    let none: Option<&str> = None;
    mount(Some(&source), &path, none, MsFlags::MS_BIND, none).unwrap();
    Old::read(&path).unwrap().replace("two").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(fs::read_to_string(&source).unwrap(), "two");
    umount2(&path, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    assert_eq!(names(&path), ["source", "wiki.toml"]);
}

#[test]
fn a_full_disk_leaves_the_old_text() {
    let (folder, path) = small();
    let fill = folder.path().join("fill");
    let long = "x".repeat(4096 * 3);
    for in_place in [false, true] {
        if in_place {
            fs::hard_link(&path, folder.path().join("second")).unwrap();
        }
        for free in 0..8 {
            fs::remove_file(&fill).or_else(ignore_missing).unwrap();
            let used = Command::new("fallocate")
                .args(["-l", &((15 - free) * 4096).to_string()])
                .arg(&fill)
                .status();
            assert!(used.unwrap().success());
            let replaced = Old::read(&path).unwrap().replace(&long);
            let text = fs::read_to_string(&path).unwrap();
            match replaced {
                Ok(()) => assert_eq!(text, long),
                Err(_) => assert_eq!(text, "one"),
            }
            fs::write(&path, "one").unwrap();
            assert_eq!(names(&path).len(), 2 + usize::from(in_place));
        }
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

#[test]
fn a_user_who_cannot_copy_the_owner_writes_in_place() {
    let (folder, path) = file("one");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let before = inode(&path);
    let path_of_thread = path.clone();
    // A thread has credentials of its own.
    let thread = thread::spawn(move || {
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(33)).unwrap();
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(33)).unwrap();
        Old::read(&path_of_thread).unwrap().replace("two").unwrap();
    });
    thread.join().unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.ino(), found.uid()), (before, 0));
    assert_eq!(found.mode() & 0o7777, 0o666);
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(names(&path), ["wiki.toml"]);
}
