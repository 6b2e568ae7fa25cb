//! The facts about the host that a plan depends on: users, programs, addresses, limits.
//!
//! They are read when a manifest is read, and never while a tenant is provisioned or launched: the
//! cost grows with the number of addresses on the host.

use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ipnetwork::Ipv4Network;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::unistd;

use super::limits;
use tenantd_core::plan::facts::{Ceilings, HostAddress, HostFacts, ProgramFact, User};

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

    fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
        let mut found = Vec::new();
        for entry in getifaddrs()? {
            let address = entry.address.as_ref().and_then(|a| a.as_sockaddr_in());
            let mask = entry.netmask.as_ref().and_then(|a| a.as_sockaddr_in());
            let (Some(address), Some(mask)) = (address, mask) else {
                continue;
            };
            let network = Ipv4Network::with_netmask(address.ip(), mask.ip());
            found.push(HostAddress {
                interface: entry.interface_name,
                network: network.map_err(|_| Errno::EINVAL)?,
            });
        }
        Ok(found)
    }

    fn ceilings(&self) -> Ceilings {
        limits::ceilings()
    }
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
