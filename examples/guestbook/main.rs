//! A guest book over HTTP: a small business application for one customer per installation.
//!
//! Like many such programs it has its port (80) and its data path (`/var/lib/guestbook`) built in, and
//! is not aware of tenants. GUESTBOOK_TITLE sets its title. Each entry is a line of the file `entries`,
//! appended and synced before the answer. An incomplete last line is dropped at the next start, so
//! that neither kill -9 nor a power failure damages the book. SIGTERM needs no handling for the same
//! reason.

mod book;
mod http;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use book::{Book, Entry, NAME_MAX, TEXT_MAX};
use http::{Reply, Request};

const PORT: u16 = 80;
const FOLDER: &str = "/var/lib/guestbook";
/// The maximum of connections at a time; each has a thread.
const VISITORS_MAX: usize = 64;
/// The number of entries on the page; `/entries` lists all.
const SHOWN_MAX: usize = 100;
/// The time limit for a request.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match open() {
        Ok((book, listener)) => serve(&Arc::new(Mutex::new(book)), &listener),
        Err(error) => {
            eprintln!("guestbook: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open() -> Result<(Book, TcpListener), String> {
    // The port comes first: it also ensures that only one process writes to the book.
    let listener = TcpListener::bind(("0.0.0.0", PORT))
        .map_err(|e| format!("cannot listen on port {PORT}: {e}"))?;
    let book =
        Book::open(Path::new(FOLDER)).map_err(|e| format!("cannot use {FOLDER}/entries: {e}"))?;
    Ok((book, listener))
}

fn serve(book: &Arc<Mutex<Book>>, listener: &TcpListener) -> ExitCode {
    static VISITORS: AtomicUsize = AtomicUsize::new(0);
    log(format_args!("listening on port {PORT}"));
    loop {
        let visitor = match listener.accept() {
            Ok((visitor, _)) => visitor,
            Err(error) => {
                eprintln!("guestbook: cannot accept a visitor: {error}");
                // Without free descriptors, for example, the next attempt would fail at once too.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if VISITORS.fetch_add(1, Ordering::AcqRel) >= VISITORS_MAX {
            VISITORS.fetch_sub(1, Ordering::AcqRel);
            answer(&visitor, "-", "-", &Reply::text(503, "too many visitors\n"));
            continue;
        }
        let book = Arc::clone(book);
        let thread = std::thread::Builder::new().spawn(move || {
            attend(&visitor, &book);
            VISITORS.fetch_sub(1, Ordering::AcqRel);
        });
        if let Err(error) = thread {
            VISITORS.fetch_sub(1, Ordering::AcqRel);
            eprintln!("guestbook: cannot attend to a visitor: {error}");
        }
    }
}

/// Reads one request and answers it. The connection ends with the answer, as HTTP/1.1 allows.
fn attend(visitor: &TcpStream, book: &Mutex<Book>) {
    match Request::read(visitor, Instant::now() + PATIENCE) {
        Ok(Some(request)) => {
            let reply = reply_to(&request, book);
            answer(visitor, &request.method, &request.path, &reply);
        }
        Ok(None) => {}
        Err(reply) => {
            answer(visitor, "-", "-", &reply);
            drain(visitor);
        }
    }
}

/// Reads and discards for a short time. A connection closed with unread bytes is reset, and the
/// answer may be lost, see tcp(7).
fn drain(mut visitor: &TcpStream) {
    let mut buffer = [0; 4096];
    if visitor
        .set_read_timeout(Some(Duration::from_millis(500)))
        .is_ok()
    {
        for _ in 0..64 {
            if !matches!(visitor.read(&mut buffer), Ok(1..)) {
                return;
            }
        }
    }
}

fn reply_to(request: &Request, book: &Mutex<Book>) -> Reply {
    // A thread that panicked with the lock left the book consistent: entries are added last.
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/") => Reply::html(page(&title(), &book.entries)),
        ("GET" | "HEAD", "/entries") => Reply::text(
            200,
            &book.entries.iter().map(Entry::line).collect::<String>(),
        ),
        ("GET" | "HEAD", "/healthz") => Reply::text(200, "ok\n"),
        ("POST", "/") => match Entry::from_form(&request.body) {
            Err(what) => Reply::text(422, &format!("{what}\n")),
            Ok(entry) => match book.keep(entry) {
                Ok(()) => Reply::text(303, "kept\n"),
                Err(error) => {
                    eprintln!("guestbook: cannot write {FOLDER}/entries: {error}");
                    Reply::text(500, "the entry could not be kept\n")
                }
            },
        },
        (_, "/" | "/entries" | "/healthz") => Reply::text(405, "not that way\n"),
        _ => Reply::text(404, "no such page\n"),
    }
}

fn answer(mut visitor: &TcpStream, method: &str, path: &str, reply: &Reply) {
    let sent = visitor
        .set_write_timeout(Some(PATIENCE))
        .and_then(|()| visitor.write_all(reply.message(method != "HEAD").as_bytes()))
        .and_then(|()| visitor.shutdown(Shutdown::Write));
    let peer = visitor
        .peer_addr()
        .map_or_else(|_| "-".to_owned(), |peer| peer.ip().to_string());
    match sent {
        Ok(()) => log(format_args!("{peer} {method} {path} {}", reply.status)),
        Err(error) => log(format_args!(
            "{peer} {method} {path} {} unsent: {error}",
            reply.status
        )),
    }
}

/// The title from the environment, or a default.
fn title() -> String {
    std::env::var("GUESTBOOK_TITLE").unwrap_or_else(|_| "Guest book".to_owned())
}

fn page(title: &str, entries: &[Entry]) -> String {
    let escape = |text: &str| {
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        text.replace('"', "&quot;").replace('\'', "&#39;")
    };
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <h1>{title}</h1>\n<form method=\"post\" action=\"/\">\n\
         <p><input name=\"name\" placeholder=\"Your name\" maxlength=\"{NAME_MAX}\" required>\n\
         <p><textarea name=\"text\" maxlength=\"{TEXT_MAX}\" required></textarea>\n\
         <p><button>Write</button></form>\n<p>Entries: {}\n",
        entries.len(),
        title = escape(title)
    );
    for entry in entries.iter().rev().take(SHOWN_MAX) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            html,
            "<p><b>{}</b>: {}",
            escape(&entry.name),
            escape(&entry.text)
        );
    }
    html
}

fn log(line: std::fmt::Arguments<'_>) {
    // Requests are answered even if the log cannot be written.
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_escaped() {
        let entry = Entry {
            name: "<i>".into(),
            text: "\"a\" & 'b'".into(),
        };
        let html = page("A & B", &[entry]);
        assert!(html.contains("<h1>A &amp; B</h1>"), "{html}");
        assert!(
            html.contains("<b>&lt;i&gt;</b>: &quot;a&quot; &amp; &#39;b&#39;"),
            "{html}"
        );
    }
}
