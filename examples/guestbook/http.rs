//! The part of HTTP/1.1 that a form needs: one request and one reply per connection, both bounded.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::book::TEXT_MAX;

/// The maximum size of request line and headers, in bytes; browsers send about 1 KiB.
const HEAD_MAX: usize = 8 * 1024;
/// The maximum size of a form, in bytes: the longest text, each character as four escaped bytes.
const BODY_MAX: usize = 12 * TEXT_MAX + 4 * 1024;

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Reads a request. `None` if the connection was closed without one; an error is the reply to send.
    pub(crate) fn read(mut from: &TcpStream, deadline: Instant) -> Result<Option<Request>, Reply> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if bytes.len() > HEAD_MAX {
                return Err(Reply::text(431, "the headers are too long\n"));
            }
            if !read_more(from, &mut bytes, deadline)? {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Reply::text(400, "that is no HTTP/1.1\n"));
        };
        let length = match (method, header(&head, "content-length")) {
            ("POST", None) => return Err(Reply::text(411, "how long is the form?\n")),
            (_, None) => 0,
            (_, Some(text)) => text
                .parse()
                .map_err(|_| Reply::text(400, "what a length\n"))?,
        };
        if length > BODY_MAX {
            return Err(Reply::text(413, "the form is too long\n"));
        }
        if header(&head, "expect").is_some() {
            // If this cannot be written, the reads below find out.
            let _ = from.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        while bytes.len() < end + length {
            if !read_more(from, &mut bytes, deadline)? {
                return Ok(None);
            }
        }
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let body = bytes[end..end + length].to_vec();
        Ok(Some(Request {
            method: method.to_owned(),
            path,
            body,
        }))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// Reads the available bytes. Returns false at the end.
fn read_more(mut from: &TcpStream, into: &mut Vec<u8>, deadline: Instant) -> Result<bool, Reply> {
    let late = || Reply::text(408, "that took too long\n");
    let left = deadline
        .checked_duration_since(Instant::now())
        .ok_or_else(late)?;
    let mut buffer = [0; 4096];
    let got = from
        .set_read_timeout(Some(left.max(Duration::from_millis(1))))
        .and_then(|()| from.read(&mut buffer));
    match got {
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            Ok(count > 0)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(late()),
        // The connection is closed, so the error would not be read.
        Err(_) => Ok(false),
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    kind: &'static str,
    body: String,
}

impl Reply {
    pub(crate) fn text(status: u16, body: &str) -> Reply {
        Reply {
            status,
            kind: "text/plain",
            body: body.to_owned(),
        }
    }

    pub(crate) fn html(body: String) -> Reply {
        Reply {
            status: 200,
            kind: "text/html",
            body,
        }
    }

    /// The whole message. The reason phrase is optional (RFC 9110), and is left empty.
    pub(crate) fn message(&self, with_body: bool) -> String {
        let Reply { status, kind, body } = self;
        let more = match status {
            303 => "Location: /\r\n",
            405 => "Allow: GET, HEAD, POST\r\n",
            _ => "",
        };
        format!(
            "HTTP/1.1 {status} \r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n{more}\r\n{}",
            body.len(),
            if with_body { body } else { "" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener};

    fn read(sent: &[u8]) -> Result<Option<Request>, u16> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut visitor = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        visitor.write_all(sent).unwrap();
        visitor.shutdown(Shutdown::Write).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        Request::read(&stream, deadline).map_err(|reply| reply.status)
    }

    #[test]
    fn reads_a_request_with_a_body() {
        let sent = b"POST /?x=1 HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 3\r\n\r\nabcd";
        let request = read(sent).unwrap().unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/")
        );
        assert_eq!(request.body, b"abc");
    }

    #[test]
    fn refuses_invalid_and_long_requests() {
        let status = |sent: &str| read(sent.as_bytes()).err();
        assert_eq!(status("hello\r\n\r\n"), Some(400));
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), Some(411));
        assert_eq!(
            status("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            Some(400)
        );
        assert_eq!(
            status("POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\n"),
            Some(413)
        );
        assert_eq!(status(&"x".repeat(2 * HEAD_MAX)), Some(431));
    }

    #[test]
    fn a_closed_connection_is_not_an_error() {
        assert!(read(b"").unwrap().is_none());
        assert!(
            read(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn replies_have_length_and_location() {
        assert_eq!(
            Reply::text(303, "kept\n").message(true),
            "HTTP/1.1 303 \r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\
             Connection: close\r\nLocation: /\r\n\r\nkept\n"
        );
    }
}
