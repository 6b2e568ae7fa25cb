//! Writes a bundle.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;
use tar::{EntryType, Header};

use super::sums::Sums;
use super::{BundleError, Counts, DATA, END, Entry, HEAD, Head, Kind, Part, SUMS, pax};
use super::{PARTS_MAX, PATH_MAX, RECORDS_MAX};

const BLOCK: usize = 512;
const BUFFER: usize = 1 << 17;

/// The name of a member without a path that fits: its records have that.
const NAME_MAX: usize = 100;

pub(super) struct Writer<W: Write> {
    out: W,
    sums: Sums,
    lists: u64,
    counts: Counts,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a bundle.
    pub(super) fn new(out: W, head: &Head) -> Result<Self, BundleError> {
        let mut writer = Self {
            out,
            sums: Sums::default(),
            lists: 0,
            counts: Counts::default(),
            buffer: vec![0; BUFFER],
        };
        writer.json(HEAD, head)?;
        Ok(writer)
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// A member that is not of the datastore. The head counts for the checksums too.
    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), BundleError> {
        let text = serde_json::to_vec(value).map_err(|error| BundleError::Stream(error.into()))?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        named(&mut header, name.as_bytes());
        let is_summed = name == HEAD;
        self.block(header.as_bytes(), is_summed)?;
        self.content(&text, is_summed)?;
        self.pad(text.len() as u64)?;
        if is_summed {
            self.sums.next(name.to_owned());
        }
        Ok(())
    }

    /// Adds an entry of the datastore, with its content from `file`.
    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        file: Option<&mut File>,
    ) -> Result<(), BundleError> {
        let path = member(&entry.path);
        fits(entry)?;
        let (map, size) = match &entry.kind {
            Kind::File { size, map: None } => (None, *size),
            Kind::File { map: Some(map), .. } => {
                let text = text_of(map);
                let data: u64 = map.iter().map(|part| part.length).sum();
                let size = text.len() as u64 + data;
                (Some(text), size)
            }
            _ => (None, 0),
        };
        self.records(entry, &path)?;
        let header = header(entry, &path, size);
        self.block(header.as_bytes(), true)?;
        if let Some(text) = &map {
            self.content(text, true)?;
        }
        if let (Kind::File { size, map }, Some(file)) = (&entry.kind, file) {
            let whole = [Part {
                at: 0,
                length: *size,
            }];
            for part in map.as_deref().unwrap_or(&whole) {
                self.part(file, *part, &entry.path)?;
            }
        }
        self.pad(size)?;
        self.counts.entries += 1;
        self.sums.next(path_text(&path));
        match self.sums.is_due() {
            true => self.list(),
            false => Ok(()),
        }
    }

    /// Writes what the header has no place for.
    fn records(&mut self, entry: &Entry, path: &[u8]) -> Result<(), BundleError> {
        let mut records = Vec::new();
        pax::add(&mut records, b"path", path);
        let time = format!("{}.{:09}", entry.meta.seconds, entry.meta.nanoseconds);
        pax::add(&mut records, b"mtime", time.as_bytes());
        match &entry.kind {
            Kind::Link(target) => pax::add(&mut records, b"linkpath", &member(target)),
            Kind::Symlink(target) => pax::add(&mut records, b"linkpath", target),
            Kind::File { size, map: Some(_) } => {
                pax::add(&mut records, b"GNU.sparse.major", b"1");
                pax::add(&mut records, b"GNU.sparse.minor", b"0");
                pax::add(&mut records, b"GNU.sparse.name", path);
                let size = size.to_string();
                pax::add(&mut records, b"GNU.sparse.realsize", size.as_bytes());
            }
            Kind::File { map: None, .. } | Kind::Folder | Kind::Fifo | Kind::Whiteout => {}
        }
        for (name, value) in &entry.meta.attributes {
            let key = [b"SCHILY.xattr.", name.as_slice()].concat();
            pax::add(&mut records, &key, value);
        }
        if records.len() as u64 > RECORDS_MAX {
            return Err(unfit(
                entry,
                "its extended attributes are larger than 4 MiB together",
            ));
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o600);
        header.set_size(records.len() as u64);
        named(&mut header, b"records");
        self.block(header.as_bytes(), true)?;
        self.content(&records, true)?;
        self.pad(records.len() as u64)
    }

    /// Copies a part of a file.
    fn part(&mut self, file: &mut File, part: Part, path: &Path) -> Result<(), BundleError> {
        let failed = |source| BundleError::File {
            path: path.to_owned(),
            source,
        };
        file.seek(SeekFrom::Start(part.at)).map_err(failed)?;
        let mut left = part.length;
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            let most = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
            let read = file.read(&mut buffer[..most]).map_err(failed)?;
            if read == 0 {
                let why = "it became shorter while it was read".to_owned();
                let path = path.to_owned();
                return Err(BundleError::Unfit { path, why });
            }
            self.content(&buffer[..read], true)?;
            self.counts.bytes += read as u64;
            left -= read as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Writes the checksums since the last list.
    fn list(&mut self) -> Result<(), BundleError> {
        let list = self.sums.take();
        self.lists += 1;
        self.json(&format!("{SUMS}/{}.json", self.lists), &list)
    }

    /// Ends the bundle.
    pub(super) fn finish(mut self) -> Result<Counts, BundleError> {
        self.list()?;
        self.sums.bytes = self.counts.bytes;
        let end = self.sums.end();
        self.json(END, &end)?;
        self.block(&[0; 2 * BLOCK], false)?;
        self.out.flush().map_err(BundleError::Stream)?;
        Ok(self.counts)
    }

    fn block(&mut self, block: &[u8], is_summed: bool) -> Result<(), BundleError> {
        self.content(block, is_summed)
    }

    fn content(&mut self, bytes: &[u8], is_summed: bool) -> Result<(), BundleError> {
        if is_summed {
            self.sums.add(bytes);
        }
        self.out.write_all(bytes).map_err(BundleError::Stream)
    }

    /// Fills the last block of a content of this size.
    fn pad(&mut self, size: u64) -> Result<(), BundleError> {
        let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        let left = (BLOCK - used) % BLOCK;
        let written: io::Result<()> = self.out.write_all(&[0; BLOCK][..left]);
        written.map_err(BundleError::Stream)
    }
}

