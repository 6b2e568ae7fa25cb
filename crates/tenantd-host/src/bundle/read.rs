//! Reads a bundle, which is from a stranger: every length and path is checked, and nothing is kept of it but one
//! member at a time.

mod said;

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use tar::{Archive, EntryType, Header};

use self::said::Said;
use super::sums::{List, Sums};
use super::{BundleError, Counts, END, End, Entry, FORMAT, HEAD, Head, Kind, RECORDS_MAX, SUMS};

/// The head, with its entry of the manifest; and a list of checksums.
const JSON_MAX: u64 = 4 << 20;

/// What gets the content of a bundle.
pub(super) trait Sink {
    fn head(&mut self, head: &Head) -> Result<(), BundleError>;
    /// Takes an entry. What it does not read of the content is skipped.
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), BundleError>;
}

/// Reads the head alone.
///
/// # Errors
/// See [`BundleError`].
pub fn head(stream: impl Read) -> Result<Head, BundleError> {
    struct First(Option<Head>);
    impl Sink for First {
        fn head(&mut self, head: &Head) -> Result<(), BundleError> {
            self.0 = Some(head.clone());
            Err(BundleError::Short(Counts::default()))
        }
        fn entry(&mut self, _: &Entry, _: &mut dyn Read) -> Result<(), BundleError> {
            Ok(())
        }
    }
    let mut first = First(None);
    match (all(stream, &mut first), first.0) {
        (_, Some(head)) => Ok(head),
        (Err(error), None) => Err(error),
        (Ok(_), None) => Err(no_bundle("it has no head")),
    }
}

fn no_bundle(why: &str) -> BundleError {
    BundleError::NoBundle(why.to_owned())
}

/// Reads a whole bundle, and checks it.
///
/// # Errors
/// See [`BundleError`], and those of the sink.
pub(super) fn all(stream: impl Read, sink: &mut impl Sink) -> Result<Counts, BundleError> {
    let mut archive = Archive::new(Magic::new(stream));
    let entries = archive.entries().map_err(BundleError::Stream)?.raw(true);
    let mut reader = Reader {
        sink,
        sums: Sums::default(),
        records: Vec::new(),
        counts: Counts::default(),
        has_head: false,
    };
    for entry in entries {
        let mut entry = entry.map_err(|error| reader.broken(error))?;
        if reader.member(&mut entry)? {
            let counts = reader.counts;
            drop(entry);
            // The process that writes to a pipe has not ended before.
            let mut rest = archive.into_inner();
            io::copy(&mut (&mut rest).take(1 << 20), &mut io::sink())
                .map_err(BundleError::Stream)?;
            return Ok(counts);
        }
    }
    match reader.has_head {
        true => Err(BundleError::Short(reader.counts)),
        false => Err(no_bundle("it is empty, or another kind of archive")),
    }
}

struct Reader<'a, S: Sink> {
    sink: &'a mut S,
    sums: Sums,
    /// Those of the next member.
    records: Vec<u8>,
    counts: Counts,
    has_head: bool,
}

