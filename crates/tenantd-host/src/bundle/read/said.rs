//! What the header and the records of a member say.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tar::{EntryType, Header};

use super::{no_bundle, refused};
use crate::bundle::attributes::is_kept;
use crate::bundle::{BundleError, DATA, Entry, Kind, Meta, PARTS_MAX, PATH_MAX, Part, pax};

const NAME_MAX: usize = 255;

/// What the records and the header of a member say.
pub(super) struct Said {
    pub(super) path: Vec<u8>,
    target: Vec<u8>,
    time: (i64, u32),
    /// The size of a file with holes.
    size: Option<u64>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Said {
    pub(super) fn of(records: &[u8], header: &Header) -> Result<Self, BundleError> {
        let target = header.link_name_bytes().map(Cow::into_owned);
        let mut said = Self {
            path: header.path_bytes().into_owned(),
            target: target.unwrap_or_default(),
            time: (0, 0),
            size: None,
            attributes: Vec::new(),
        };
        let mut sparse = (None, None);
        for (key, value) in pax::parse(records)? {
            let text = || std::str::from_utf8(value).ok();
            match key {
                b"path" => said.path = value.to_vec(),
                b"linkpath" => said.target = value.to_vec(),
                b"mtime" => said.time = text().and_then(time).ok_or_else(|| wrong(key))?,
                b"GNU.sparse.major" => sparse.0 = text(),
                b"GNU.sparse.minor" => sparse.1 = text(),
                b"GNU.sparse.name" => {}
                b"GNU.sparse.realsize" => {
                    let size = text().and_then(|text| text.parse().ok());
                    said.size = Some(size.ok_or_else(|| wrong(key))?);
                }
                key => match key.strip_prefix(b"SCHILY.xattr.") {
                    Some(name) if is_kept(name) => {
                        said.attributes.push((name.to_vec(), value.to_vec()));
                    }
                    Some(_) | None => return Err(wrong(key)),
                },
            }
        }
        match (said.size, sparse) {
            (None, (None, None)) | (Some(_), (Some("1"), Some("0"))) => Ok(said),
            _ => Err(no_bundle("it has a file with holes of an unknown form")),
        }
    }

    /// The entry, and how much data follows in its content.
    pub(super) fn entry(
        self,
        header: &Header,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(Entry, u64), BundleError> {
        let name = String::from_utf8_lossy(&self.path).into_owned();
        let outside = || refused(&name, "it would not be in the datastore");
        let path = below(&self.path).ok_or_else(outside)?;
        let device = (header.device_major().ok(), header.device_minor().ok());
        let mut data = 0;
        let kind = match header.entry_type() {
            EntryType::Regular => {
                let map = self.size.map(|real| map(content, real, size));
                let map = map.transpose()?;
                data = map
                    .as_ref()
                    .map_or(size, |map| map.iter().map(|it| it.length).sum());
                Kind::File {
                    size: self.size.unwrap_or(size),
                    map,
                }
            }
            _ if size > 0 || self.size.is_some() => {
                return Err(refused(&name, "it has a content, and is no file"));
            }
            EntryType::Directory => Kind::Folder,
            EntryType::Link => Kind::Link(below(&self.target).ok_or_else(outside)?),
            EntryType::Symlink if matches!(self.target.len(), 1..PATH_MAX) => {
                Kind::Symlink(self.target)
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char if device == (Some(Some(0)), Some(Some(0))) => Kind::Whiteout,
            EntryType::Char | EntryType::Block => {
                return Err(refused(&name, "it is a device"));
            }
            _ => return Err(refused(&name, "it is of an unknown kind")),
        };
        let meta = meta(header, self.time, self.attributes)?;
        Ok((Entry { path, kind, meta }, data))
    }
}

fn meta(
    header: &Header,
    (seconds, nanoseconds): (i64, u32),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Meta, BundleError> {
    let number = |found: io::Result<u64>| found.ok().and_then(|id| u32::try_from(id).ok());
    // -1 means no change to chown(2).
    let id = |found| number(found).filter(|id| *id != u32::MAX);
    let mode = header.mode().map_err(|_| wrong(b"mode"))?;
    Ok(Meta {
        mode: mode & 0o7777,
        uid: id(header.uid()).ok_or_else(|| wrong(b"uid"))?,
        gid: id(header.gid()).ok_or_else(|| wrong(b"gid"))?,
        seconds,
        nanoseconds,
        attributes,
    })
}

fn wrong(key: &[u8]) -> BundleError {
    let key = String::from_utf8_lossy(key);
    no_bundle(&format!("it has an unknown or wrong record, {key:?}"))
}

/// A time in seconds with nine digits behind the point.
fn time(text: &str) -> Option<(i64, u32)> {
    let (seconds, rest) = text.split_once('.')?;
    let nanoseconds = rest.parse().ok().filter(|_| rest.len() == 9)?;
    Some((seconds.parse().ok()?, nanoseconds))
}

/// A path below the datastore; `None` if it is elsewhere.
fn below(member: &[u8]) -> Option<PathBuf> {
    let rest = member.strip_prefix(DATA.as_bytes())?;
    let rest = match rest {
        b"" => return Some(PathBuf::new()),
        rest => rest.strip_prefix(b"/")?,
    };
    let is_name = |name: &[u8]| {
        !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_MAX && !name.contains(&0)
    };
    let is_path = rest.len() < PATH_MAX && rest.split(|byte| *byte == b'/').all(is_name);
    is_path.then(|| PathBuf::from(OsString::from_vec(rest.to_vec())))
}

/// The map at the beginning of the content of a file with holes.
fn map(content: &mut impl Read, real: u64, size: u64) -> Result<Vec<Part>, BundleError> {
    let malformed = || no_bundle("it has a malformed map of a file with holes");
    let mut used = 0;
    let mut number = || -> Result<u64, BundleError> {
        let mut value: Option<u64> = None;
        loop {
            let mut byte = [0];
            content.read_exact(&mut byte).map_err(BundleError::Stream)?;
            used += 1;
            value = match byte[0] {
                b'\n' => return value.ok_or_else(malformed),
                digit @ b'0'..=b'9' => {
                    let next = value.unwrap_or(0).checked_mul(10);
                    let next = next.and_then(|next| next.checked_add(u64::from(digit - b'0')));
                    Some(next.ok_or_else(malformed)?)
                }
                _ => return Err(malformed()),
            };
        }
    };
    let count = number()?;
    if count > PARTS_MAX {
        return Err(malformed());
    }
    let mut parts = Vec::new();
    let (mut end, mut data) = (0u64, 0u64);
    for _ in 0..count {
        let part = Part {
            at: number()?,
            length: number()?,
        };
        let next = part.at.checked_add(part.length);
        end = next
            .filter(|next| part.at >= end && *next <= real)
            .ok_or_else(malformed)?;
        data += part.length;
        parts.push(part);
    }
    let filled = u64::next_multiple_of(used, 512);
    let mut rest = vec![0; usize::try_from(filled - used).unwrap_or(0)];
    content.read_exact(&mut rest).map_err(BundleError::Stream)?;
    match filled.checked_add(data) == Some(size) {
        true => Ok(parts),
        false => Err(malformed()),
    }
}
