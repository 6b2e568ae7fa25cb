//! The tables that say where the program's data is, and when the program is started, ready, stopped
//! and limited.

use std::time::Duration;

use super::command::{Command, signal_name};
use super::convert::{Service, Start};
use super::folders::Folder;
use super::page::{Page, literal, quoted};
use super::remarks;
use super::time::{Span, said, span};

/// systemd's DefaultTimeoutStartSec= and DefaultTimeoutStopSec=.
const TIMEOUT: Span = Span::Limited(Duration::from_secs(90));

/// The longest grace period, and the longest limit to become ready.
const LONGEST: Duration = Duration::from_secs(3600);

impl Service<'_> {
    pub(super) fn datastore(&self, page: &mut Page) {
        page.table("app.datastore");
        let lost = ["/var/log/", "/run/"];
        let is_data =
            |it: &&Folder| !it.doubtful && !lost.iter().any(|parent| it.path.starts_with(parent));
        if !self.folders.data.iter().any(|folder| is_data(&folder)) {
            page.decide(
                "neither the unit nor this host names a folder with the program's data. If it has \
                 one, add it to `folders = [\"/var/lib/NAME\"]`: otherwise it is not kept.",
            );
        }
        if self.folders.data.is_empty() {
            return;
        }
        page.comment(
            "Each is empty at first. `{ path = \"...\", seed = \"copy\" }` begins with a copy of \
             the host's.",
        );
        if self.folders.data.iter().any(|folder| folder.doubtful) {
            page.decide(
                "the unit lets the program write to the folders that are comments too: remove \
                 `# ` if a tenant shall have its own.",
            );
        }
        if self.folders.data.iter().any(|folder| folder.full) {
            page.decide(
                "folders that are not empty on this host may have files that the program needs: \
                 then `seed = \"copy\"`. Or it must be run once to make them, as a database is.",
            );
        }
        page.line("folders = [");
        for folder in &self.folders.data {
            page.line(&entry(folder));
        }
        page.line("]");
    }

    pub(super) fn stop(&self, page: &mut Page) {
        page.table("app.stop");
        let stop = self.settings.last("ExecStop");
        let named = self.settings.last("KillSignal").and_then(signal_name);
        match (stop.and_then(Command::signal), named) {
            (Some(signal), _) | (None, Some(signal)) => page.string("signal", &signal),
            (None, None) => {}
        }
        if let Some(stop) = stop.filter(|stop| Command::signal(stop).is_none()) {
            page.decide(&format!(
                "does the program stop cleanly at the signal? The unit runs `{}`, which tenantd does \
                 not.",
                remarks::typed(self, stop)
            ));
        }
        let text = self.settings.last("TimeoutStopSec");
        self.limit(
            page,
            "grace",
            "TimeoutStopSec",
            text,
            "as systemd's default",
        );
    }

    /// A limit of time, of which 0 means none in systemd.
    fn limit(&self, page: &mut Page, key: &str, setting: &str, text: Option<&str>, why: &str) {
        let text = text.or_else(|| self.settings.last("TimeoutSec"));
        let read = text.map_or(Some(TIMEOUT), span);
        let (value, why) = match read {
            Some(Span::Limited(limit)) if limit.is_zero() => {
                (LONGEST, format!("{setting}=0: none"))
            }
            Some(Span::Unlimited) => (LONGEST, format!("{setting}=infinity")),
            Some(Span::Limited(limit)) if limit > LONGEST => {
                (LONGEST, format!("{setting}={}", said(limit)))
            }
            Some(Span::Limited(limit)) if text.is_none() => (limit, why.to_owned()),
            Some(Span::Limited(limit)) => (limit, String::new()),
            None => {
                let text = text.unwrap_or_default();
                return page.decide(&format!("{setting}={text} is no duration."));
            }
        };
        let comment = match why.as_str() {
            "" => String::new(),
            why => format!("  # {why}"),
        };
        page.key(key, &format!("{}{comment}", quoted(&said(value))));
    }

    pub(super) fn restart(&self, page: &mut Page) {
        page.table("app.restart");
        match self.settings.last("Restart").unwrap_or("no") {
            "always" => page.string("when", "always"),
            "on-failure" => page.string("when", "on-failure"),
            "no" => page.comment(
                "The unit does not restart the program; tenantd does, unless `when = \"never\"`.",
            ),
            other => {
                page.comment(&format!(
                    "The unit has Restart={other}; this comes closest to it."
                ));
                let when = if other == "on-success" {
                    "always"
                } else {
                    "on-failure"
                };
                page.string("when", when);
            }
        }
        let delay = self.settings.last("RestartSec").and_then(span);
        let (Some(Span::Limited(delay)), default) = (delay, Duration::from_millis(100)) else {
            return;
        };
        if delay <= default {
            return;
        }
        let delay = delay.min(LONGEST);
        let longest = delay.max(Duration::from_secs(30));
        page.string("delay", &said(delay));
        if longest == delay {
            page.string("delay_max", &said(longest));
        }
        // Ten strikes, the default, must fit into the window.
        let each = (0..9u32).map(|strike| delay.saturating_mul(1 << strike).min(longest));
        let minutes = each.sum::<Duration>().as_secs() / 60 + 1;
        if minutes > 1 {
            page.string("window", &said(Duration::from_secs(minutes * 60)));
        }
    }

    pub(super) fn ready(&self, page: &mut Page) {
        page.table("app.ready");
        match self.start {
            Start::Notify => {
                page.key("notify", "true");
                let text = self.settings.last("TimeoutStartSec");
                self.limit(
                    page,
                    "within",
                    "TimeoutStartSec",
                    text,
                    "as systemd's default",
                );
            }
            Start::Simple | Start::Forking => page.decide(
                "when is a tenant ready? As it stands, as soon as its program runs. If it listens \
                 on a TCP port: `tcp = PORT`.",
            ),
            Start::Bus => page.decide(
                "systemd waits until the program is on D-Bus, which tenantd cannot. If it listens \
                 on a TCP port: `tcp = PORT`.",
            ),
        }
        let text = self.settings.last("WatchdogSec");
        match text.map(|text| (text, span(text))) {
            Some((_, Some(Span::Limited(time)))) if !time.is_zero() => {
                page.string("watchdog", &said(time));
            }
            Some((text, None)) => page.decide(&format!("WatchdogSec={text} is no duration.")),
            // systemd does not watch it.
            Some((_, Some(Span::Limited(_) | Span::Unlimited))) | None => {}
        }
    }

    pub(super) fn attributes(&self, page: &mut Page) {
        let set = ATTRIBUTES.map(|(setting, key)| (setting, key, self.settings.last(setting)));
        if set.iter().all(|(.., value)| value.is_none()) {
            return;
        }
        page.table("app.process");
        for (setting, key, value) in set {
            match (value, value.and_then(|value| value.parse::<i32>().ok())) {
                (None, _) => {}
                (Some(value), Some(_)) if setting == "UMask" => {
                    page.key(key, &quoted(&format!("{value:0>4}")));
                }
                (Some(_), Some(number)) => page.key(key, &number.to_string()),
                (Some(value), None) => page.decide(&format!("{setting}={value} is no number.")),
            }
        }
    }

    pub(super) fn limits(&self, page: &mut Page) {
        let limits = [
            ("LimitNOFILE", "open_files"),
            ("LimitCORE", "core"),
            ("LimitMEMLOCK", "locked_memory"),
        ];
        let set = limits.map(|(setting, key)| (setting, key, self.settings.last(setting)));
        if set.iter().all(|(.., value)| value.is_none()) {
            return;
        }
        page.table("app.limits");
        for (setting, key, value) in set {
            match value.map(|value| (value, remarks::limit(key, value))) {
                None => {}
                Some((_, Some(written))) => page.key(key, &written),
                Some((value, None)) => page.decide(&format!("{setting}={value} is no limit.")),
            }
        }
    }
}

/// Attributes of the unit's processes.
const ATTRIBUTES: [(&str, &str); 3] = [
    ("UMask", "umask"),
    ("Nice", "nice"),
    ("OOMScoreAdjust", "oom_score_adj"),
];

/// A line of the list of folders.
fn entry(folder: &Folder) -> String {
    let path = quoted(&literal(&folder.path));
    let seed = folder.copied.then(|| ", seed = \"copy\"".to_owned());
    let mode = folder.mode.as_ref().map(|mode| {
        let mode = format!("{mode:0>4}");
        format!(", mode = {}", quoted(&mode))
    });
    let user = folder.user.as_deref();
    let user = user.map(|user| format!(", user = {}", quoted(user)));
    let more = [seed, user, mode].into_iter().flatten().collect::<String>();
    let value = match more.as_str() {
        "" => path,
        more => format!("{{ path = {path}{more} }}"),
    };
    let comment = if folder.doubtful { "# " } else { "" };
    let full = if folder.full { "; not empty" } else { "" };
    format!("  {comment}{value},  # {}{full}", folder.why)
}
