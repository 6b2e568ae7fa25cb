//! `top` on a terminal: waits for what happens next, passes it to the board, and draws.

use std::borrow::Cow;
use std::io::{self, Stdin, stdin};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use anstream::StripStream;
use anyhow::Context;
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::low_level::emulate_default_handler;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::board::Board;
use super::feed::Feed;
use super::keys::{Key, Keys};
use super::signals::Signals;
use super::terminal::Terminal;
use super::typed::Action;
use super::{draw, read};
use crate::cli::args::Top;
use crate::cli::plain::plain;
use crate::cli::status::view::View;
use crate::cli::{End, select, status, watch};
use tenantd_api::client::survey::{PATIENCE, ask};
use tenantd_api::client::watch::Watched;
use tenantd_api::client::{ClientError, Connection};
use tenantd_core::name::{AppName, TenantName};

/// How long events are collected before they are drawn.
const GATHER: Duration = Duration::from_millis(100);

/// How long the rest of a key may take that a terminal sends as several bytes.
const SEQUENCE: Duration = Duration::from_millis(50);

/// The longest message, in characters.
const MESSAGE_MAX: usize = 500;

/// What happened next.
enum Next {
    Watched(Result<Watched, ClientError>),
    /// No bytes: the terminal was hung up.
    Typed(Vec<u8>),
    Signals(Vec<i32>),
    /// It is time to read the counters.
    Measure,
    /// It is time to draw.
    Draw,
    /// What was typed is all of a key.
    Escape,
}

/// How it ends.
enum Ending {
    Quit,
    /// This signal came.
    By(i32),
}

/// All that is waited for.
struct Live {
    app: AppName,
    board: Board,
    terminal: Terminal,
    feed: Feed,
    signals: Signals,
    stdin: AsyncFd<Stdin>,
    keys: Keys,
    begun: std::time::Instant,
    measure_at: Instant,
    draw_at: Option<Instant>,
    escape_at: Option<Instant>,
}

pub(super) fn run(app: &AppName, what: &Top) -> anyhow::Result<End> {
    let ending = crate::cli::converse(async {
        let mut live = Live::begin(app, what).await?;
        live.run().await
    })?;
    // The terminal is restored by now.
    match ending {
        Ending::Quit => Ok(End::Done),
        Ending::By(SIGINT) => Ok(End::Interrupted),
        Ending::By(signal) => {
            emulate_default_handler(signal)?;
            Ok(End::Interrupted)
        }
    }
}

impl Live {
    async fn begin(app: &AppName, what: &Top) -> anyhow::Result<Self> {
        let mut connection = Connection::open(app).await?;
        let names = select::ask(&mut connection, &what.names).await?;
        drop(connection);
        let mut feed = Feed::open(app, names).await?;
        let status = loop {
            match feed.next().await? {
                Watched::Snapshot(snapshot) => break watch::status_of(snapshot),
                Watched::Event(_) | Watched::Request(_) => {}
            }
        };
        let signals = Signals::catch().context("cannot catch signals")?;
        let stdin = readable(stdin()).context("cannot wait for keys")?;
        Ok(Self {
            app: app.clone(),
            board: Board::new(status, what.sort, what.interval),
            terminal: Terminal::enter().context("cannot draw on the terminal")?,
            feed,
            signals,
            stdin,
            keys: Keys::default(),
            begun: std::time::Instant::now(),
            measure_at: Instant::now(),
            draw_at: None,
            escape_at: None,
        })
    }

    async fn run(&mut self) -> anyhow::Result<Ending> {
        loop {
            let ending = match self.next().await? {
                Next::Watched(watched) => {
                    self.watched(watched);
                    self.draw_at.get_or_insert_with(|| Instant::now() + GATHER);
                    continue;
                }
                Next::Typed(bytes) if bytes.is_empty() => Some(Ending::By(SIGHUP)),
                Next::Typed(bytes) => {
                    let keys = self.keys.take(&bytes);
                    let is_waiting = self.keys.is_waiting();
                    self.escape_at = is_waiting.then(|| Instant::now() + SEQUENCE);
                    self.typed(keys).await?
                }
                Next::Escape => {
                    self.escape_at = None;
                    let key = self.keys.give_up();
                    self.typed(key.into_iter().collect()).await?
                }
                Next::Signals(signals) => self.signalled(&signals)?,
                Next::Measure => {
                    self.measure();
                    None
                }
                Next::Draw => None,
            };
            if let Some(ending) = ending {
                return Ok(ending);
            }
            self.draw()?;
        }
    }

