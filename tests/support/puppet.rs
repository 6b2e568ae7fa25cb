//! A tenant's program that does what a test tells it: a Python script that executes what it receives
//! at port 80.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::daemon::LIMIT;

/// Executes the text of each connection, and answers with what it assigned to `out`.
///
/// `say` sends a notice, with descriptors; `lingers` makes a socket whose close waits for a minute;
/// `apart` does something in a process that has left its session and its parent.
const SCRIPT: &str = r#"
import array, os, signal, socket, struct, subprocess, sys, time

def say(text, descriptors=()):
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(os.environ["NOTIFY_SOCKET"])
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    sender.sendmsg([text.encode()], [rights] if descriptors else [])

def lingers():
    there = socket.create_server(("127.0.0.1", 0))
    full = socket.create_connection(there.getsockname())
    full.setblocking(False)
    try:
        while True:
            full.send(b"x" * 65536)
    except BlockingIOError:
        pass
    full.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    return there, full

def apart(do):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        child = os.fork()
        if child == 0:
            os.closerange(3, 256)
            do()
            os._exit(0)
        os.write(writer, str(child).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    return int(os.read(reader, 16))

served = socket.create_server(("", 80))
exec(os.environ.get("FIRST", ""))
while True:
    asked, _ = served.accept()
    text = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
    out = ""
    try:
        exec(text)
    except Exception as error:
        out = "failed: " + repr(error)
    try:
        asked.sendall(str(out).encode())
        asked.close()
    except OSError:
        pass
"#;

/// The command of a tenant that runs it.
pub const COMMAND: &str = r#"["/usr/bin/python3", "/srv/puppet.py"]"#;

/// Writes the script.
pub fn make() {
    fs::write("/srv/puppet.py", SCRIPT).unwrap();
}

/// Has the program of a tenant execute a text. Returns what it assigned to `out`.
#[track_caller]
pub fn tell(ip: &str, text: &str) -> String {
    let mut stream = TcpStream::connect((ip, 80)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut out = String::new();
    stream.read_to_string(&mut out).unwrap();
    assert!(!out.starts_with("failed: "), "{text}: {out}");
    out
}
