//! The devices that chains of the family `netdev` are on, as the kernel reports them.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_netfilter::nftables::{ChainAttribute, ChainMessage, Hook, NfTablesMessage};
use rtnetlink::packet_core::{DefaultNla, Nla};

use super::sets::Family;
use super::socket::{NftSocket, Refused};

/// `NFTA_DEVICE_NAME` and `NFTA_DEVICE_PREFIX`.
pub(super) const NAME: u16 = 1;
pub(super) const PREFIX: u16 = 2;

/// The devices of one chain.
#[derive(Debug, Default)]
pub(super) struct Devices {
    names: BTreeSet<String>,
    /// It is on all whose names begin so.
    prefixes: BTreeSet<String>,
}

impl Devices {
    /// Adds those that a part of a hook says.
    pub(super) fn note(&mut self, part: &Hook) {
        match part {
            Hook::NetDeviceName(name) => drop(self.names.insert(name.clone())),
            Hook::NetDevices(devices) => devices.iter().for_each(|device| self.note_one(device)),
            _ => {}
        }
    }

    fn note_one(&mut self, device: &DefaultNla) {
        let mut bytes = vec![0; device.value_len()];
        device.emit_value(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\0').to_owned();
        match device.kind() {
            PREFIX => self.prefixes.insert(text),
            _ => self.names.insert(text),
        };
    }

    /// Whether the chain is on this device, if that exists.
    pub(super) fn cover(&self, device: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.names.contains(device) || prefixes.any(|prefix| device.starts_with(prefix))
    }
}

/// Reads the devices of the chains of a table of frames. Those of a chain that the kernel does not tell of are missing,
/// see [`named_max`](super::guarding::named_max).
///
/// # Errors
/// The errno of the socket or the kernel. There are none if the kernel has no such table.
pub(super) fn read(socket: &NftSocket, table: &str) -> Result<BTreeMap<String, Devices>, Refused> {
    let mut all: BTreeMap<String, Devices> = BTreeMap::new();
    let question = NfTablesMessage::GetChain(ChainMessage { attributes: vec![] });
    let read = socket.dump(Family::Netdev, question, |answer| {
        let NfTablesMessage::NewChain(ChainMessage { attributes }) = answer else {
            return;
        };
        if !attributes.contains(&ChainAttribute::Table(table.to_owned())) {
            return;
        }
        let (mut name, mut devices) = (String::new(), Devices::default());
        for part in attributes {
            match part {
                ChainAttribute::Name(found) => name = found,
                ChainAttribute::Hook(hook) => hook.iter().for_each(|part| devices.note(part)),
                _ => {}
            }
        }
        all.insert(name, devices);
    });
    match read {
        // The kernel has no tables of this family.
        Err(refused) if [libc::ENOENT, libc::EOPNOTSUPP].contains(&refused.errno) => Ok(all),
        Err(refused) => Err(refused),
        Ok(()) => Ok(all),
    }
}