    async fn next(&mut self) -> io::Result<Next> {
        let later = Instant::now() + PATIENCE;
        Ok(tokio::select! {
            biased;
            signals = self.signals.next() => Next::Signals(signals?),
            typed = typed(&self.stdin) => Next::Typed(typed?),
            () = sleep_until(self.draw_at.unwrap_or(later)), if self.draw_at.is_some() => Next::Draw,
            () = sleep_until(self.escape_at.unwrap_or(later)), if self.escape_at.is_some() => Next::Escape,
            () = sleep_until(self.measure_at) => Next::Measure,
            watched = self.feed.next() => Next::Watched(watched),
        })
    }

    fn watched(&mut self, watched: Result<Watched, ClientError>) {
        match watched {
            Ok(Watched::Snapshot(snapshot)) => self.board.begin(watch::status_of(snapshot)),
            Ok(Watched::Event(event)) => self.board.apply(*event),
            Ok(Watched::Request(_)) => {}
            Err(error) => self.board.lose(with_cause(error)),
        }
    }

    fn measure(&mut self) {
        let round = read::read(&self.board.status.tenants, self.begun);
        self.board.measured(round.readings);
        if let Some(failed) = round.failed {
            self.board.say(short(&failed), true);
        }
        self.measure_at = Instant::now() + self.board.interval;
        panic_for_a_test();
    }

    fn draw(&mut self) -> io::Result<()> {
        self.draw_at = None;
        let screen = self.terminal.screen();
        self.board.fit(screen.height);
        let lines = draw::draw(&self.board, Timestamp::now(), screen);
        self.terminal.draw(lines)
    }

    fn signalled(&mut self, signals: &[i32]) -> anyhow::Result<Option<Ending>> {
        for &signal in signals {
            match signal {
                SIGINT | SIGTERM | SIGHUP | SIGQUIT => return Ok(Some(Ending::By(signal))),
                SIGTSTP => {
                    self.terminal.leave();
                    emulate_default_handler(SIGTSTP)?;
                    // A shell has continued it.
                    self.terminal.again()?;
                }
                SIGCONT => self.terminal.again()?,
                SIGWINCH => self.terminal.forget(),
                _ => {}
            }
        }
        Ok(None)
    }

    async fn typed(&mut self, keys: Vec<Key>) -> anyhow::Result<Option<Ending>> {
        for key in keys {
            let ending = match self.board.key(key) {
                None => None,
                Some(Action::Quit) => Some(Ending::Quit),
                Some(Action::Redraw) => {
                    self.terminal.forget();
                    None
                }
                Some(Action::Act(order, tenant)) => {
                    let (text, is_bad) = order.carry_out(&self.app, &tenant).await;
                    if !is_bad {
                        self.board.carried_out(order, &tenant);
                    }
                    self.board.say(short(&text), is_bad);
                    None
                }
                Some(Action::Why(tenant)) => {
                    self.why(&tenant).await;
                    None
                }
                Some(Action::Logs(tenant)) => self.logs(&tenant).await?,
            };
            if ending.is_some() {
                return Ok(ending);
            }
        }
        Ok(None)
    }

