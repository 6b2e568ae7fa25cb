//! The meter's process: rounds of reading, each of which is written whole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sd_notify::NotifyState;

use tenantd_api::wire::StateWord;
use tenantd_host::counters::last::{self, Kept};
use tenantd_host::counters::{Cgroups, Counters, HeldLinks, boot, measured};

use crate::datastores::Datastores;
use crate::history::{BOUNDS, History};
use crate::seen::{Reading, Seen, Used};
use crate::store::{Line, PATH, Store, Who};
use crate::supervisors::{Supervisors, Told};
use crate::ticks::Ticks;

/// The lock of the process that writes the store.
const LOCK: &str = "/var/lib/tenantd/.meter/lock";

/// How often objects are forgotten that were not read for long, in milliseconds.
const FORGET_MS: i64 = 60 * 60 * 1000;

/// How often the meter reads.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between two rounds.
    pub interval: Duration,
    /// The time between two measurements of the datastores; none without it.
    pub datastores: Option<Duration>,
}

/// Reads and writes until it is killed, which it may be at any moment.
///
/// # Errors
/// If another meter runs, or the store cannot be written.
pub fn collect(pace: Pace) -> anyhow::Result<()> {
    let mut folders = DirBuilder::new();
    let folders = folders.recursive(true).mode(0o700);
    for folder in [last::ROOT, tenantd_host::history::ROOT] {
        let made = folders.create(folder);
        made.with_context(|| format!("cannot make {folder}"))?;
    }
    let _lock = lock()?;
    let mut meter = Meter::open(pace)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot set up the event loop")?;
    let rounds = async {
        let mut ticks = Ticks::begin(pace.interval).context("cannot set a timer")?;
        let mut is_ready = false;
        loop {
            for complaint in meter.supervisors.find().await {
                eprintln!("tenantd meter: {complaint}");
            }
            meter.round()?;
            meter.note()?;
            if !is_ready {
                is_ready = true;
                // Without systemd nobody is told.
                sd_notify::notify(&[NotifyState::Ready]).context("cannot tell systemd")?;
            }
            ticks.next().await.context("cannot read the timer")?;
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, rounds)
}

fn lock() -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options
        .open(LOCK)
        .with_context(|| format!("cannot open {LOCK}"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            bail!("another meter runs on this host: `lslocks` shows it with {LOCK}")
        }
        Err(errno) => Err(errno).with_context(|| format!("cannot lock {LOCK}")),
    }
}

struct Meter {
    store: Store,
    history: History,
    seen: BTreeMap<Who, Seen>,
    supervisors: Supervisors,
    datastores: Option<Datastores>,
    cgroups: Cgroups,
    links: HeldLinks,
    boot: String,
    /// When objects were forgotten last, in milliseconds since 1970.
    forgotten_ms: i64,
}

/// What one round adds, by tenant.
type Added = BTreeMap<Who, Vec<Used>>;

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// When the host was booted, see `btime` in proc_stat(5).
fn booted() -> anyhow::Result<Timestamp> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let mut lines = stat.lines();
    let second = lines.find_map(|line| line.strip_prefix("btime "));
    let second = second.context("/proc/stat has no btime")?;
    Ok(Timestamp::from_second(second.trim_end().parse()?)?)
}

impl Meter {
    fn open(pace: Pace) -> anyhow::Result<Self> {
        let mut store = Store::open(Path::new(PATH), now_ms())?;
        let boot = boot().context("cannot read the id of this boot")?;
        let booted = booted().context("cannot read when the host was booted")?;
        let history = History::open(store.connection(), BOUNDS, (&boot, booted));
        Ok(Self {
            history: history.with_context(|| format!("cannot write {PATH}"))?,
            seen: store.seen()?,
            store,
            supervisors: Supervisors::default(),
            datastores: pace.datastores.map(Datastores::begin),
            cgroups: Cgroups::new(),
            links: HeldLinks::new().context("cannot open a socket")?,
            boot,
            forgotten_ms: 0,
        })
    }

