//! What has happened to tenants, as `tenantd meter` keeps it and `tenantd history --json` prints it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::wire::asked::RequestEvent;
use tenantd_core::name::{AppName, TenantName};

/// The most characters of a text and of a line of details.
const TEXT_MAX: usize = 400;

/// The most characters of a line of output.
const OUTPUT_MAX: usize = 160;

/// The most lines of details: a reload may change a thousand tenants.
const DETAILS_MAX: usize = 200;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in whole milliseconds (RFC 3339, UTC).
    pub time: Timestamp,
    /// The application; null if it is about the host.
    pub app: Option<AppName>,
    /// The tenant; null if it is about none or several.
    pub tenant: Option<TenantName>,
    /// What it is about.
    pub kind: Kind,
    /// What happened, as text for people.
    pub text: String,
    /// How often the same has happened since then, at least 1.
    pub times: u64,
    /// When it happened last.
    pub until: Timestamp,
    /// The tenants that it concerns, if `tenant` is null. None: all of them.
    #[serde(default)]
    pub tenants: Vec<TenantName>,
    /// Further lines, such as the changes of a reload.
    #[serde(default)]
    pub details: Vec<String>,
    /// The last lines of the program's output before it ended.
    #[serde(default)]
    pub output: Vec<String>,
    /// The request, if it is one.
    #[serde(default)]
    pub request: Option<RequestEvent>,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident: $word:literal;)*) => {
        /// What an entry is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Kind {
            $($(#[doc = $doc])* $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its word, as in JSON.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

kinds! {
    /// A program was started.
    Start: "start";
    /// A program ended, is being ended, or could not be started.
    End: "end";
    /// A limit of resources was reached, such as that of memory.
    Limit: "limit";
    /// Tenants were paused, or continue.
    Pause: "pause";
    /// A request changed something or was refused.
    Request: "request";
    /// A reload changed something.
    Reload: "reload";
    /// Another program of the host changed the network of a tenant.
    Drift: "drift";
    /// A supervisor began or ended.
    Supervisor: "supervisor";
    /// The host was booted.
    Host: "host";
    /// Entries are missing.
    Gap: "gap";
}

impl Entry {
    /// An entry with this text, which may contain what a tenant or a client has chosen.
    #[must_use]
    pub fn new(kind: Kind, time: Timestamp, text: &str) -> Self {
        let time = time.round(jiff::Unit::Millisecond).unwrap_or(time);
        Self {
            time,
            app: None,
            tenant: None,
            kind,
            text: plain(text, TEXT_MAX),
            times: 1,
            until: time,
            tenants: Vec::new(),
            details: Vec::new(),
            output: Vec::new(),
            request: None,
        }
    }

    /// The entry with these further lines, or the first of them.
    #[must_use]
    pub fn with_details<'a>(mut self, lines: impl Iterator<Item = &'a str>) -> Self {
        let mut lines = lines.map(|line| plain(line, TEXT_MAX));
        self.details.extend(lines.by_ref().take(DETAILS_MAX));
        match lines.count() {
            0 => {}
            more => self.details.push(format!("and {more} more lines")),
        }
        self
    }

    /// A line of output in the form in which it is kept.
    #[must_use]
    pub fn line(text: &str) -> String {
        plain(text.trim_end(), OUTPUT_MAX)
    }
}

/// At most `most` characters of a text, without what a terminal would obey. Quotes and backslashes stay as they
/// are.
#[must_use]
pub fn plain(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars().take(most) {
        match letter {
            '\'' | '"' | '\\' => shown.push(letter),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

/// A line as a supervisor writes it for the meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// The run of the supervisor's program, which no other has.
    pub run: String,
    /// The number of the line in this run among those of the same tenant, from 1.
    pub n: u64,
    /// What else it says to the meter.
    pub mark: Option<Mark>,
    /// What happened.
    pub entry: Entry,
}

/// What a line says to the meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It has the output of the program whose end is in an earlier line.
    Output,
    /// A supervisor began.
    Began,
    /// A supervisor ends, or hands over to another one.
    Ended,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The application; all of them and the host without one.
    pub app: Option<AppName>,
    /// Names of tenants, or patterns for them; all without one.
    pub names: Vec<String>,
    /// The earliest time, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The latest time, in milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// The most entries: the last ones.
    pub lines: Option<u64>,
    /// The kinds; all without one.
    pub kinds: Vec<Kind>,
    /// Whether it is for a reader who sees only these tenants: without requests and the changes of reloads.
    #[serde(default)]
    pub is_restricted: bool,
}

/// What a deputy sends: the entries, or why it could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sent {
    /// The entries, the oldest first.
    Entries(Vec<Entry>),
    /// The error, as text for people.
    Error(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tenant_wrote_is_harmless_and_short() {
        let text = "a\u{1b}[2J\u{9b}31m\u{202e}\r\n 'ü' \\";
        let entry = Entry::new(Kind::End, Timestamp::UNIX_EPOCH, text);
        assert_eq!(entry.text, "a\\u{1b}[2J\\u{9b}31m\\u{202e}\\r\\n 'ü' \\");
        assert_eq!(Entry::line(&"x".repeat(1 << 20)).len(), OUTPUT_MAX);
        let lines = vec!["y"; DETAILS_MAX + 7];
        let entry = entry.with_details(lines.into_iter());
        assert_eq!(entry.details.len(), DETAILS_MAX + 1);
        assert_eq!(entry.details[DETAILS_MAX], "and 7 more lines");
        for kind in Kind::ALL {
            let word = serde_json::to_string(kind).unwrap();
            assert_eq!(word.trim_matches('"'), kind.word());
        }
    }
}
