//! A minimal server, to measure what a tenant costs besides its program. It listens on 0.0.0.0:PORT
//! (the first argument, default 80) and closes each connection.
//!
//! Build it with `--release`: that profile is small and quick to start.

use std::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .map_or(Ok(80), |text| text.parse())?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    loop {
        // A connection may be reset before it is accepted.
        drop(listener.accept());
    }
}
