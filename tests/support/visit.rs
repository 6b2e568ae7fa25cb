//! Clients of the tenants' servers, without a library: simple HTTP and RESP over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::daemon::LIMIT;

/// A connection to a tenant. The calling thread is in the test host.
fn connect(ip: &str, port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::new(ip.parse().unwrap(), port);
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Whether a server accepts connections there.
pub fn accepts(ip: &str, port: u16) -> bool {
    connect(ip, port).is_ok()
}

fn request(ip: &str, text: &str) -> (u16, String) {
    let mut stream = connect(ip, 80).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

/// GET of a path on port 80. Returns status and body.
pub fn get(ip: &str, path: &str) -> (u16, String) {
    request(
        ip,
        &format!("GET {path} HTTP/1.1\r\nHost: {ip}\r\nConnection: close\r\n\r\n"),
    )
}

/// Adds an entry to a guest book.
pub fn write_entry(ip: &str, name: &str, text: &str) {
    let body = format!("name={name}&text={text}");
    let (code, answer) = request(
        ip,
        &format!(
            "POST / HTTP/1.1\r\nHost: {ip}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert_eq!(code, 303, "{answer}");
}

/// Sends a command to a redis server. Returns the line of the reply with the value.
pub fn redis(ip: &str, words: &[&str]) -> String {
    let mut stream = connect(ip, 6379).unwrap();
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(text.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap().unwrap();
    match first.strip_prefix('$') {
        Some("-1") | None => first,
        Some(_) => lines.next().unwrap().unwrap(),
    }
}
