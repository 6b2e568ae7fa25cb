//! A writer: appends numbers to a list in its tenant's redis-server, one after the other, and
//! remembers which were acknowledged.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The port of redis-server.
const PORT: u16 = 6379;

/// The time limit for an answer.
const LIMIT: Duration = Duration::from_millis(500);

/// The pause between two writes, so that the processors are left to others.
const PACE: Duration = Duration::from_millis(1);

/// A running writer.
pub struct Writer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<u64>>,
}

impl Writer {
    /// Starts a writer. Each write counts, whether it was acknowledged or not.
    pub fn begin(ip: &'static str, writes: Arc<AtomicU64>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        // It is in the test host of the thread that starts it.
        let thread = std::thread::spawn(move || {
            let mut acknowledged = BTreeSet::new();
            let mut line = None;
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                match append(&mut line, ip, number) {
                    Ok(()) => {
                        acknowledged.insert(number);
                    }
                    // It is unknown whether that number was written, so the next one differs.
                    Err(_) => line = None,
                }
                writes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
            acknowledged
        });
        Self { over, thread }
    }

    /// Ends the writer, and returns the acknowledged numbers.
    pub fn end(self) -> BTreeSet<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

type Line = BufReader<TcpStream>;

fn append(line: &mut Option<Line>, ip: &str, number: u64) -> io::Result<()> {
    let line = match line {
        Some(line) => line,
        None => line.insert(connect(ip)?),
    };
    let answer = ask(line, &format!("RPUSH written {number}"))?;
    // The length of the list. While the server reads its file it refuses.
    if answer.starts_with(':') {
        Ok(())
    } else {
        Err(io::Error::other(answer))
    }
}

fn connect(ip: &str) -> io::Result<Line> {
    let address = SocketAddr::new(ip.parse().unwrap(), PORT);
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn ask(line: &mut Line, command: &str) -> io::Result<String> {
    write!(line.get_mut(), "{command}\r\n")?;
    read(line)
}

fn read(line: &mut Line) -> io::Result<String> {
    let mut answer = String::new();
    if line.read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim_end().to_owned())
}

/// All numbers that a server holds, in the order in which they were written.
pub fn written(ip: &str) -> Vec<u64> {
    let mut line = connect(ip).unwrap();
    let head = ask(&mut line, "LRANGE written 0 -1").unwrap();
    let count: usize = head.strip_prefix('*').unwrap().parse().unwrap();
    let numbers = (0..count).map(|_| {
        read(&mut line).unwrap();
        read(&mut line).unwrap().parse().unwrap()
    });
    numbers.collect()
}
