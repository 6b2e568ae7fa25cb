//! Takes a unit apart, and writes the manifest: its head, and what the program is.

use std::collections::BTreeSet;

use super::command::Command;
use super::environment::{Environment, Unread};
use super::folders::{Asked, Folders, MADE, made};
use super::page::{Page, literal, quoted};
use super::specifier::Specifiers;
use super::syntax::Settings;
use super::{ImportError, Source, Surroundings, UnitName, before, reload, remarks};
use crate::name::APP_NAME_MAX;

/// How the program says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
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
    pub(super) start: Start,
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
    let own: Vec<String> = environment.variables.values().cloned().collect();
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
    // A program that is started by root and becomes another user.
    let becomes = command.words.iter().skip_while(|word| *word != "-u").nth(1);
    names.extend(becomes.cloned());
    let arguments = command.words.iter().skip(1);
    let values: Vec<String> = arguments.chain(&own).cloned().collect();
    let folders = Folders::of(
        &Asked {
            settings: &settings,
            specifiers: &specifiers,
            host,
            names: &names,
            values: &values,
            home: home.as_deref(),
            user: user.as_deref().filter(|user| *user != "root"),
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
        before::before(self, &mut body);
        self.stop(&mut body);
        self.restart(&mut body);
        self.ready(&mut body);
        reload::reload(self, &mut body);
        self.limits(&mut body);
        self.wall(&mut body);
        self.attributes(&mut body);
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
            "{decisions}To check it: `tenantd check --config FILE`."
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
        page.string("user", self.user.as_deref().unwrap_or("root"));
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
            if let Some(path) = self.settings.last("PIDFile") {
                // systemd takes a relative path as one below /run.
                let path = self.specifiers.replace(path, &mut BTreeSet::new());
                let path = std::path::Path::new("/run").join(path);
                page.string("pid_file", &literal(&path.display().to_string()));
            }
        }
        if !self.folders.private.is_empty() {
            let paths = self.folders.private.iter().map(|it| literal(&it.path));
            page.list("private", &paths.collect::<Vec<_>>());
            let modes = self.folders.private.iter();
            let usual = |mode: &str| matches!(mode, "755" | "0755");
            for folder in modes.filter(|it| it.mode.as_deref().is_some_and(|it| !usual(it))) {
                let mode = folder.mode.as_deref().unwrap_or_default();
                page.comment(&format!("In systemd, {} has the mode {mode}.", folder.path));
            }
        }
        for path in &self.folders.inner {
            page.decide(&format!(
                "the program must make {path} itself: private folders are empty at first."
            ));
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
                page.decide("WorkingDirectory=~: the home of its user, which does not exist here.");
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
        for Unread { path, why, .. } in &environment.unread {
            page.comment(&format!("EnvironmentFile={path} {why}."));
        }
        for (name, value) in &environment.variables {
            page.string(name, &literal(value));
        }
    }
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
