//! A minimal server, to measure what a tenant costs besides its program. It listens on 0.0.0.0:PORT
//! (the first argument, default 80) and closes each connection. With a second argument, whatever that is,
//! it first sends the nanoseconds of `CLOCK_MONOTONIC` at which it began, as eight bytes.
//!
//! Build it with `--release`: that profile is small and quick to start.

use std::io::Write;
use std::net::TcpListener;

use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begun = clock_gettime(ClockId::Monotonic);
    let begun = (begun.tv_sec * 1_000_000_000 + begun.tv_nsec).to_ne_bytes();
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(80), |text| text.parse())?;
    let tells = arguments.next().is_some();
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    loop {
        // A connection may be reset before it is accepted, or before this is sent.
        if let Ok((mut stream, _)) = listener.accept()
            && tells
        {
            let _reset = stream.write_all(&begun);
        }
    }
}
