//! The thread that follows the files of all tenants.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, ReadFlags, Reader};
use rustix::io::Errno;

use crate::collect::Files;
use crate::collect::follow::file::{self, Key};
use crate::collect::follow::queue::Queue;
use crate::collect::follow::tenant::{self, Tenant};
use crate::collect::follow::watch::unwatch;
use crate::collect::follow::{Order, lines};
use crate::collect::frame::{self, Source};
use crate::collect::sockets::Sockets;
use crate::logs::pace::Pace;
use crate::logs::split::Extent;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::fifo;

/// How much of one file is read before its tenant is removed.
const REST_MAX: usize = 1024 * 1024;

/// How long to wait after events were lost before all folders are looked at, so that a tenant that makes
/// events without a pause does not cause it all the time.
const AFTER_LOSS: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Following {
    app: AppName,
    out: Arc<Sockets>,
    inotify: OwnedFd,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    tenants: BTreeMap<TenantName, Tenant>,
    /// The folders that a watch is for.
    watches: HashMap<i32, BTreeSet<(TenantName, usize)>>,
    queue: Queue,
    /// When to look at all folders, because events were lost.
    look_at_all: Option<Instant>,
}

impl Following {
    /// # Errors
    /// What inotify_init1(2) reports.
    pub(super) fn new(
        app: AppName,
        out: Arc<Sockets>,
        orders: Receiver<Order>,
        wake: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self {
            app,
            out,
            inotify: inotify::init(flags)?,
            orders,
            wake,
            tenants: BTreeMap::new(),
            watches: HashMap::new(),
            queue: Queue::default(),
            look_at_all: None,
        })
    }

    /// Follows files until an error.
    ///
    /// # Errors
    /// What poll(2) reports, or read(2) from inotify.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            self.events()?;
            self.close_left();
            if self.look_at_all.is_some_and(|at| at <= Instant::now()) {
                self.look_at_all = None;
                self.look();
            }
            if let Some((tenant, key)) = self.queue.pop(Instant::now())
                && self.read(&tenant, key, false)
            {
                self.queue.push(&tenant, key);
            }
        }
    }

    /// Waits for something to do.
    fn wait(&self) -> io::Result<()> {
        let closes = self.tenants.values().filter_map(Tenant::next_close);
        let next = closes.chain(self.look_at_all).chain(self.queue.until());
        let next = next.min();
        let left = match self.queue.is_ready() {
            true => Some(Duration::ZERO),
            false => next.map(|at| at.saturating_duration_since(Instant::now())),
        };
        let left = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let mut both = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        match poll(&mut both, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !both[1].revents().is_empty() {
            let _empty = rustix::io::read(&*self.wake, &mut [0; 8]);
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Follow(tenant, files, since, done) => {
                self.follow(&tenant, files, since);
                let _gone = done.send(());
            }
            Order::Remove(Some(tenant), done) => {
                self.remove(&tenant);
                let _gone = done.send(());
            }
            Order::Remove(None, done) => {
                for tenant in self.tenants.keys().cloned().collect::<Vec<_>>() {
                    self.remove(&tenant);
                }
                let _gone = done.send(());
            }
        }
    }

    fn follow(
        &mut self,
        name: &TenantName,
        (files, rate): (Vec<Files>, Option<u64>),
        since: Option<SystemTime>,
    ) {
        if let Some(tenant) = self.tenants.get_mut(name)
            && tenant.is_of(&files)
        {
            rate.into_iter().for_each(|rate| tenant.pace.set(rate));
            return;
        }
        self.remove(name);
        if files.is_empty() {
            return;
        }
        let count = files.len();
        let mut tenant = Tenant::new(files, fifo::positions(&self.app, name), since);
        tenant.pace = Pace::new(rate);
        self.tenants.insert(name.clone(), tenant);
        for index in 0..count {
            self.resolve(name, index);
        }
        // Also the folders that do not exist yet: their files are all new.
        self.save(name);
    }

    fn remove(&mut self, name: &TenantName) {
        let files = self.tenants.get(name).map(Tenant::all).unwrap_or_default();
        for key in files {
            let mut left = REST_MAX / file::TURN;
            while left > 0 && self.read(name, key, false) {
                left -= 1;
            }
            self.read(name, key, true);
        }
        if let Some(tenant) = self.tenants.remove(name) {
            for (index, folder) in tenant.folders.iter().enumerate() {
                self.unwatch(folder.wd, name, index);
            }
        }
        self.queue.remove(name);
    }

    fn unwatch(&mut self, wd: Option<i32>, name: &TenantName, index: usize) {
        let Some(wd) = wd else {
            return;
        };
        if let Some(of) = self.watches.get_mut(&wd) {
            of.remove(&(name.clone(), index));
            if of.is_empty() {
                self.watches.remove(&wd);
                unwatch(&self.inotify, wd);
            }
        }
    }

    /// Opens a folder, watches it, and reads its files.
    fn resolve(&mut self, name: &TenantName, index: usize) {
        let Some(tenant) = self.tenants.get_mut(name) else {
            return;
        };
        let before = tenant.folders[index].wd;
        let resolved = tenant.resolve(index, &self.inotify);
        let (now, keys) = (tenant.folders[index].wd, tenant.all());
        if before != now {
            self.unwatch(before, name, index);
        }
        if let Some(wd) = now {
            let of = self.watches.entry(wd).or_default();
            of.insert((name.clone(), index));
        }
        if let Err(error) = resolved {
            self.note(name, &format!("cannot follow log files: {error}"));
        }
        for key in keys {
            self.queue.push(name, key);
        }
        self.say_many(name);
    }

    /// Handles the events that have arrived, at most as many as fit into the buffer.
    fn events(&mut self) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); 16 * 1024];
        let mut found = Vec::new();
        let mut reader = Reader::new(&self.inotify, &mut space);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    found.push((event.wd(), event.events(), event.cookie(), name));
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => return Err(errno.into()),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        let mut moved: Option<(u32, Vec<u8>)> = None;
        for (wd, events, cookie, name) in found {
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.look_at_all.get_or_insert(Instant::now() + AFTER_LOSS);
                continue;
            }
            let of = self.watches.get(&wd).cloned().unwrap_or_default();
            for (tenant, index) in of {
                let from = moved
                    .as_ref()
                    .filter(|(with, _)| *with == cookie && cookie != 0);
                let from = from.map(|(_, name)| name.clone());
                self.event(&tenant, index, events, name.as_deref(), from.as_deref());
            }
            moved = events
                .contains(ReadFlags::MOVED_FROM)
                .then(|| (cookie, name.unwrap_or_default()));
        }
        Ok(())
    }

    fn event(
        &mut self,
        name: &TenantName,
        index: usize,
        events: ReadFlags,
        file: Option<&[u8]>,
        moved_from: Option<&[u8]>,
    ) {
        let Some(tenant) = self.tenants.get_mut(name) else {
            return;
        };
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
        let made = ReadFlags::CREATE | ReadFlags::MOVED_TO;
        if events.intersects(gone) || (!tenant.is_there(index) && events.intersects(made)) {
            // A folder above was changed, or the folder itself.
            return self.resolve(name, index);
        }
        let Some(file) = file.map(OsStr::from_bytes) else {
            return;
        };
        let now = Instant::now();
        if !events.contains(ReadFlags::MODIFY) {
            // A name that is made or given is that of another file from now on.
            tenant.disappeared(index, file, now);
        }
        if let Some(from) = moved_from.filter(|_| events.contains(ReadFlags::MOVED_TO)) {
            tenant.renamed(index, OsStr::from_bytes(from), file, now);
        }
        // The old file first, whose lines are older.
        let mut keys = tenant.concerned(index, file);
        let is_new = keys.is_empty() || events.intersects(made);
        if is_new {
            tenant.appeared(index, file);
            keys.extend(tenant.concerned(index, file));
        }
        for key in keys {
            self.queue.push(name, key);
        }
        self.say_many(name);
    }

    /// Looks at all folders again.
    fn look(&mut self) {
        let all = self.tenants.iter();
        let all = all
            .flat_map(|(name, it)| (0..it.folders.len()).map(move |index| (name.clone(), index)));
        for (name, index) in all.collect::<Vec<_>>() {
            self.resolve(&name, index);
        }
    }

    fn close_left(&mut self) {
        let now = Instant::now();
        let due = self.tenants.iter();
        let due =
            due.flat_map(|(name, it)| it.to_close(now).into_iter().map(|key| (name.clone(), key)));
        for (name, key) in due.collect::<Vec<_>>() {
            if self.read(&name, key, false) {
                self.queue.push(&name, key);
                continue;
            }
            self.read(&name, key, true);
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.close(key);
                self.save(&name);
            }
        }
    }

    /// Reads and passes on some lines of a file. Returns whether there are more.
    fn read(&mut self, name: &TenantName, key: Key, is_last: bool) -> bool {
        let Some(tenant) = self.tenants.get_mut(name) else {
            return false;
        };
        let Some((seen, read)) = tenant.read(key, is_last) else {
            return false;
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                self.note(name, &format!("cannot read {seen}: {error}"));
                return false;
            }
        };
        if read.skipped > 0 {
            let size = read.skipped / 1024 / 1024;
            let text =
                format!("{seen} grows faster than it is read: {size} MiB of it were skipped");
            self.note(name, &text);
        }
        if read.bytes.is_empty() {
            return false;
        }
        let count = read.bytes.iter().filter(|&&byte| byte == b'\n').count();
        let counted = (read.bytes.len(), count);
        let tenant = self.tenants.get_mut(name);
        if let Some(at) = tenant.and_then(|it| it.pace.read(counted, Instant::now())) {
            self.queue.hold(name, at);
        }
        let mut frames = Vec::new();
        lines::encode(name, &seen, &read.bytes, is_last, &mut frames);
        self.pass_on(&frames);
        // After the lines: a kill in between repeats them, and loses none.
        self.save(name);
        read.more
    }

    fn save(&mut self, name: &TenantName) {
        if let Some(Err(error)) = self.tenants.get(name).map(Tenant::save) {
            tracing::debug!(%error, "cannot store how far log files were read");
        }
    }

    fn say_many(&mut self, name: &TenantName) {
        if let Some(tenant) = self.tenants.get_mut(name)
            && tenant.said_many == tenant::Many::ToSay
        {
            tenant.said_many = tenant::Many::Said;
            self.note(name, "too many log files: only the first 64 are followed");
        }
    }

    fn note(&self, name: &TenantName, text: &str) {
        let mut frames = Vec::new();
        let text = text.as_bytes();
        frame::encode(name, &Source::Note, text, Extent::Whole, &mut frames);
        self.pass_on(&frames);
    }

    fn pass_on(&self, frames: &[u8]) {
        if let Err(error) = self.out.pass_on(frames) {
            tracing::error!(%error, "cannot write to the FIFO of the logs");
        }
    }
}
