//! The least server there is, for measuring what a tenant costs beyond its program: it listens on
//! 0.0.0.0:PORT (the first argument, else 80), and answers each connection with its end.
//!
//! Build it with `--release`: that profile is small and quick to start.

use std::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .map_or(Ok(80), |text| text.parse())?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    loop {
        // A connection that was reset before it was taken is no error of ours.
        drop(listener.accept());
    }
}
