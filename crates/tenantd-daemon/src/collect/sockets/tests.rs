//! Messages of ordinary and of hostile tenants.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg_addr, sockopt};

use super::*;
use crate::logs::split::LINE_MAX;

/// How long closing its descriptor takes.
const LINGER: Duration = Duration::from_secs(5);

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
fn descriptors_of_a_hostile_tenant_delay_nobody() {
    let place = tempfile::tempdir().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let sockets = Sockets::new("wiki".parse().unwrap(), writer).unwrap();
    let sockets = Arc::new(sockets);
    let path = |tenant: &str| place.path().join(tenant);
    for tenant in ["acme", "bolt"] {
        // As with a kernel that cannot refuse descriptors.
        let socket = UnixDatagram::bind(path(tenant)).unwrap();
        let tenant = tenant.parse().unwrap();
        sockets
            .insert(sockets.open(), &tenant, socket.into(), (0, 0))
            .unwrap();
    }
    let (full, _other) = lingering();
    let sender = UnixDatagram::unbound().unwrap();
    for text in ["<14>a: one", "<14>a: two"] {
        let fds = [full.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let to = rustix::net::SocketAddrUnix::new(path("acme")).unwrap();
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg_addr(&sender, &to, &text, &mut control, SendFlags::empty()).unwrap();
    }
    drop(full);
    sender.send_to(b"<14>b: three", path("bolt")).unwrap();
    let begun = Instant::now();
    sockets.start().unwrap();
    let (mut bytes, mut entries) = (Vec::new(), Vec::new());
    while entries.len() < 3 {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(&reader, &mut buffer).unwrap();
        bytes.extend(&buffer[..count]);
        let used = frame::decode(&bytes, &mut entries);
        bytes.drain(..used);
    }
    assert!(begun.elapsed() < LINGER);
    let texts: Vec<_> = entries
        .iter()
        .map(|it| (it.tenant.as_str(), it.line.text.as_str()))
        .collect();
    assert_eq!(texts[0], ("acme", "one"));
    assert!(
        texts[1]
            .1
            .starts_with("a message to /dev/log had file descriptors")
    );
    assert_eq!(texts[2], ("bolt", "three"));
    // It is closed in the end.
    while sender.send_to(b"x", path("acme")).is_ok() {}
}

fn lines(message: &[u8], is_cut: bool) -> Vec<(String, Extent)> {
    let mut frames = Vec::new();
    encode(&"acme".parse().unwrap(), message, is_cut, &mut frames);
    let mut entries = Vec::new();
    assert_eq!(frame::decode(&frames, &mut entries), frames.len());
    entries
        .into_iter()
        .map(|it| (it.line.text, it.line.extent))
        .collect()
}

#[test]
fn each_line_of_a_message_is_a_line() {
    let line = |text: &str| (text.to_owned(), Extent::Whole);
    assert_eq!(
        lines(b"<13>a[1]: one\n\ntwo\r\nthree\n\0", false),
        ["one", "two", "three"].map(line)
    );
    assert_eq!(lines(b"<13>a: ", false), [line("")]);
    assert_eq!(lines(b"", false), []);
    assert_eq!(lines(b"\0\0\n", false), []);
    let many = lines(&b"x\n".repeat(1000), false);
    assert_eq!(many.len(), LINES_MAX);
    assert_eq!(many[LINES_MAX - 1].0.len(), 2 * (1000 - LINES_MAX + 1) - 1);
}

#[test]
fn a_long_line_is_cut_as_those_of_stdout() {
    let long = [b"<13>a: ".as_slice(), &vec![b'x'; 40_000]].concat();
    let pieces = lines(&long, true);
    let lengths: Vec<_> = pieces
        .iter()
        .map(|(text, extent)| (text.len(), *extent))
        .collect();
    assert_eq!(
        lengths,
        [
            (LINE_MAX, Extent::Continues),
            (LINE_MAX, Extent::Continues),
            // The message was longer than what is received of one: the rest is lost.
            (40_000 - 2 * LINE_MAX, Extent::Truncated)
        ]
    );
}
