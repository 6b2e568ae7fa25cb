//! A tenant that floods its syslog socket, and sends what no program sends.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};

use crate::support::daemon::until;
use crate::syslog::{logged, socket, start};

#[test]
fn a_hostile_tenant_delays_nobody() {
    let daemon = start();
    let (acme, bolt) = (socket(&daemon, "acme"), socket(&daemon, "bolt"));
    let ends = Arc::new(AtomicBool::new(false));
    let flood = |text: Vec<u8>| {
        let (acme, ends) = (acme.clone(), Arc::clone(&ends));
        std::thread::spawn(move || {
            let sender = UnixDatagram::unbound().unwrap();
            sender.connect(acme).unwrap();
            while !ends.load(Ordering::Relaxed) {
                sender.send(&text).unwrap();
            }
        })
    };
    let floods = [
        flood(b"<14>flood: one".to_vec()),
        flood([b"<14>long: ".as_slice(), &vec![b'x'; 200 * 1024]].concat()),
        flood(b"line\n".repeat(30_000)),
    ];
    let sender = UnixDatagram::unbound().unwrap();
    for number in 0..20 {
        let begun = Instant::now();
        sender
            .send_to(format!("<14>b: {number}").as_bytes(), &bolt)
            .unwrap();
        let line = format!("b info: {number}");
        until("it is logged", || {
            logged(&daemon, "bolt", "syslog")
                .contains(&line)
                .then_some(())
        });
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let begun = Instant::now();
        daemon.status();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    ends.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().unwrap();
    }
    // Neither are descriptors accepted: what the sender would have to close, no other process has to.
    let fds = [sender.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let to = SocketAddrUnix::new(&acme).unwrap();
    let text = [IoSlice::new(b"<14>with a descriptor")];
    let sent = sendmsg_addr(&sender, &to, &text, &mut control, SendFlags::empty());
    match sent {
        Err(errno) => assert_eq!(errno, rustix::io::Errno::PERM),
        // The kernel is older than 6.16.
        Ok(_) => until("it is said", || {
            let said = logged(&daemon, "acme", "tenantd");
            said.iter()
                .any(|line| line.contains("had file descriptors"))
                .then_some(())
        }),
    }
    daemon.end();
}