    /// Shows what `status` says of the tenant.
    async fn why(&mut self, tenant: &TenantName) {
        let asked = ask(&self.app, std::slice::from_ref(tenant), PATIENCE).await;
        let mut text = Vec::new();
        let shown = asked.map_err(anyhow::Error::from).and_then(|asked| {
            let mut plain = StripStream::new(&mut text);
            Ok(status::show(
                &mut plain,
                &asked,
                &View::default(),
                Timestamp::now(),
            )?)
        });
        if let Err(error) = shown {
            self.board.say(short(&format!("{error:#}")), true);
            return;
        }
        let text = String::from_utf8_lossy(&text);
        let width = self.terminal.screen().width;
        let lines = text.lines().flat_map(|line| {
            let line = plain(line, usize::MAX);
            let wrapped = textwrap::wrap(&line, width).into_iter();
            wrapped.map(Cow::into_owned).collect::<Vec<_>>()
        });
        self.board.show(lines.collect());
    }

    /// Leaves the terminal to `tenantd logs`, until that ends. Ctrl-C reaches it, and ends it alone.
    async fn logs(&mut self, tenant: &TenantName) -> anyhow::Result<Option<Ending>> {
        self.terminal.leave();
        println!("log of {tenant}: Ctrl-C returns to the table");
        let mut command = Command::new("/proc/self/exe");
        let app = self.app.as_str();
        command.args(["--app", app, "logs", "--follow", tenant.as_str()]);
        let mut child = command.spawn().context("cannot run `tenantd logs`")?;
        let pid = Pid::from_child(&child);
        let ended = readable(pidfd_open(pid, PidfdFlags::empty())?)?;
        let ending = loop {
            let signals = tokio::select! {
                readable = ended.readable() => {
                    readable?.retain_ready();
                    break None;
                }
                signals = self.signals.next() => signals?,
            };
            let ends = |signal: &&i32| [SIGTERM, SIGHUP, SIGQUIT].contains(*signal);
            if let Some(&signal) = signals.iter().find(ends) {
                match pidfd_send_signal(ended.get_ref(), Signal::TERM) {
                    // It has ended already.
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(errno.into()),
                }
                break Some(Ending::By(signal));
            }
            if signals.contains(&SIGTSTP) {
                // The shell has stopped `logs` already.
                emulate_default_handler(SIGTSTP)?;
            }
        };
        let status = child.wait()?;
        // The terminal sent it to both, and its end may be seen first.
        self.signals.forget(SIGINT);
        if ending.is_none() && status.code().is_some_and(|code| code != 0) {
            println!("press Enter to return to the table");
            self.enter_pressed().await?;
        }
        self.terminal.again()?;
        Ok(ending)
    }

    async fn enter_pressed(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                typed = typed(&self.stdin) => match typed? {
                    bytes if bytes.is_empty() || bytes.contains(&b'\n') => return Ok(()),
                    _ => {}
                },
                signals = self.signals.next() => {
                    let signals = signals?;
                    if [SIGINT, SIGTERM, SIGHUP].iter().any(|it| signals.contains(it)) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn readable<T: AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that may change their descriptor; \
                  standard input and an OwnedFd keep theirs"
    )]
    AsyncFd::with_interest(inner, Interest::READABLE)
}

/// Waits for what is typed. Nothing means that the terminal was hung up. It is cancel-safe.
async fn typed(stdin: &AsyncFd<Stdin>) -> io::Result<Vec<u8>> {
    loop {
        let mut ready = stdin.readable().await?;
        let mut bytes = [0; 1024];
        match rustix::io::read(stdin.get_ref(), &mut bytes) {
            Ok(0) if ready.ready().is_read_closed() => return Ok(Vec::new()),
            Ok(0) | Err(Errno::AGAIN | Errno::INTR) => ready.clear_ready(),
            Ok(count) => return Ok(bytes[..count].to_vec()),
            // It was hung up.
            Err(Errno::IO) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

pub(super) fn with_cause(error: ClientError) -> String {
    short(&format!("{:#}", anyhow::Error::from(error)))
}

/// A message in one line that a terminal does not obey.
fn short(text: &str) -> String {
    plain(&text.replace('\n', " "), MESSAGE_MAX)
}

/// Shows what a panic does to the terminal. Only in builds with debug assertions.
fn panic_for_a_test() {
    #[cfg(debug_assertions)]
    if std::env::var_os("TENANTD_TOP_PANICS").is_some() {
        panic!("as a test asked for");
    }
}