impl<S: Sink> Reader<'_, S> {
    fn broken(&self, error: io::Error) -> BundleError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BundleError::Short(self.counts),
            // The library has no other kind for what is malformed.
            io::ErrorKind::Other | io::ErrorKind::InvalidData if self.has_head => {
                BundleError::Damaged(format!("what follows entry {}", self.counts.entries))
            }
            io::ErrorKind::Other | io::ErrorKind::InvalidData => no_bundle(&error.to_string()),
            _ => BundleError::Stream(error),
        }
    }

    /// Reads a member. Returns whether it is the end.
    fn member<R: Read>(&mut self, member: &mut tar::Entry<'_, R>) -> Result<bool, BundleError> {
        let header = member.header().clone();
        let size = header.entry_size().map_err(|error| self.broken(error))?;
        let kind = header.entry_type();
        if kind == EntryType::XHeader {
            if size > RECORDS_MAX || !self.records.is_empty() {
                return Err(no_bundle("it has too many records"));
            }
            self.sums.add(header.as_bytes());
            let mut records = Vec::new();
            let read = member.read_to_end(&mut records);
            read.map_err(|error| self.broken(error))?;
            self.whole(records.len() as u64, size)?;
            self.sums.add(&records);
            self.records = records;
            return Ok(false);
        }
        let name = header.path_bytes().into_owned();
        if !self.has_head && name != HEAD.as_bytes() {
            return Err(no_bundle("it does not begin with bundle.json"));
        }
        match name.as_slice() {
            name if name == HEAD.as_bytes() && !self.has_head => {
                self.sums.add(header.as_bytes());
                let text = self.text(member, size)?;
                self.sums.add(&text);
                self.sums.next(HEAD.to_owned());
                let head: Head = json(&text)?;
                if head.format > FORMAT {
                    return Err(BundleError::Later { found: head.format });
                }
                self.has_head = true;
                self.sink.head(&head)?;
            }
            name if name == END.as_bytes() && self.records.is_empty() => {
                let text = self.text(member, size)?;
                let end: End = json(&text)?;
                self.sums.bytes = self.counts.bytes;
                if !self.sums.is_listed() || end != self.sums.end() {
                    return Err(BundleError::Damaged("the whole".to_owned()));
                }
                return Ok(true);
            }
            name if name.starts_with(SUMS.as_bytes()) && self.records.is_empty() => {
                let text = self.text(member, size)?;
                let list: List = json(&text)?;
                self.sums.check(&list)?;
            }
            _ => self.data(member, &header, size)?,
        }
        Ok(false)
    }

    fn whole(&self, read: u64, size: u64) -> Result<(), BundleError> {
        match read == size {
            true => Ok(()),
            false => Err(BundleError::Short(self.counts)),
        }
    }

    fn text<R: Read>(
        &self,
        member: &mut tar::Entry<'_, R>,
        size: u64,
    ) -> Result<Vec<u8>, BundleError> {
        if size > JSON_MAX {
            return Err(no_bundle("a description in it is too long"));
        }
        let mut text = Vec::new();
        let read = member.read_to_end(&mut text);
        read.map_err(|error| self.broken(error))?;
        self.whole(text.len() as u64, size)?;
        Ok(text)
    }

    /// Reads an entry of the datastore.
    fn data<R: Read>(
        &mut self,
        member: &mut tar::Entry<'_, R>,
        header: &Header,
        size: u64,
    ) -> Result<(), BundleError> {
        if self.sums.is_due() {
            return Err(no_bundle("it lacks checksums"));
        }
        let records = std::mem::take(&mut self.records);
        let said = Said::of(&records, header)?;
        let name = String::from_utf8_lossy(&said.path).into_owned();
        self.sums.add(header.as_bytes());
        let mut content = Content {
            member,
            sums: &mut self.sums,
            read: 0,
        };
        let (entry, data) = said.entry(header, size, &mut content)?;
        let is_first = self.counts.entries == 0;
        let is_root = entry.path.as_os_str().is_empty();
        if is_first != is_root || (is_root && entry.kind != Kind::Folder) {
            return Err(refused(&name, "it is not in the folder of the datastore"));
        }
        let taken = self.sink.entry(&entry, &mut content);
        // What failed may be the stream.
        let left = io::copy(&mut content, &mut io::sink());
        let read = content.read;
        match (taken, left) {
            (Err(BundleError::Stream(error)), _) | (Ok(()), Err(error)) => {
                return Err(self.broken(error));
            }
            (Err(error), _) => return Err(error),
            (Ok(()), Ok(_)) => {}
        }
        self.whole(read, size)?;
        self.sums.next(name);
        self.counts.entries += 1;
        self.counts.bytes += data;
        Ok(())
    }
}

fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, BundleError> {
    serde_json::from_slice(text).map_err(|error| no_bundle(&format!("a description: {error}")))
}

fn refused(path: &str, why: &str) -> BundleError {
    BundleError::Refused {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// The content of a member, which counts for the checksum.
struct Content<'a, 'b, R: Read> {
    member: &'a mut tar::Entry<'b, R>,
    sums: &'a mut Sums,
    read: u64,
}

impl<R: Read> Read for Content<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.member.read(buffer)?;
        self.sums.add(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// A stream that says what it is if it is compressed: its beginning, not that of a file in it.
struct Magic<R> {
    stream: R,
    has_begun: bool,
}

impl<R> Magic<R> {
    fn new(stream: R) -> Self {
        let has_begun = false;
        Self { stream, has_begun }
    }
}

impl<R: Read> Read for Magic<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        if std::mem::replace(&mut self.has_begun, read > 0) {
            return Ok(read);
        }
        let with = match buffer.get(..read) {
            Some([0x28, 0xb5, 0x2f, 0xfd, ..]) => Some("zstd -d"),
            Some([0x1f, 0x8b, ..]) => Some("gzip -d"),
            Some([0xfd, b'7', b'z', b'X', b'Z', ..]) => Some("xz -d"),
            _ => None,
        };
        match with {
            Some(with) => Err(io::Error::other(format!(
                "it is compressed: `{with} < FILE | tenantd import -`"
            ))),
            None => Ok(read),
        }
    }
}
