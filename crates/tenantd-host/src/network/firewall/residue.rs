//! Finds and removes the tables of an application that no supervisor has.

use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink_packet_netfilter::nftables::{NfTablesMessage, TableAttribute, TableMessage};

use tenantd_core::name::AppName;
use tenantd_core::plan::derive;
use tenantd_core::plan::model::NetworkPlan;
use tenantd_core::stage::{Failure, Stage};

use super::OWNED_FOR;
use super::sets::Family;
use super::socket::NftSocket;
use super::wire;

/// The families of the application's tables that exist and bear its mark. None if the kernel has no nf_tables.
pub(in crate::network) fn found(app: &AppName) -> Result<Vec<&'static str>, Failure> {
    let table = derive::nft_table(app.as_str());
    let fail = |errno| Failure::errno(Stage::Firewall, table.as_str(), errno);
    let Ok(socket) = NftSocket::open() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (family, word) in FAMILIES {
        let question = NfTablesMessage::GetTable(TableMessage { attributes: vec![] });
        let read = socket.dump(family, question, |answer| {
            if let NfTablesMessage::NewTable(answer) = answer
                && is_ours(&answer, &table, &derive::hub_mark(app))
            {
                found.push(word);
            }
        });
        match read {
            Ok(()) => {}
            Err(refused) if [libc::EOPNOTSUPP, libc::ENOENT].contains(&refused.errno) => {}
            Err(refused) => return Err(fail(refused.errno)),
        }
    }
    Ok(found)
}

const FAMILIES: [(Family, &str); 2] = [(Family::Netdev, "netdev"), (Family::Inet, "inet")];

fn is_ours(answer: &TableMessage, table: &str, mark: &str) -> bool {
    let (mut is_named, mut is_marked) = (false, false);
    for part in &answer.attributes {
        match part {
            TableAttribute::Name(name) => is_named = name == table,
            TableAttribute::UserData(userdata) => {
                is_marked = wire::commented(userdata).as_deref() == Some(mark);
            }
            _ => {}
        }
    }
    is_named && is_marked
}

/// Removes the tables of an application that has no firewall now.
pub(in crate::network) fn remove_all(network: &NetworkPlan) -> Result<(), Failure> {
    let Ok(app) = network.app().parse::<AppName>() else {
        return Ok(());
    };
    let found = match found(&app) {
        // Then the hub cannot be made either, which says so.
        Err(failure) if failure.errno == libc::EPERM => Vec::new(),
        found => found?,
    };
    found
        .into_iter()
        .try_for_each(|family| remove(&app, family))
}

/// Removes the application's table of a family.
pub(in crate::network) fn remove(app: &AppName, family: &str) -> Result<(), Failure> {
    let table = derive::nft_table(app.as_str());
    let fail = |errno| Failure::errno(Stage::Release, table.as_str(), errno);
    let socket = NftSocket::open().map_err(|error| fail(error.raw_os_error().unwrap_or(0)))?;
    let named = FAMILIES.iter().filter(|(_, word)| *word == family);
    for (family, _) in named {
        let delete = vec![(*family, wire::delete_table(&table))];
        let begun = Instant::now();
        loop {
            match socket.commit(&delete) {
                Ok(()) => break,
                Err(refused) if refused.errno == libc::ENOENT => break,
                Err(refused) if refused.errno == libc::EPERM && begun.elapsed() < OWNED_FOR => {
                    sleep(Duration::from_millis(1));
                }
                Err(refused) => return Err(fail(refused.errno)),
            }
        }
    }
    Ok(())
}
