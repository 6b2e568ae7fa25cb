//! Tenants that start at the same time.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tenantd_host::network::Network;

use super::end;
use super::lan::{Lan, both, plan, tenant};
use crate::network::host::{block_on, inside, ip};

/// How many: twice as many as provisions can be under way at the same time.
const TENANTS: u16 = 8;

/// Prints for how many addresses it was asked before the first of them is announced.
const LISTEN: &str = r#"
import socket
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("p0", 3))
link.settimeout(20)
print("ready", flush=True)
asked = set()
while True:
    frame = link.recv(128)
    if frame[12:14] != b"\x08\x06": continue
    source, target = frame[28:32], frame[38:42]
    if source == bytes(4): asked.add(target)
    elif source == target: break
print(len(asked), flush=True)
"#;

/// The question takes no place of a provision: all ask at the same time.
#[test]
fn tenants_that_start_together_ask_together() {
    let lan = Lan::new();
    let mut command = Command::new("python3");
    command.args(["-c", LISTEN]).stdout(Stdio::piped());
    let mut listener = inside(&lan.router, || command.spawn().unwrap());
    let mut said = BufReader::new(listener.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        // Not the host's own address.
        let starts = (10..10 + TENANTS).map(tenant).map(|link| {
            let network = network.clone();
            tokio::spawn(async move {
                let made = network.provision(link.clone()).await;
                (link, made.unwrap())
            })
        });
        let starts: Vec<_> = starts.collect();
        let mut made = Vec::new();
        for start in starts {
            made.push(start.await.unwrap());
        }
        assert_eq!(said.next().unwrap().unwrap(), TENANTS.to_string());
        let (link, netns) = &made[0];
        let shown = inside(netns, || ip("address show eth0"));
        assert!(both(link).iter().all(|it| shown.contains(&it.to_string())));
        end(network, made).await;
    });
    assert!(listener.wait().unwrap().success());
}
