//! A client that asks all the time.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tenantd_host::netns::Netns;

use crate::network::host::inside;
use crate::support;

/// A client that asks a server in a tenant every millisecond, and measures how long it gets no answer.
pub struct Load {
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    client: JoinHandle<Duration>,
}

impl Load {
    pub fn on(netns: &Netns, address: IpAddr) -> Self {
        let at = SocketAddr::from((address, 7));
        let server = inside(netns, || UdpSocket::bind(at).unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let socket = match address {
            IpAddr::V4(_) => UdpSocket::bind("0.0.0.0:0").unwrap(),
            IpAddr::V6(_) => UdpSocket::bind("[::]:0").unwrap(),
        };
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        server.set_nonblocking(true).unwrap();
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&answers));
        let client = std::thread::spawn(move || {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            let mut byte = [0; 8];
            while !over.load(Ordering::Relaxed) {
                // It fails while there is no route.
                let _sent = socket.send_to(b"x", at);
                while let Ok((_, from)) = server.recv_from(&mut byte) {
                    let _sent = server.send_to(b"y", from);
                }
                match socket.recv_from(&mut byte) {
                    Ok(_) => {
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
            longest
        });
        let load = Self {
            is_over,
            answers,
            client,
        };
        load.answers_again();
        load
    }

    fn answers_again(&self) {
        let before = self.answers.load(Ordering::Relaxed);
        support::until("the tenant answers", || {
            self.answers.load(Ordering::Relaxed) > before + 20
        });
    }

    /// The longest time without an answer.
    pub fn end(self) -> Duration {
        self.answers_again();
        self.is_over.store(true, Ordering::Relaxed);
        self.client.join().unwrap()
    }
}
