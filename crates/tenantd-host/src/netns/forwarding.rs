//! Reads by netlink whether a network namespace forwards packets between links.
//!
//! `/proc/sys/net` has the same setting, but the kernel keeps the dentries of all namespaces there
//! in one chain, so that each lookup would take longer the more tenants there are.

use std::io;

use rtnetlink::packet_core::{NLM_F_REQUEST, NlasIterator};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// `RTM_NEWNETCONF` and `RTM_GETNETCONF`, see linux/rtnetlink.h.
const ANSWER: u16 = 80;
const QUESTION: u16 = 82;

/// `NLMSG_ERROR`, see netlink(7).
const REFUSAL: u16 = 2;

/// `NETCONFA_IFINDEX` and `NETCONFA_FORWARDING`, see linux/netconf.h.
const INDEX: u16 = 1;
const FORWARDING: u16 = 2;

/// `NETCONFA_IFINDEX_ALL`: the setting for all links.
const ALL: i32 = -1;

/// Bytes of a message's header, see netlink(7), and of the family, padded to four bytes, between it
/// and the attributes.
const HEADER: usize = 16;
const FAMILY: usize = 4;

/// A socket in one namespace.
pub(super) struct Forwarding(Socket);

impl Forwarding {
    /// Opens it in the namespace of the calling thread.
    ///
    /// # Errors
    /// Those of a netlink socket.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Whether the namespace forwards packets of a family. False if the kernel does not have the family.
    ///
    /// # Errors
    /// Those of a netlink socket, and the kernel's error reply.
    pub(super) fn is_on(&self, family: AddressFamily) -> io::Result<bool> {
        self.0.send(&question(family), 0)?;
        // The kernel has replied when the send returns, so this does not block.
        let (answer, _) = self.0.recv_from_full()?;
        match read(&answer) {
            Some(outcome) => outcome,
            None => Err(io::Error::other("cannot decode the kernel's reply")),
        }
    }
}

fn question(family: AddressFamily) -> Vec<u8> {
    let attribute: u16 = 8;
    let length = u32::from(attribute) + 20;
    let mut message = Vec::with_capacity(28);
    message.extend(length.to_ne_bytes());
    message.extend(QUESTION.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port ID may be 0: there is one request, and the kernel knows the sender.
    message.extend([0; 8]);
    message.extend([u8::from(family), 0, 0, 0]);
    message.extend(attribute.to_ne_bytes());
    message.extend(INDEX.to_ne_bytes());
    message.extend(ALL.to_ne_bytes());
    message
}

/// Decodes a reply; `None` if it cannot be decoded.
fn read(answer: &[u8]) -> Option<io::Result<bool>> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let number = |bytes: &[u8]| Some(i32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
    match kind {
        REFUSAL => {
            let errno = number(answer.get(HEADER..)?)?.abs();
            Some(match errno {
                libc::EOPNOTSUPP | libc::EAFNOSUPPORT => Ok(false),
                errno => Err(io::Error::from_raw_os_error(errno)),
            })
        }
        ANSWER => NlasIterator::new(answer.get(HEADER + FAMILY..)?)
            .flatten()
            .find(|attribute| attribute.kind() == FORWARDING)
            .and_then(|attribute| number(attribute.value()))
            .map(|value| Ok(value != 0)),
        _ => None,
    }
}

#[cfg(test)]
mod as_root {
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn agrees_with_the_sysctls() {
        let visit = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            for (family, file) in crate::netns::FORWARDING {
                for (value, on) in [("1", true), ("0", false)] {
                    std::fs::write(format!("/proc/sys/{file}"), value).unwrap();
                    let seen = Forwarding::open().unwrap();
                    assert_eq!(seen.is_on(family).unwrap(), on, "{file}");
                }
            }
        });
        visit.join().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_address_family_forwards_nothing() {
        let seen = Forwarding::open().unwrap();
        assert!(!seen.is_on(AddressFamily::Appletalk).unwrap());
    }
}
