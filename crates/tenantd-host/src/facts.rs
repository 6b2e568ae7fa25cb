//! The facts about the host that a plan depends on: users, programs, addresses, limits.
//!
//! They are read when a manifest is read, and never while a tenant is provisioned or launched: the
//! cost grows with the number of addresses on the host.

mod addresses;
mod claims;
mod links;
mod parent;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd;

use super::{default_route, given, limits, uids};
pub(crate) use links::alias;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::facts::{
    Ceilings, Claim, HostAddress, HostFacts, NoOwnUser, NoRecord, OwnUser, Parent, ProgramFact,
    TextFact, User, WantedUsers,
};

/// The facts of the host that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live;

fn user(found: unistd::User) -> User {
    User {
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
        home: found.dir.to_string_lossy().into_owned(),
        name: found.name,
    }
}

impl HostFacts for Live {
    fn user(&self, name: &str) -> Result<Option<User>, Errno> {
        Ok(unistd::User::from_name(name)?.map(user))
    }

    fn user_of(&self, uid: u32) -> Result<Option<User>, Errno> {
        Ok(unistd::User::from_uid(uid.into())?.map(user))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, Errno> {
        let group = unistd::Group::from_name(name)?;
        Ok(group.map(|group| group.gid.as_raw()))
    }

    fn groups(&self, user: &str, gid: u32) -> Result<Vec<u32>, Errno> {
        let name = CString::new(user).map_err(|_| Errno::EINVAL)?;
        let mut groups: Vec<u32> = unistd::getgrouplist(&name, gid.into())?
            .into_iter()
            .map(unistd::Gid::as_raw)
            .collect();
        // The order of the databases is arbitrary, and plans are compared.
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    fn own_users(&self, wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser> {
        uids::find(wanted)
    }

    fn program(&self, path: &Path) -> ProgramFact {
        let unknown = |error: std::io::Error| match Errno::try_from(error) {
            Ok(Errno::ENOENT | Errno::ENOTDIR) => ProgramFact::Missing,
            Ok(errno) => ProgramFact::Unknown(errno),
            Err(_) => ProgramFact::Unknown(Errno::UnknownErrno),
        };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return unknown(error),
        };
        if !metadata.is_file() {
            return ProgramFact::NoFile;
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return ProgramFact::NotExecutable;
        }
        std::fs::canonicalize(path).map_or_else(unknown, ProgramFact::Executable)
    }

    fn text(&self, path: &Path, max: u64) -> TextFact {
        read_text(path, max).unwrap_or_else(|error| match Errno::try_from(error) {
            Ok(Errno::ENOENT | Errno::ENOTDIR) => TextFact::Missing,
            Ok(errno) => TextFact::Unknown(errno),
            Err(_) => TextFact::Unknown(Errno::UnknownErrno),
        })
    }

    fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
        addresses::all()
    }

    fn claims(&self, is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno> {
        claims::all(is_own)
    }

    fn parent(&self, name: &str) -> Result<Option<Parent>, Errno> {
        parent::of(name)
    }

    fn mtu(&self, interface: Option<&str>) -> Option<u32> {
        match interface {
            Some(interface) => default_route::mtu_of(interface),
            None => default_route::narrowest().map(|(_, mtu)| mtu),
        }
    }

    fn given(&self, app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord> {
        given::of(app)
    }

    fn ceilings(&self) -> Ceilings {
        limits::ceilings()
    }
}

/// Reads a text file of at most `max` bytes.
fn read_text(path: &Path, max: u64) -> std::io::Result<TextFact> {
    // A FIFO would keep us waiting.
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(TextFact::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Ok(TextFact::TooLarge);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => TextFact::Text(text),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let breaks = valid.iter().filter(|byte| **byte == b'\n');
            TextFact::NotUtf8 {
                line: breaks.count() + 1,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_root_and_its_shell() {
        let root = Live.user("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(Live.user_of(0).unwrap(), Some(root));
        assert_eq!(Live.user("no-such-user").unwrap(), None);
        assert_eq!(Live.group("no-such-group").unwrap(), None);
        assert!(Live.groups("root", 0).unwrap().contains(&0));
        assert!(Live.groups("root", 4_000_000).unwrap().contains(&4_000_000));
    }

    #[test]
    fn knows_all_addresses_with_the_names_of_their_interfaces() {
        let found = Live.addresses().unwrap().into_iter();
        let mut found: Vec<(String, IpAddr)> =
            found.map(|it| (it.interface, it.network.ip())).collect();
        let entries = nix::ifaddrs::getifaddrs().unwrap();
        let mut expected: Vec<(String, IpAddr)> = entries
            .filter_map(|entry| {
                let address = entry.address?;
                let ipv4 = address.as_sockaddr_in().map(|it| it.ip().into());
                let ip = ipv4.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))?;
                Some((entry.interface_name, ip))
            })
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert!(!expected.is_empty());
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_texts() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str| Live.text(&folder.path().join(name), 5);
        for (name, bytes, found) in [
            ("empty", &b""[..], TextFact::Text(String::new())),
            ("five", b"12345", TextFact::Text("12345".to_owned())),
            ("six", b"123456", TextFact::TooLarge),
            ("latin1", b"a\nb\xe9", TextFact::NotUtf8 { line: 2 }),
        ] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            assert_eq!(text(name), found, "{name}");
        }
        assert_eq!(text("absent"), TextFact::Missing);
        assert_eq!(text("five/below"), TextFact::Missing);
        assert_eq!(text("."), TextFact::NoFile);
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(text("fifo"), TextFact::NoFile);
    }

    #[test]
    fn looks_at_programs() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str| Live.program(&folder.path().join(name));
        std::fs::write(folder.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/bin/sh", folder.path().join("shell")).unwrap();
        assert_eq!(program("absent"), ProgramFact::Missing);
        assert_eq!(program("file"), ProgramFact::NotExecutable);
        assert_eq!(program("file/below"), ProgramFact::Missing);
        assert_eq!(program("."), ProgramFact::NoFile);
        let real = std::fs::canonicalize("/bin/sh").unwrap();
        assert_eq!(program("shell"), ProgramFact::Executable(real));
    }
}
