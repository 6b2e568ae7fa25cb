//! Bundles that a stranger has made: whatever is in them, it is refused, and nothing is left.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::Path;

use super::read::{Sink, all};
use super::write::Writer;
use super::*;

fn head_of(format: u32) -> Head {
    Head {
        format,
        id: "0123".to_owned(),
        program: "0".to_owned(),
        made: Timestamp::UNIX_EPOCH,
        host: "elsewhere".to_owned(),
        app: "wiki".to_owned(),
        tenant: "acme".to_owned(),
        entry: vec![("ip".to_owned(), "\"10.77.0.11\"".to_owned())],
        uid: 1000,
        gid: 1000,
        online: false,
    }
}

fn entry(path: &str, kind: Kind) -> Entry {
    let path = path.into();
    let mode = 0o644;
    let meta = Meta {
        mode,
        ..Meta::default()
    };
    Entry { path, kind, meta }
}

/// A bundle of these entries; files are empty.
fn bundle(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, &head_of(FORMAT)).unwrap();
    writer.entry(&entry("", Kind::Folder), None).unwrap();
    for entry in entries {
        writer.entry(entry, None).unwrap();
    }
    writer.finish().unwrap();
    out
}

const EMPTY: Kind = Kind::File { size: 0, map: None };

#[derive(Default)]
struct Kept(RefCell<Vec<(Entry, Vec<u8>)>>);

