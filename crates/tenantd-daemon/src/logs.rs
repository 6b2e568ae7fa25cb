//! The tenants' output: from their pipes, line by line, to the journal or to files.
//!
//! One task reads all pipes, in iterations. An iteration reads at most [`READ_MAX`] bytes from one
//! pipe, writes the lines, and lets the rest of the daemon run. The pipe then goes to the end of
//! the queue, so that a tenant with much output does not delay the others. Lines that cannot be
//! written yet stay in the pipes.
//!
//! A line is removed from its pipe only after it has been written. So the death of the supervisor
//! loses no output: the next one continues to read, and repeats at most the lines of one iteration.
//! See `docs/decisions/0013-logs-survive.md`.

mod batch;
mod collected;
pub mod files;
pub mod journal;
mod last;
mod mark;
pub(crate) mod pace;
mod pipes;
pub(crate) mod refused;
mod scratch;
mod sink;
pub mod split;
pub mod syslog;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::epoll;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub use batch::{Batch, Origin, Stream};
use collected::Collected;
use files::Files;
use journal::Journal;
use last::LastLines;
pub use mark::Mark;
use mark::Marks;
pub(crate) use pipes::{BOTH, Ends, Held, HeldBack};
pub use pipes::{PAUSE_MAX, READ_MAX};
use pipes::{Pipe, Pipes};
use sink::Sink;
pub use sink::place;
pub use split::Line;
use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::fifo::ReadEnds;

/// How many events of epoll(7) to read at once.
const EVENTS: usize = 64;

/// The most bytes to read from a pipe before closing it: the default maximum size of a pipe
/// (`/proc/sys/fs/pipe-max-size`). The limit matters if a program still writes.
const DRAIN_MAX: usize = 1024 * 1024;

/// Reads the output of all tenants. Dropping it stops the reading; [`Logs::end`] first writes what
/// was read.
#[derive(Debug)]
pub struct Logs {
    reader: Rc<LogReader>,
    task: JoinHandle<()>,
}

/// The state that the reading task and [`Logs`] share.
#[derive(Debug)]
struct LogReader {
    epoll: AsyncFd<OwnedFd>,
    pipes: RefCell<Pipes>,
    collected: RefCell<Vec<Collected>>,
    marks: RefCell<Marks>,
    last: RefCell<LastLines>,
    /// A mark is waiting.
    marked: Notify,
    /// Fair (first come, first served), which keeps each tenant's lines in their order.
    sink: Mutex<Sink>,
    search: Rc<refused::Search>,
}

