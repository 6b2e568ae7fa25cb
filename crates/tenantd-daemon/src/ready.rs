//! When a tenant is ready: its port answers, or its program says so.

pub mod notice;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The pause after the first refusal. Most programs listen within a few milliseconds.
const PAUSE_FIRST: Duration = Duration::from_millis(2);

/// The longest pause, so that a program that takes minutes is asked five times a second.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How long one attempt may take: the kernel itself would try for two minutes (tcp(7),
/// `tcp_syn_retries`), although the program may listen the next moment.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// How long, and how much, the program may still send before its connection is closed.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Waits until something listens at the address, as seen from the host. Has no limit of its own,
/// and nothing is left when it is cancelled.
pub async fn tcp(address: SocketAddr) {
    let mut pause = PAUSE_FIRST;
    loop {
        let attempt = TcpStream::connect(address);
        if let Ok(Ok(stream)) = tokio::time::timeout(ATTEMPT_MAX, attempt).await {
            tokio::spawn(async move {
                // Whether the program sees us off is its own affair.
                let _ = tokio::time::timeout(FAREWELL_MAX, part(stream)).await;
            });
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Ends a connection in order: says that nothing will come, and reads what the program says first
/// (a mail server's banner), because closing with bytes unread sends RST (RFC 2525, section 2.17),
/// which some programs log as an attack.
async fn part(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut scrap = [0; 512];
    while stream.read(&mut scrap).await? > 0 {}
    Ok(())
}