impl Sink for &Kept {
    fn head(&mut self, _: &Head) -> Result<(), BundleError> {
        Ok(())
    }
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), BundleError> {
        let mut bytes = Vec::new();
        content
            .read_to_end(&mut bytes)
            .map_err(BundleError::Stream)?;
        self.0.borrow_mut().push((entry.clone(), bytes));
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, String> {
    let kept = Kept::default();
    match all(bytes, &mut &kept) {
        Ok(_) => Ok(kept.0.into_inner()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn each_kind_of_entry_is_read_as_it_was_written() {
    let mut with_attributes = entry("a", EMPTY);
    with_attributes.meta = Meta {
        mode: 0o4755,
        uid: 4_000_000_000,
        gid: 3_000_000,
        seconds: -3,
        nanoseconds: 999_999_999,
        attributes: vec![(b"user.x".to_vec(), b"1\n2\n\0".to_vec())],
    };
    let long = ["n".repeat(255), "m".repeat(255)].join("/");
    let entries = [
        with_attributes,
        entry(&"n".repeat(255), Kind::Folder),
        entry(&long, EMPTY),
        entry("hard", Kind::Link(long.clone().into())),
        entry("soft", Kind::Symlink(b"/etc/passwd".to_vec())),
        entry("fifo", Kind::Fifo),
        entry("gone", Kind::Whiteout),
    ];
    let read = read(&bundle(&entries)).unwrap();
    let read: Vec<Entry> = read.into_iter().skip(1).map(|(entry, _)| entry).collect();
    assert_eq!(read, entries);
    // More than one list of checksums.
    let many: Vec<Entry> = (0..2500).map(|n| entry(&format!("f{n}"), EMPTY)).collect();
    assert_eq!(super::tests::read(&bundle(&many)).unwrap().len(), 2501);
}

/// As in each backup, log archive or package that a program keeps.
#[test]
fn a_file_may_be_compressed() {
    let contents: [&[u8]; 3] = [b"\x1f\x8b and more", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"];
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, &head_of(FORMAT)).unwrap();
    writer.entry(&entry("", Kind::Folder), None).unwrap();
    for (number, content) in contents.into_iter().enumerate() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let size = content.len() as u64;
        let kind = Kind::File { size, map: None };
        let entry = entry(&format!("f{number}"), kind);
        writer.entry(&entry, Some(&mut file)).unwrap();
    }
    writer.finish().unwrap();
    let read = read(&out).unwrap();
    let read: Vec<_> = read.iter().skip(1).map(|(_, bytes)| &**bytes).collect();
    assert_eq!(read, contents);
    // The bundle itself is not.
    let said = super::tests::read(b"\x1f\x8b\x08").unwrap_err();
    assert!(said.contains("gzip -d"), "{said}");
}

#[test]
fn what_would_leave_the_datastore_is_refused() {
    let outside = "it would not be in the datastore";
    let bits = Meta::default();
    for (path, kind, why) in [
        ("../x", EMPTY, outside),
        ("a/../../x", EMPTY, outside),
        ("a//b", EMPTY, outside),
        ("./a", EMPTY, outside),
        ("a/.", Kind::Folder, outside),
        ("/etc/x", EMPTY, outside),
        ("x", Kind::Link("../../etc/shadow".into()), outside),
        ("x", Kind::Symlink(Vec::new()), "it is of an unknown kind"),
        ("", Kind::Folder, "it is not in the folder of the datastore"),
        ("", EMPTY, "it is not in the folder of the datastore"),
    ] {
        let meta = bits.clone();
        let path = Path::new(path).to_owned();
        let said = read(&bundle(&[Entry { path, kind, meta }])).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
    }
    for name in ["trusted.tenantd.owner", "security.selinux", "system.other"] {
        let mut one = entry("a", EMPTY);
        one.meta.attributes = vec![(name.into(), b"x".to_vec())];
        assert!(read(&bundle(&[one])).is_err(), "{name}");
    }
}

#[test]
fn what_could_not_be_imported_is_not_exported() {
    let deep = |length: usize| "d/".repeat(2000) + &"e".repeat(length - 4000);
    let mut large = entry("large", EMPTY);
    large.meta.attributes = (0..65)
        .map(|n| (format!("user.{n}").into(), vec![0; 1 << 16]))
        .collect();
    let holes = |number: u64| {
        let map = (0..number).map(|at| Part { at, length: 0 }).collect();
        let (size, map) = (1 << 30, Some(map));
        entry("holes", Kind::File { size, map })
    };
    let write = |entry: &Entry| {
        let mut writer = Writer::new(std::io::sink(), &head_of(FORMAT)).unwrap();
        writer.entry(entry, None).map_err(|error| error.to_string())
    };
    for (one, why) in [
        (entry(&deep(4096), EMPTY), "longer than 4095 bytes"),
        (large, "larger than 4 MiB"),
        (holes(PARTS_MAX + 1), "more than a million holes"),
    ] {
        let said = write(&one).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    write(&holes(PARTS_MAX)).unwrap();
    read(&bundle(&[entry(&deep(4095), EMPTY)])).unwrap();
}

#[test]
fn a_changed_byte_and_a_missing_end_are_noticed() {
    let whole = bundle(&[entry("a", EMPTY), entry("b", Kind::Symlink(b"a".to_vec()))]);
    read(&whole).unwrap();
    // Each block has bytes that are not used.
    let mut used: Vec<usize> = (0..whole.len() - 1024)
        .filter(|at| whole[*at] != 0)
        .collect();
    used.retain(|at| at % 7 == 0);
    for at in used {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        // The name of a list of checksums is not summed.
        let is_same = read(&changed).is_ok_and(|read| Ok(read) == super::tests::read(&whole));
        assert!(is_same || read(&changed).is_err(), "byte {at}");
    }
    // The last member ends within its last block.
    for length in (0..whole.len() - 1536).step_by(100) {
        assert!(read(&whole[..length]).is_err(), "{length} bytes");
    }
    let mut later = Vec::new();
    Writer::new(&mut later, &head_of(FORMAT + 1))
        .unwrap()
        .finish()
        .unwrap();
    assert!(read(&later).unwrap_err().contains("use a later tenantd"));
    let said = read(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]).unwrap_err();
    assert!(said.contains("zstd -d < FILE"), "{said}");
}

#[test]
fn a_map_of_holes_is_within_its_file() {
    let part = |at, length| Part { at, length };
    for (size, map) in [
        (10, vec![part(11, 0)]),
        (10, vec![part(5, 0), part(4, 0)]),
        (u64::MAX, vec![part(u64::MAX, 1)]),
    ] {
        let map = Some(map);
        let said = read(&bundle(&[entry("a", Kind::File { size, map })])).unwrap_err();
        assert!(said.contains("malformed map"), "{said}");
    }
    let map = Some(vec![part(1 << 60, 0)]);
    let size = 1 << 60;
    assert!(read(&bundle(&[entry("a", Kind::File { size, map })])).is_ok());
}