impl Logs {
    /// Starts reading, as a task of the current `LocalSet`.
    ///
    /// # Errors
    /// What epoll_create1(2) or pthread_create(3) reports.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    pub fn start(app: &AppName, place: LogPlace) -> io::Result<Self> {
        let sink = match place {
            LogPlace::Journal => {
                let path = journal::SOCKET.as_ref();
                Sink::journal(Journal::new(app.clone(), path))
            }
            LogPlace::Files => Sink::files(Files::of(app), io::stdout())?,
        };
        let reader = Rc::new(LogReader::new(app.clone(), sink)?);
        let task = tokio::task::spawn_local(Rc::clone(&reader).read());
        Ok(Self { reader, task })
    }

    /// Reads a tenant's pipes from now on. Closes its previous pipes without reading them.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports.
    pub fn add(&self, tenant: &TenantName, read_ends: ReadEnds) -> io::Result<()> {
        self.reader.add(tenant, read_ends)
    }

    /// Does not read a tenant's pipes until the mark of its launch has been written, whether the
    /// launch succeeded or not.
    pub fn hold(&self, tenant: &TenantName) {
        self.reader.search.launched(tenant);
        self.reader.pipes.borrow_mut().hold(tenant);
    }

    /// The lines that say that a write was refused, from now on.
    pub(crate) fn refused(&self) -> mpsc::Receiver<refused::Refused> {
        self.reader.search.begin()
    }

    /// Writes a mark among the lines of a tenant.
    pub fn mark(&self, tenant: &TenantName, mark: Mark) {
        let mut marks = self.reader.marks.borrow_mut();
        marks.push(tenant.clone(), mark);
        self.reader.marked.notify_one();
    }

    /// Reads the rest of a tenant's pipes, including a last line without an end, and closes them.
    pub async fn remove(&self, tenant: &TenantName) {
        self.reader.remove(tenant).await;
    }

    /// Pauses reading until the result is dropped. What was read before has been written.
    pub(super) async fn pause(&self) -> impl Drop + '_ {
        let mut sink = self.reader.sink.lock().await;
        self.reader.write_marks(&mut sink).await;
        sink.flush().await;
        sink
    }

    /// Another descriptor of each pipe that the log collector does not hold, for an upgrade.
    ///
    /// # Errors
    /// What fcntl(2) reports.
    pub(super) fn pipes(&self) -> io::Result<Vec<(TenantName, Stream, OwnedFd)>> {
        self.reader.pipes.borrow().copy()
    }

    /// Ends the reading after writing what was read. The rest stays in the pipes, and the next
    /// supervisor continues to read there.
    pub async fn end(&self) {
        self.reader.end().await;
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LogReader {
    fn new(app: AppName, sink: Sink) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; an OwnedFd keeps its own open until it is dropped"
        )]
        let epoll = AsyncFd::with_interest(epoll, tokio::io::Interest::READABLE)?;
        Ok(Self {
            epoll,
            pipes: RefCell::new(Pipes::new(app)?),
            collected: RefCell::default(),
            marks: RefCell::default(),
            last: RefCell::default(),
            marked: Notify::new(),
            search: sink.search(),
            sink: Mutex::new(sink),
        })
    }

    async fn read(self: Rc<Self>) {
        loop {
            if let Err(error) = self.iterate().await {
                // epoll(7) cannot fail on a descriptor that is ours and open.
                tracing::error!(%error, "cannot read the tenants' output any longer");
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a pipe is ready, and runs one iteration.
    async fn iterate(&self) -> io::Result<()> {
        self.wait().await?;
        // Held for the whole iteration, so that no other task reads the same bytes.
        let mut sink = self.sink.lock().await;
        self.write_marks(&mut sink).await;
        let taken = self.pipes.borrow_mut().take();
        if let Some((batch, taken)) = taken {
            self.last.borrow_mut().see(&batch);
            sink.put(batch).await;
            self.pipes.borrow_mut().consume(&taken);
        }
        self.write_collected(&mut sink).await;
        Ok(())
    }

    /// Writes some of the collected lines. Returns how many bytes they were in the FIFO.
    async fn write_collected(&self, sink: &mut Sink) -> usize {
        let mut sum = 0;
        let count = self.collected.borrow().len();
        for index in 0..count {
            let (batches, used) = self.collected.borrow_mut()[index].take();
            sink.put_all(batches).await;
            self.collected.borrow_mut()[index].consume(used);
            sum += used;
        }
        sum
    }

    /// Writes the lines that were collected before this.
    async fn write_all_collected(&self, sink: &mut Sink) {
        let mut left = DRAIN_MAX;
        while left > 0 {
            match self.write_collected(sink).await {
                0 => return,
                used => left = left.saturating_sub(used),
            }
        }
    }

    /// Writes all marks. Those of many tenants at once, as at a restart of all, are one write, because
    /// each costs a change to another thread and back.
    async fn write_marks(&self, sink: &mut Sink) {
        let mut written: Vec<Batch> = Vec::new();
        let mut launched = Vec::new();
        loop {
            let next = self.marks.borrow_mut().pop();
            let Some((tenant, mark, end)) = next else {
                break;
            };
            if mark.lines_before().is_some() {
                sink.put_all(std::mem::take(&mut written)).await;
                self.write_all_collected(sink).await;
            }
            let mut left = DRAIN_MAX;
            while let Some(rest) = mark.lines_before().filter(|_| left > 0) {
                let taken = self.pipes.borrow_mut().take_rest(&tenant, rest);
                let Some((batch, taken)) = taken else {
                    break;
                };
                // Earlier marks may be of the same tenant.
                sink.put_all(std::mem::take(&mut written)).await;
                self.last.borrow_mut().see(&batch);
                sink.put(batch).await;
                left = left.saturating_sub(self.pipes.borrow_mut().consume_rest(&taken));
            }
            self.last.borrow_mut().on_mark(&tenant, (&mark, end));
            written.push(mark.batch(tenant.clone()));
            launched.extend(mark.lines_before().is_none().then_some(tenant));
        }
        sink.put_all(written).await;
        for tenant in launched {
            self.pipes.borrow_mut().release(&tenant);
        }
    }

    async fn wait(&self) -> io::Result<()> {
        loop {
            self.poll()?;
            let end = self.pipes.borrow_mut().end_pauses(Instant::now());
            let collected = self.collected.borrow().iter().any(Collected::is_ready);
            let is_ready = self.pipes.borrow().any_ready() || collected;
            if is_ready || !self.marks.borrow().is_empty() {
                return Ok(());
            }
            tokio::select! {
                guard = self.epoll.readable() => {
                    let mut guard = guard?;
                    if self.poll()? == 0 {
                        guard.clear_ready();
                    }
                }
                () = reach(end) => {}
                () = self.marked.notified() => {}
            }
        }
    }

    /// Marks the pipes ready that were written to. Returns the number of events.
    fn poll(&self) -> io::Result<usize> {
        let mut pipes = self.pipes.borrow_mut();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let at_once = Some(&rustix::event::Timespec::default());
        let mut reported = 0;
        // All events, so that no pipe is missed. The limit matters because pipes that are written
        // to all the time are reported again and again.
        while reported <= pipes.len() {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(self.epoll.get_ref(), spare, at_once) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                let key = event.data.u64();
                match collected::index(key) {
                    Some(index) => {
                        let mut collected = self.collected.borrow_mut();
                        collected.get_mut(index).map(Collected::mark_ready);
                    }
                    None => pipes.mark_ready(key),
                }
            }
            reported += events.len();
            if events.len() < EVENTS {
                break;
            }
        }
        Ok(reported)
    }

    fn add(&self, tenant: &TenantName, read_ends: ReadEnds) -> io::Result<()> {
        let watch = |fd: &OwnedFd, key| self.watch(fd, key);
        self.pipes.borrow_mut().add(tenant, read_ends, watch)
    }

    /// Bytes that are already in a pipe are reported at once.
    fn watch(&self, fd: &OwnedFd, key: u64) -> io::Result<()> {
        // Edge-triggered: a pipe with an incomplete line would otherwise be reported all the time.
        let how = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, fd, data, how)?)
    }

    async fn remove(&self, tenant: &TenantName) {
        let mut sink = self.sink.lock().await;
        self.write_marks(&mut sink).await;
        let pipes: Vec<_> = self.pipes.borrow_mut().take_out(tenant).collect();
        for (stream, pipe) in pipes {
            if let Err(error) = self.drain(tenant, stream, pipe, &mut sink).await {
                tracing::error!(%tenant, %error, "{tenant}: cannot read the rest of its {stream}");
            }
        }
    }

    async fn drain(
        &self,
        tenant: &TenantName,
        stream: Stream,
        pipe: Pipe,
        sink: &mut Sink,
    ) -> io::Result<()> {
        let pipe = self.pipes.borrow().descriptor(tenant, stream, pipe)?;
        let mut left = DRAIN_MAX;
        while left > 0 {
            let mut lines = Vec::new();
            let used = self.pipes.borrow_mut().drain(&pipe, &mut lines)?;
            if used == 0 {
                break;
            }
            let tenant = tenant.clone();
            let batch = Batch {
                tenant,
                stream,
                lines,
            };
            sink.put(batch).await;
            self.pipes.borrow_mut().drained(&pipe, used)?;
            left = left.saturating_sub(used);
        }
        Ok(())
    }

    async fn end(&self) {
        let mut sink = self.sink.lock().await;
        self.write_marks(&mut sink).await;
        self.write_all_collected(&mut sink).await;
        self.pipes.borrow_mut().clear();
        sink.flush().await;
    }
}

async fn reach(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
