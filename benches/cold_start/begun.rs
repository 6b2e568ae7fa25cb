//! When a program was executed: `examples/idle.rs` says it with its answer.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::support::daemon::LIMIT;

/// When the program began that answers, and when it answered.
pub fn answer(address: SocketAddr) -> (i64, i64) {
    let waited = Instant::now();
    loop {
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, LIMIT) {
            let answered = now();
            let mut begun = [0; 8];
            // The killed one may still have accepted it.
            if stream.read_exact(&mut begun).is_ok() {
                return (i64::from_ne_bytes(begun), answered);
            }
        }
        assert!(waited.elapsed() < LIMIT, "{address} does not answer");
        // Not at once: the program that is started needs a processor too.
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// The nanoseconds of `CLOCK_MONOTONIC`.
pub fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Converts nanoseconds to milliseconds.
pub fn milliseconds(nanoseconds: i64) -> f64 {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap()).as_secs_f64() * 1000.0
}