fn unfit(entry: &Entry, why: &str) -> BundleError {
    BundleError::Unfit {
        path: entry.path.clone(),
        why: format!("{why}, which a bundle cannot have"),
    }
}

/// Whether an import takes it: a backup that cannot be restored is none.
fn fits(entry: &Entry) -> Result<(), BundleError> {
    if entry.path.as_os_str().len() >= PATH_MAX {
        return Err(unfit(
            entry,
            "its path below the datastore is longer than 4095 bytes",
        ));
    }
    match &entry.kind {
        Kind::File { map: Some(map), .. } if map.len() as u64 > PARTS_MAX => {
            Err(unfit(entry, "it has more than a million holes"))
        }
        _ => Ok(()),
    }
}

/// The path of an entry in the bundle.
fn member(path: &Path) -> Vec<u8> {
    match path.as_os_str().is_empty() {
        true => DATA.as_bytes().to_vec(),
        false => [DATA.as_bytes(), b"/", path.as_os_str().as_bytes()].concat(),
    }
}

fn path_text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn named(header: &mut Header, name: &[u8]) {
    let length = name.len().min(NAME_MAX);
    header.as_old_mut().name[..length].copy_from_slice(&name[..length]);
    header.set_cksum();
}

fn header(entry: &Entry, path: &[u8], size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(match entry.kind {
        Kind::Folder => EntryType::Directory,
        Kind::File { .. } => EntryType::Regular,
        Kind::Link(_) => EntryType::Link,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::Fifo => EntryType::Fifo,
        Kind::Whiteout => EntryType::Char,
    });
    header.set_mode(entry.meta.mode & 0o7777);
    header.set_uid(entry.meta.uid.into());
    header.set_gid(entry.meta.gid.into());
    header.set_size(size);
    header.set_mtime(u64::try_from(entry.meta.seconds).unwrap_or(0));
    if let (Kind::Whiteout, Some(ustar)) = (&entry.kind, header.as_ustar_mut()) {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    named(&mut header, path);
    header
}

/// The map of a file with holes: the number of parts, and where each is, filled to a block. It ends with an
/// empty part if the file ends with a hole.
fn text_of(map: &[Part]) -> Vec<u8> {
    let mut text = format!("{}\n", map.len());
    for part in map {
        text += &format!("{}\n{}\n", part.at, part.length);
    }
    let mut text = text.into_bytes();
    text.resize(text.len().next_multiple_of(BLOCK), 0);
    text
}
