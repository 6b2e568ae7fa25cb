//! Messages of ordinary and of hostile tenants.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use tenantd_host::inbox::Descriptors;

/// How long to wait for what is expected.
const LIMIT: Duration = Duration::from_secs(10);

/// How long closing a descriptor of [`lingering`] takes.
const LINGER: Duration = Duration::from_secs(60);

struct Bench {
    place: TempDir,
    notices: Notices,
    said: UnboundedReceiver<Said>,
}

impl Bench {
    fn new() -> Self {
        let (notices, said) = Notices::start().unwrap();
        Self {
            place: tempfile::tempdir().unwrap(),
            notices,
            said,
        }
    }

    /// A launch of a tenant, and the path of its socket.
    fn launch(&self, tenant: &str, launch: u64) -> PathBuf {
        let folder = self.place.path().join(tenant);
        std::fs::create_dir_all(&folder).unwrap();
        let inbox = Inbox::bind(&folder, "notify", Descriptors::Accepted).unwrap();
        self.notices
            .add(&tenant.parse().unwrap(), LaunchId(launch), inbox);
        folder.join("notify")
    }

    /// The next notice: whose it is, of which launch, and its status.
    fn next(&mut self) -> (String, u64, String) {
        match self.next_said() {
            Said::Notice {
                tenant,
                launch,
                notice,
            } => (
                tenant.to_string(),
                launch.0,
                notice.status.unwrap_or_default(),
            ),
            Said::Paused => panic!("it is paused"),
        }
    }

    fn next_said(&mut self) -> Said {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        let next = async { timeout(LIMIT, self.said.recv()).await };
        runtime.block_on(next).expect("nothing arrives").unwrap()
    }
}

fn sender(path: &Path) -> UnixDatagram {
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(path).unwrap();
    sender
}

fn send_with(sender: &UnixDatagram, text: &str, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(sender, &text, &mut control, SendFlags::empty()).unwrap();
}

/// A socket with data that is not read, whose last close waits for [`LINGER`].
fn lingering() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut full = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[0; 65_536]).is_ok() {}
    sockopt::set_socket_linger(&full, Some(LINGER)).unwrap();
    (full, other)
}

#[test]
fn descriptors_delay_nobody_and_a_barrier_is_answered() {
    let mut bench = Bench::new();
    let (acme, bolt) = (bench.launch("acme", 1), bench.launch("bolt", 2));
    let hostile = sender(&acme);
    let mut others = Vec::new();
    for _ in 0..3 {
        let (full, other) = lingering();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let descriptors = [full.as_fd(), writer.as_fd(), writer.as_fd()];
        send_with(&hostile, "STATUS=fd", &descriptors);
        drop((full, writer));
        assert_eq!(bench.next(), ("acme".to_owned(), 1, "fd".to_owned()));
        // The end of file proves that all copies of the other end are closed.
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        others.push(other);
    }
    sender(&bolt).send(b"STATUS=here").unwrap();
    assert_eq!(bench.next(), ("bolt".to_owned(), 2, "here".to_owned()));
}

#[test]
fn a_socket_with_queued_descriptors_is_closed_without_harm() {
    let mut bench = Bench::new();
    let (acme, bolt) = (bench.launch("acme", 1), bench.launch("bolt", 2));
    bench.notices.pause();
    assert!(matches!(bench.next_said(), Said::Paused));
    let (full, _other) = lingering();
    send_with(&sender(&acme), "STATUS=fd", &[full.as_fd()]);
    drop(full);
    bench.notices.remove(&"acme".parse().unwrap());
    bench.notices.resume();
    sender(&bolt).send(b"STATUS=here").unwrap();
    assert_eq!(bench.next(), ("bolt".to_owned(), 2, "here".to_owned()));
    let refused = UnixDatagram::unbound().unwrap().send_to(b"READY=1", &acme);
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn a_flood_is_bounded_and_another_tenant_is_heard_at_once() {
    let mut bench = Bench::new();
    let (acme, bolt) = (bench.launch("acme", 1), bench.launch("bolt", 2));
    let flood = sender(&acme);
    // It ends when the socket is closed.
    let flooding = thread::spawn(move || while flood.send(&[b'x'; 4_000]).is_ok() {});
    let hostile = sender(&acme);
    let (mut least, mut heard) = (Duration::MAX, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let sent = Instant::now();
        sender(&bolt).send(b"STATUS=here").unwrap();
        assert_eq!(bench.next(), ("bolt".to_owned(), 2, "here".to_owned()));
        least = least.min(sent.elapsed());
        heard += 1;
    }
    assert!(least < Duration::from_millis(50), "{least:?}");
    // Its own limits apply to it too.
    let windows = begun.elapsed().as_millis() / WINDOW.as_millis() + 2;
    assert!(heard <= windows * MESSAGES_MAX as u128, "{heard}");
    hostile.send(b"STATUS=last").unwrap();
    assert_eq!(bench.next(), ("acme".to_owned(), 1, "last".to_owned()));
    bench.notices.remove(&"acme".parse().unwrap());
    flooding.join().unwrap();
}

#[test]
fn what_arrives_during_a_pause_waits() {
    let mut bench = Bench::new();
    let acme = bench.launch("acme", 1);
    sender(&acme).send(b"STATUS=one").unwrap();
    assert_eq!(bench.next(), ("acme".to_owned(), 1, "one".to_owned()));
    bench.notices.pause();
    assert!(matches!(bench.next_said(), Said::Paused));
    sender(&acme).send(b"STATUS=two").unwrap();
    assert_eq!(bench.notices.sockets().len(), 1);
    assert!(bench.said.try_recv().is_err());
    bench.notices.resume();
    assert_eq!(bench.next(), ("acme".to_owned(), 1, "two".to_owned()));
}

#[test]
fn a_late_message_of_an_earlier_launch_is_not_of_the_next_one() {
    let mut bench = Bench::new();
    let acme = bench.launch("acme", 1);
    let earlier = sender(&acme);
    bench.launch("acme", 2);
    // Sent to the socket of the earlier launch, if it is not closed yet.
    let _refused = earlier.send(b"STATUS=late");
    sender(&acme).send(b"STATUS=new").unwrap();
    let (tenant, launch, status) = bench.next();
    let of_launch = match launch {
        1 => (launch, status),
        _ => (launch, format!("{tenant} {status}")),
    };
    let expected = [(1, "late".to_owned()), (2, "acme new".to_owned())];
    assert!(expected.contains(&of_launch), "{of_launch:?}");
}

#[test]
fn long_messages_are_ignored() {
    let mut bench = Bench::new();
    let acme = bench.launch("acme", 1);
    let sender = sender(&acme);
    let long = [b"STATUS=long\n".as_slice(), &[b'x'; 8192]].concat();
    sender.send(&long).unwrap();
    sender.send(b"STATUS=short").unwrap();
    assert_eq!(bench.next(), ("acme".to_owned(), 1, "short".to_owned()));
}
