//! Writes the manifest, table by table.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command::{Command, signal_name};
use super::environment::Environment;
use super::folders::{Asked, Folder, Folders, MADE, made};
use super::page::{Page, literal, quoted};
use super::specifier::Specifiers;
use super::syntax::Settings;
use super::time::{Span, said, span};
use super::{ImportError, Source, Surroundings, UnitName, remarks};
use crate::name::APP_NAME_MAX;

/// systemd's DefaultTimeoutStartSec= and DefaultTimeoutStopSec=.
const TIMEOUT: Span = Span::Limited(Duration::from_secs(90));

/// The longest grace period, and the longest limit to become ready.
const LONGEST: Duration = Duration::from_secs(3600);

/// How the program says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It does not.
    Simple,
    /// It sends a message.
    Notify,
    /// Its first process ends.
    Forking,
    /// It takes a name on the bus.
    Bus,
}

/// A service as its unit describes it.
pub(super) struct Service<'a> {
    pub(super) settings: Settings,
    pub(super) command: Command,
    pub(super) environment: Environment,
    pub(super) folders: Folders,
    pub(super) user: Option<String>,
    pub(super) unknown: BTreeSet<char>,
    pub(super) specifiers: Specifiers<'a>,
    pub(super) host: &'a dyn Surroundings,
    home: Option<String>,
    start: Start,
}

pub(super) fn convert(
    name: &UnitName,
    sources: &[Source],
    host: &dyn Surroundings,
) -> Result<String, ImportError> {
    let settings = Settings::read(sources);
    let start = start(&settings, sources)?;
    let host_name = host.host_name();
    let specifiers = Specifiers {
        name,
        host: &host_name,
    };
    let mut unknown = BTreeSet::new();
    let mut environment = Environment::of(&settings, &specifiers, &mut unknown, host);
    for (setting, parent, variable) in MADE {
        let names = made(&settings, setting, &specifiers, &mut unknown);
        let paths: Vec<String> = names
            .iter()
            .map(|name| format!("{parent}/{name}"))
            .collect();
        if !paths.is_empty() {
            let (variable, paths) = (variable.to_owned(), paths.join(":"));
            environment.variables.insert(variable, paths);
        }
    }
    let text = settings.last("ExecStart").ok_or(ImportError::NoCommand)?;
    let command = Command::read(text, &specifiers, &mut unknown, &environment, host)?;
    let user = user(&settings, &specifiers, &command, &mut unknown);
    let home = user.as_deref().and_then(|user| host.home(user));
    let mut names = vec![name.prefix().to_owned(), command.program().to_owned()];
    names.extend(user.clone().filter(|user| user != "root"));
    if command.is_shell() {
        names.remove(1);
    }
    let folders = Folders::of(
        &Asked {
            settings: &settings,
            specifiers: &specifiers,
            host,
            names: &names,
            home: home.as_deref(),
        },
        &mut unknown,
    );
    let service = Service {
        settings,
        command,
        environment,
        folders,
        user,
        unknown,
        specifiers,
        host,
        home,
        start,
    };
    Ok(service.whole(sources))
}

/// Whether it is a service that keeps running, and how it starts.
fn start(settings: &Settings, sources: &[Source]) -> Result<Start, ImportError> {
    if let Some(first) = sources.first()
        && !settings.has_section("Service")
    {
        let path = first.path.clone();
        return Err(match first.text.trim() {
            "" => ImportError::Masked(path),
            text if text.starts_with("#!") => ImportError::Script(path),
            _ => ImportError::NoSection(path),
        });
    }
    let has_command = settings.last("ExecStart").is_some();
    match settings.last("Type") {
        Some("oneshot") => Err(ImportError::Oneshot),
        _ if !has_command => Err(ImportError::NoCommand),
        Some("forking") => Ok(Start::Forking),
        Some("notify" | "notify-reload") => Ok(Start::Notify),
        Some("dbus") => Ok(Start::Bus),
        None if settings.last("BusName").is_some() => Ok(Start::Bus),
        // simple, exec, idle: systemd takes a type that it does not know as simple.
        Some(_) | None => Ok(Start::Simple),
    }
}

fn user(
    settings: &Settings,
    specifiers: &Specifiers<'_>,
    command: &Command,
    unknown: &mut BTreeSet<char>,
) -> Option<String> {
    if command.as_root {
        return Some("root".to_owned());
    }
    let named = settings
        .last("User")
        .map(|it| specifiers.replace(it, unknown));
    let dynamic = settings.is_on("DynamicUser");
    named.or_else(|| dynamic.then(|| specifiers.name.prefix().to_owned()))
}

