//! The example program without tenantd: acknowledged entries survive kill -9, and errors name what
//! cannot be used.

use crate::support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};

const FOLDER: &str = "/var/lib/guestbook";

/// A test host with an empty `/var/lib`.
fn enter() {
    support::enter();
    let none: Option<&str> = None;
    mount(
        Some("test"),
        "/var/lib",
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
}

/// Cargo builds the examples beside the program before it runs tests.
fn guestbook() -> Command {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tenantd"));
    let mut command = Command::new(program.with_file_name("examples").join("guestbook"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running guest book, killed when it is dropped.
struct Running(Child);

impl Running {
    /// Starts it, and waits for the line that reports that it listens.
    fn start() -> Running {
        let mut child = guestbook().spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "listening on port 80\n");
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn ask(request: &str) -> String {
    let mut stream = TcpStream::connect("127.0.0.1:80").unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn entries_survive_a_kill() {
    enter();
    fs::create_dir(FOLDER).unwrap();
    let book = Running::start();
    let form = "name=Ann&text=one+%26+two";
    let length = form.len();
    let answer = ask(&format!(
        "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{form}"
    ));
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    drop(book);

    let _book = Running::start();
    let answer = ask("GET /entries HTTP/1.1\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nAnn\tone & two\n"), "{answer}");
    let answer = ask("GET / HTTP/1.1\r\n\r\n");
    assert!(answer.contains("<b>Ann</b>: one &amp; two"), "{answer}");
}

#[test]
fn errors_name_the_file_or_address() {
    enter();
    let refusal = || {
        let output = guestbook().output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refusal();
    assert!(
        text.starts_with("guestbook: cannot use /var/lib/guestbook/entries: No such"),
        "{text}"
    );
    fs::create_dir(FOLDER).unwrap();
    let _book = Running::start();
    let text = refusal();
    assert!(
        text.starts_with("guestbook: cannot listen on port 80: Address already"),
        "{text}"
    );
}