    fn round(&mut self) -> anyhow::Result<()> {
        // First: what is released after this is in the next round.
        let kept = last::all().context("cannot list the last counters")?;
        let tenants = self.supervisors.tenants();
        let mut added = Added::new();
        for one in &kept {
            self.take_last(one, &mut added);
        }
        for ran in self.supervisors.take_ended() {
            let used = self.of(&ran.who).ran(ran.since_ms, ran.until_ms);
            added.entry(ran.who).or_default().push(used);
        }
        let links = self.links.begin();
        links.context("cannot read the counters of the links")?;
        self.cgroups.begin();
        for told in &tenants {
            self.take_told(told, &mut added);
        }
        self.measure(&tenants, &mut added);
        self.forget();
        self.write(&added)?;
        if let Some(datastores) = &mut self.datastores {
            let published = datastores.publish();
            published.with_context(|| format!("cannot write {}", measured::PATH))?;
        }
        for one in &kept {
            let removed = last::forget(one);
            removed.with_context(|| format!("cannot remove {}", one.path.display()))?;
        }
        Ok(())
    }

    /// Takes what supervisors have noted.
    fn note(&mut self) -> anyhow::Result<()> {
        let round = self.history.round(self.store.connection());
        round.context("cannot write the history")
    }

    fn of(&mut self, who: &Who) -> &mut Seen {
        self.seen.entry(who.clone()).or_default()
    }

    fn take_last(&mut self, kept: &Kept, added: &mut Added) {
        let who = (kept.app.clone(), kept.tenant.clone());
        let last = match &kept.last {
            Ok(last) => last,
            Err(error) => {
                // Half a file is what a host leaves that lost power.
                let path = kept.path.display();
                return eprintln!(
                    "tenantd meter: cannot understand {path}, which is removed: {error}"
                );
            }
        };
        let used = self.of(&who).read(Reading {
            boot: &last.boot,
            time_ms: last.time_ms,
            counters: &last.counters,
            is_old: false,
        });
        added.entry(who).or_default().extend(used);
    }

    fn take_told(&mut self, told: &Told, added: &mut Added) {
        let who = &told.who;
        let counters = self.read(told).unwrap_or_else(|error| {
            eprintln!("tenantd meter: {}: {}: {error:#}", who.0, who.1);
            Counters::default()
        });
        let (since_ms, now_ms) = (told.since_ms, now_ms());
        let began_ms = self.store.began_ms;
        let is_old = since_ms < began_ms;
        let is_followed = self.supervisors.is_followed(&who.0);
        let seen = self.seen.entry(who.clone()).or_default();
        let mut used = seen.read(Reading {
            boot: &self.boot,
            time_ms: now_ms,
            counters: &counters,
            is_old,
        });
        used.push(seen.restarted(told.restarts, now_ms, is_old));
        // Nobody tells whether it still runs, unless its supervisor does.
        if told.state == StateWord::Up && is_followed {
            used.push(seen.ran(since_ms.max(began_ms), now_ms));
        }
        match added.entry(who.clone()) {
            Entry::Vacant(first) => drop(first.insert(used)),
            Entry::Occupied(mut known) => known.get_mut().extend(used),
        }
    }

    /// Reads the counters of a tenant. Those of what was just removed are in its last counters.
    fn read(&mut self, told: &Told) -> anyhow::Result<Counters> {
        let cgroup = match &told.cgroup {
            Some(path) => self
                .cgroups
                .read(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => None,
        };
        let link = match &told.link {
            Some(name) => self
                .links
                .named(name)
                .with_context(|| format!("cannot look up {name}"))?,
            None => None,
        };
        Ok(Counters { cgroup, link })
    }

    fn measure(&mut self, tenants: &[Rc<Told>], added: &mut Added) {
        let Some(datastores) = &mut self.datastores else {
            return;
        };
        for (who, used) in datastores.measured(tenants, now_ms()) {
            added.entry(who).or_default().push(used);
        }
    }

    fn forget(&mut self) {
        let now_ms = now_ms();
        if (self.forgotten_ms..self.forgotten_ms + FORGET_MS).contains(&now_ms) {
            return;
        }
        self.forgotten_ms = now_ms;
        for ((app, _), seen) in &mut self.seen {
            if self.supervisors.is_followed(app) {
                seen.forget(now_ms);
            }
        }
    }

    fn write(&mut self, added: &Added) -> anyhow::Result<()> {
        let lines = added.iter().filter_map(|(who, used)| {
            let seen = self.seen.get(who)?;
            Some(Line { who, used, seen })
        });
        let lines: Vec<Line<'_>> = lines.collect();
        let written = self.store.write(&lines);
        written.with_context(|| format!("cannot write {PATH}"))
    }
}