impl Service<'_> {
    fn whole(&self, sources: &[Source]) -> String {
        let mut body = Page::default();
        self.app(&mut body);
        self.variables(&mut body);
        self.datastore(&mut body);
        self.stop(&mut body);
        self.restart(&mut body);
        self.ready(&mut body);
        self.limits(&mut body);
        body.table("network");
        body.comment("A network that nothing else uses: no interface of this host may be in it.");
        body.string("subnet", "10.77.0.0/24");
        body.table("tenants");
        body.comment(
            "One line for each. A program that listens on 127.0.0.1 only is reached from its own \
             tenant only.",
        );
        body.line("acme = { ip = \"10.77.0.11\" }");
        body.line("bolt = { ip = \"10.77.0.12\" }");
        remarks::rest(self, &mut body);

        let mut head = Page::default();
        let description = self.settings.list("Unit", "Description");
        let description = description.last().map_or(String::new(), |text| {
            format!(": {}", self.specifiers.replace(text, &mut BTreeSet::new()))
        });
        head.comment(&format!("Made from {}{description}", self.specifiers.name));
        for source in sources {
            head.comment(&source.path.display().to_string());
        }
        head.line("#");
        let decisions = match body.decisions {
            0 => String::new(),
            1 => "1 comment begins with DECIDE: read it first. ".to_owned(),
            many => format!("{many} comments begin with DECIDE: read them first. "),
        };
        head.comment(&format!(
            "{decisions}Then type `tenantd check --config FILE`."
        ));
        head.line("");
        head.text + &body.text
    }

    fn app(&self, page: &mut Page) {
        page.table("app");
        page.string("name", &app_name(&self.specifiers));
        remarks::command(self, page);
        let words: Vec<String> = self.command.words.iter().map(|it| literal(it)).collect();
        page.list("command", &words);
        self.working_directory(page);
        if self.settings.is_on("DynamicUser") {
            let user = self.user.as_deref().unwrap_or_default();
            page.decide(&format!(
                "systemd makes a user for the time that the service runs; tenantd does not: \
                 `adduser --system --group {user}`, or name another one."
            ));
        }
        if let Some(user) = &self.user {
            page.string("user", user);
        }
        if let Some(group) = self
            .settings
            .last("Group")
            .filter(|_| !self.command.as_root)
        {
            page.string(
                "group",
                &self.specifiers.replace(group, &mut BTreeSet::new()),
            );
        }
        if self.start == Start::Forking {
            page.decide(
                "the program continues in the background. If an option keeps it in the foreground, \
                 use that, and remove `daemonizes`: then tenantd knows its exit status.",
            );
            page.key("daemonizes", "true");
        }
        if !self.folders.private.is_empty() {
            let paths = self.folders.private.iter().map(|it| literal(&it.path));
            page.list("private", &paths.collect::<Vec<_>>());
            let modes = self.folders.private.iter();
            for folder in modes.filter(|it| it.mode.is_some()) {
                let mode = folder.mode.as_deref().unwrap_or_default();
                page.comment(&format!("In systemd, {} has the mode {mode}.", folder.path));
            }
        }
        let logs = self.folders.data.iter().map(|it| &it.path);
        for path in logs.filter(|path| path.starts_with("/var/log/")) {
            page.comment("To have these files in `tenantd logs` too:");
            page.comment(&format!("logs = [{}]", quoted(&format!("{path}/*.log"))));
        }
    }

    fn working_directory(&self, page: &mut Page) {
        let Some(path) = self.settings.last("WorkingDirectory") else {
            return;
        };
        let path = path.trim_start_matches('-');
        let path = self.specifiers.replace(path, &mut BTreeSet::new());
        match (path.as_str(), &self.home) {
            ("~", Some(home)) => page.string("working_directory", &literal(home)),
            ("~", None) => {
                page.decide("WorkingDirectory=~: the home of its user, which does not exist here.")
            }
            (path, _) => page.string("working_directory", &literal(path)),
        }
    }

    fn variables(&self, page: &mut Page) {
        let environment = &self.environment;
        if environment.variables.is_empty() && environment.unread.is_empty() {
            return;
        }
        page.table("app.environment");
        for path in &environment.read {
            page.comment(&format!(
                "With what {path} has now: tenantd does not read it."
            ));
        }
        for (path, why) in &environment.unread {
            page.comment(&format!("EnvironmentFile={path} {why}."));
        }
        for (name, value) in &environment.variables {
            page.string(name, &literal(value));
        }
    }

    fn datastore(&self, page: &mut Page) {
        page.table("app.datastore");
        let is_data = |it: &&Folder| !it.doubtful && !it.path.starts_with("/var/log/");
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
            page.decide("the unit lets the program write to the folders that are comments here.");
        }
        page.line("folders = [");
        for folder in &self.folders.data {
            page.line(&entry(folder));
        }
        page.line("]");
    }

    fn stop(&self, page: &mut Page) {
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

    fn restart(&self, page: &mut Page) {
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
                page.string("when", "on-failure");
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

    fn ready(&self, page: &mut Page) {
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
    }

    fn limits(&self, page: &mut Page) {
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

/// A line of the list of folders.
fn entry(folder: &Folder) -> String {
    let path = quoted(&literal(&folder.path));
    let seed = folder.copied.then(|| ", seed = \"copy\"".to_owned());
    let mode = folder.mode.as_ref().map(|mode| {
        let mode = format!("{mode:0>4}");
        format!(", mode = {}", quoted(&mode))
    });
    let more = [seed, mode].into_iter().flatten().collect::<String>();
    let value = match more.as_str() {
        "" => path,
        more => format!("{{ path = {path}{more} }}"),
    };
    let comment = if folder.doubtful { "# " } else { "" };
    format!("  {comment}{value},  # {}", folder.why)
}

/// The name of the application: that of the unit, in the letters of a name.
fn app_name(specifiers: &Specifiers<'_>) -> String {
    let whole = format!(
        "{}-{}",
        specifiers.name.prefix(),
        specifiers.name.instance()
    );
    let letters = whole.to_ascii_lowercase();
    let letters = letters.replace(
        |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(),
        "-",
    );
    let parts: Vec<&str> = letters.split('-').filter(|part| !part.is_empty()).collect();
    let name = parts.join("-");
    let name = name.get(..APP_NAME_MAX).unwrap_or(&name);
    match name.trim_end_matches('-') {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}
