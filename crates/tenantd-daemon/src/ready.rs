//! The two ways to find out that a program is ready: its port accepts connections, or it sends a
//! notice.

pub mod notice;
pub mod notices;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The pause after the first refusal. Most programs listen within a few milliseconds.
const PAUSE_FIRST: Duration = Duration::from_millis(2);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How long one attempt may take. The kernel itself would try for two minutes (tcp(7),
/// `tcp_syn_retries`), although the program may listen much earlier.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// How long, and how much, the program may still send before its connection is closed.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Waits until something accepts connections at the address, as seen from the host. Has no time
/// limit, and can be cancelled at any time.
pub async fn tcp(address: SocketAddr) {
    tcp_by(|| TcpStream::connect(address)).await;
}

/// The same, with another way to connect.
pub(crate) async fn tcp_by<F: Future<Output = io::Result<TcpStream>>>(connect: impl Fn() -> F) {
    let mut pause = PAUSE_FIRST;
    loop {
        if let Ok(Ok(stream)) = tokio::time::timeout(ATTEMPT_MAX, connect()).await {
            tokio::spawn(async move {
                // How the program ends this connection does not matter.
                let _ = tokio::time::timeout(CLOSE_MAX, close(stream)).await;
            });
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Closes a connection cleanly: shuts down the sending side, and reads what the program sends (such
/// as a mail server's banner). Closing with unread bytes would send RST (RFC 2525, section 2.17),
/// which some programs log as an attack.
async fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut scrap = [0; 512];
    while stream.read(&mut scrap).await? > 0 {}
    Ok(())
}
