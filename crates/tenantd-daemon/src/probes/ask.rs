//! Asks a program over the network.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::way_in::WayIn;

/// The longest status line that is read.
const LINE_MAX: usize = 1024;

/// How long, and how much, the program may still send before its connection is closed.
const CLOSE_MAX: Duration = Duration::from_secs(1);
const REST_MAX: usize = 64 * 1024;

/// Whether the port accepts a connection.
pub(super) async fn tcp(way: &WayIn, address: SocketAddr) -> Result<(), String> {
    close(connect(way, address).await?);
    Ok(())
}

/// Whether a request for the path is answered with a status below 400.
pub(super) async fn http(way: &WayIn, address: SocketAddr, path: &str) -> Result<(), String> {
    let mut stream = connect(way, address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: tenantd\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(|error| format!("cannot send the request: {error}"))?;
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while !line.contains(&b'\n') && line.len() < LINE_MAX {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => line.extend_from_slice(&buffer[..length]),
            Err(error) => return Err(format!("cannot read the answer: {error}")),
        }
    }
    close(stream);
    match status(&line) {
        Some(status) if status < 400 => Ok(()),
        Some(status) => Err(format!("it answered with status {status}")),
        None => Err("its answer is not HTTP".to_owned()),
    }
}

/// The status of an answer that begins so.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.trim_end().split(' ');
    words.next().filter(|word| word.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

async fn connect(way: &WayIn, address: SocketAddr) -> Result<TcpStream, String> {
    let stream = way.connect(address).await;
    stream.map_err(|error| format!("cannot connect: {error}"))
}

/// Closes a connection cleanly, in a task of its own: unread bytes would send RST, which some
/// programs log as an attack.
fn close(mut stream: TcpStream) {
    tokio::spawn(async move {
        let read = async {
            stream.shutdown().await?;
            let (mut rest, mut scrap) = (0, [0; 512]);
            while rest < REST_MAX {
                match stream.read(&mut scrap).await? {
                    0 => break,
                    length => rest += length,
                }
            }
            std::io::Result::Ok(())
        };
        // How the program ends this connection does not matter.
        let _ = tokio::time::timeout(CLOSE_MAX, read).await;
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_status_is_in_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503"), Some(503));
        for wrong in [
            b"SSH-2.0-x\r\n".as_slice(),
            b"HTTP/1.1\r\n",
            b"",
            b"HTTP/1.1 x",
        ] {
            assert_eq!(status(wrong), None);
        }
    }

    /// Asks a server that answers so.
    fn asked(answer: &'static [u8]) -> (Result<(), String>, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            let mut request = String::new();
            stream.read_to_string(&mut request).unwrap();
            request
        });
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let asked = http(&WayIn::Host, address, "/health?full=1").await;
            // The connection is closed in its own task.
            let request = tokio::task::spawn_blocking(|| server.join().unwrap());
            (asked, request.await.unwrap())
        })
    }

    #[test]
    fn a_request_is_answered_with_a_status_below_400() {
        let (answer, request) = asked(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n");
        assert_eq!(answer, Ok(()));
        assert!(request.starts_with("GET /health?full=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
        let (answer, _) = asked(b"HTTP/1.1 500 Oops\r\n\r\n");
        assert_eq!(answer, Err("it answered with status 500".to_owned()));
        let (answer, _) = asked(b"220 mail ready\r\n");
        assert_eq!(answer, Err("its answer is not HTTP".to_owned()));
    }
}
