//! A client that sends 100 requests a second to a server, in a process of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::daemon::LIMIT;

/// The option with which this program is that client.
pub const OPTION: &str = "--requests-to";

/// From one request to the next.
const INTERVAL: Duration = Duration::from_millis(10);

/// A running client.
#[derive(Debug)]
pub struct Client(Child);

impl Client {
    /// Starts one, with the least priority of the real-time ones, which is above that of all usual processes.
    pub fn start(address: SocketAddr) -> Self {
        let mut client = Command::new("chrt")
            .args(["--fifo", "1"])
            .arg(std::env::current_exe().unwrap())
            .args([OPTION, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answered = [0; 1];
        // It says so after the first answer.
        let out = client.stdout.as_mut().unwrap();
        out.read_exact(&mut answered).unwrap();
        Self(client)
    }

    /// Ends it. Returns how long each request took, in milliseconds.
    pub fn end(mut self) -> Vec<f64> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        let out = self.0.stdout.as_mut().unwrap();
        out.read_to_string(&mut text).unwrap();
        assert!(self.0.wait().unwrap().success(), "the client failed");
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

/// Sends requests until the end of standard input, and then prints the milliseconds of each.
pub fn send(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let ended = std::thread::spawn(|| {
        let _bytes = std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    });
    let mut out = std::io::stdout();
    request(address);
    out.write_all(b"!").unwrap();
    out.flush().unwrap();
    let mut times = Vec::new();
    let mut next = Instant::now();
    while !ended.is_finished() {
        next += INTERVAL;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        times.push(request(address));
    }
    for time in times {
        writeln!(out, "{time}").unwrap();
    }
}

/// One request, in milliseconds until it is answered.
fn request(address: SocketAddr) -> f64 {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    begun.elapsed().as_secs_f64() * 1000.0
}
