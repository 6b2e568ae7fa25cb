//! The files of `files`: their contents, and whether each can be where the manifest puts it.

mod contents;

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::facts::{HostFacts, TextFact};
use super::folders::owner;
use super::identity::People;
use super::model::{FilePlan, HostAccess, OWN};
use super::paths::{AppPaths, clean, filled};
use super::{vars, view};
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{File, Manifest};
use crate::manifest::template::{ALL, Rules, Slot, Style, Template};

pub(super) use contents::Contents;
use contents::TemplateFile;

/// The maximum number of files.
const FILES_MAX: usize = 100;

/// The maximum size of a template in bytes.
pub const TEMPLATE_MAX: u64 = 1 << 20;

/// Folders of the whole system. A tenant sees a folder that a file is added to partly as it was when the
/// tenant began, which must not be so for these.
const SYSTEM: [&str; 13] = [
    "/",
    "/bin",
    "/boot",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/sbin",
    "/var",
];

/// Folders with state of the kernel.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The folder in which a datastore has what is tenantd's own.
const RESERVED: &str = ".tenantd";

/// Reads all files and reports what is wrong with them. `None` where the contents are not known.
pub(super) fn read(
    manifest: &Manifest,
    app_paths: &AppPaths,
    folder: &str,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Vec<Option<Contents>> {
    let files = &manifest.app.files;
    if let Some(excess) = files.get(FILES_MAX) {
        problems
            .report(
                &excess.at,
                format!(
                    "there are {} files, at most {FILES_MAX} are allowed",
                    files.len()
                ),
            )
            .help("give the program a folder of its own instead, see `folders` of [app.datastore]");
        return Vec::new();
    }
    let reading = Reading {
        manifest,
        app_paths,
        folder,
        host,
    };
    let mut people = People::new(host);
    let mut known: Vec<Spanned<PathBuf>> = Vec::new();
    let each = files.iter();
    each.map(|file| {
        let path = reading.path(file, &known, problems);
        let owner = owner(&file.user, &file.group, &mut people, host, problems);
        let (template, from) = reading.contents(file, problems)?;
        known.extend(path.clone());
        Some(Contents {
            path: path.map(Spanned::into_inner),
            template,
            from,
            owner,
            mode: file.mode.as_ref().map(|mode| mode.get_ref().0),
        })
    })
    .collect()
}

/// The files of a tenant.
pub(super) fn plan(
    contents: &[Option<Contents>],
    fill: impl Fn(&Template) -> Option<String>,
) -> Option<Vec<FilePlan>> {
    let each = contents.iter();
    each.map(|file| file.as_ref()?.plan(&fill)).collect()
}

struct Reading<'a> {
    manifest: &'a Manifest,
    app_paths: &'a AppPaths,
    /// The folder of the manifest.
    folder: &'a str,
    host: &'a dyn HostFacts,
}

impl Reading<'_> {
    /// The contents of a file, and where they come from.
    fn contents(
        &self,
        file: &File,
        problems: &mut Problems,
    ) -> Option<(Template, Option<TemplateFile>)> {
        match (&file.template.value, &file.text.value) {
            (Some(template), Some(text)) => {
                problems
                    .report(&text.span(), "`text` and `template` exclude each other")
                    .also(&template.span(), "the other one")
                    .help("remove one of them");
                None
            }
            (None, Some(text)) => Some((text.get_ref().clone(), None)),
            (Some(template), None) => self.template(template, problems),
            (None, None) => {
                // One of them may be invalid, which has been reported.
                if !file.template.is_set && !file.text.is_set {
                    problems.report(&file.at, "the file has no contents").help(
                        "set `template` to the name of a file beside the manifest, or `text`",
                    );
                }
                None
            }
        }
    }

    fn template(
        &self,
        name: &Spanned<Template>,
        problems: &mut Problems,
    ) -> Option<(Template, Option<TemplateFile>)> {
        let at = name.span();
        let path = self.template_path(name, problems)?;
        let name = path
            .strip_prefix(self.folder)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text = self.text(&path, &at, problems)?;
        let from = TemplateFile {
            path,
            name,
            text,
            at,
        };
        let rules = Rules {
            slots: ALL,
            vars: true,
            style: Style::File,
        };
        match Template::parse(&from.text, rules) {
            Ok(template) => Some((template, Some(from))),
            Err(errors) => {
                for error in errors {
                    let message = format!("{}{error}", from.inside(error.at().start));
                    problems.report(&from.at, message).help(error.help(rules));
                }
                None
            }
        }
    }

    fn template_path(&self, name: &Spanned<Template>, problems: &mut Problems) -> Option<PathBuf> {
        let manifest = self.manifest;
        let slot = |slot| match slot {
            Slot::App => manifest
                .app
                .name
                .as_ref()
                .map(|name| name.get_ref().to_string()),
            Slot::ManifestDir => Some(self.folder.to_owned()),
            Slot::Datastore
            | Slot::Tenant
            | Slot::Ip
            | Slot::Gateway
            | Slot::Ip6
            | Slot::Gateway6
            | Slot::User
            | Slot::Uid
            | Slot::Gid => None,
        };
        let text = vars::fill(name.get_ref(), slot, |name| vars::shared(manifest, name))?;
        let whole = Path::new(self.folder).join(text);
        clean(&whole.to_string_lossy(), &name.span(), problems)
    }

    /// Reads a template.
    fn text(&self, path: &Path, at: &Span, problems: &mut Problems) -> Option<String> {
        let shown = path.display();
        let (message, help) = match self.host.text(path, TEMPLATE_MAX) {
            TextFact::Text(text) => return Some(text),
            TextFact::Missing => (
                format!("the template {shown} does not exist"),
                "create it, or correct the path, which is relative to the manifest's folder",
            ),
            TextFact::NoFile => (
                format!("the template {shown} is not a regular file"),
                "give the path of a file; a whole folder can be a template in `folders`",
            ),
            TextFact::TooLarge => (
                format!(
                    "the template {shown} has more than {} KiB",
                    TEMPLATE_MAX >> 10
                ),
                "give the program a folder of its own with this file, see `template` in `folders`",
            ),
            TextFact::NotUtf8 { line } => (
                format!("the template {shown} is not valid UTF-8 in line {line}"),
                "convert it, for example with `iconv -f latin1 -t utf-8`",
            ),
            TextFact::Unknown(errno) => (
                format!("cannot read the template {shown}: {}", errno.desc()),
                "make it readable for root",
            ),
        };
        problems.report(at, message).help(help);
        None
    }

    /// The path of a file, if it can be there.
    fn path(
        &self,
        file: &File,
        others: &[Spanned<PathBuf>],
        problems: &mut Problems,
    ) -> Option<Spanned<PathBuf>> {
        let target = self.app_paths.target.as_ref().map(Spanned::get_ref);
        let template = file.path.as_ref()?;
        let path = filled(template, self.manifest, self.folder, target, problems)?;
        let found = self
            .meets_another(path.get_ref(), others)
            .or_else(|| self.meets(path.get_ref()))
            .or_else(|| self.cannot_be_in(path.get_ref()));
        let Some(Conflict {
            message,
            with,
            help,
        }) = found
        else {
            return Some(path);
        };
        let problem = problems.report(&path.span(), message);
        problem.help(help);
        if let Some((span, note)) = with {
            problem.also(&span, note);
        }
        None
    }

    /// Two files at one path, or one below another.
    fn meets_another(&self, path: &Path, others: &[Spanned<PathBuf>]) -> Option<Conflict> {
        let meets = |other: &&Spanned<PathBuf>| {
            let other = other.get_ref();
            other.starts_with(path) || path.starts_with(other)
        };
        let other = others.iter().find(meets)?;
        let (shown, above) = (path.display(), other.get_ref().display());
        let message = match other.get_ref() == path {
            true => format!("{shown} is listed twice"),
            false => format!("{shown} and the file {above} cannot both be files"),
        };
        Some(Conflict {
            message,
            with: Some((other.span(), "the other file")),
            help: "remove one of the two".to_owned(),
        })
    }

    /// A path that is something else.
    fn meets(&self, path: &Path) -> Option<Conflict> {
        let app_paths = self.app_paths;
        let shown = path.display();
        let names = [
            app_paths
                .program
                .as_ref()
                .map(|path| path.get_ref().as_path()),
            app_paths.real_program.as_deref(),
        ];
        if names.contains(&Some(path)) {
            return Some(Conflict::new(
                format!("{shown} is the program"),
                "list files that the program reads",
            ));
        }
        let mut own = app_paths.data().chain(&app_paths.private);
        if let Some(folder) = own.find(|it| it.get_ref().starts_with(path)) {
            return Some(Conflict {
                message: format!("{shown} is a folder"),
                with: Some((folder.span(), "this is a folder of the tenant")),
                help: "give the path of a file in it".to_owned(),
            });
        }
        let hosts = app_paths.shared.iter().chain(&app_paths.visible);
        let overlaps = |it: &&Spanned<PathBuf>| {
            path.starts_with(it.get_ref()) || it.get_ref().starts_with(path)
        };
        if let Some(hosts) = hosts.into_iter().find(overlaps) {
            return Some(Conflict {
                message: format!("{shown} is in a path that is the host's"),
                with: Some((hosts.span(), "tenants see the host's here")),
                help: "use another path, or remove the shared or visible one".to_owned(),
            });
        }
        let is_reserved = path.components().any(|part| part.as_os_str() == RESERVED);
        is_reserved.then(|| {
            let message =
                format!("{shown} is in a folder named {RESERVED}, which is tenantd's own");
            Conflict::new(message, "use another path")
        })
    }

    /// A folder in which no file can be.
    fn cannot_be_in(&self, path: &Path) -> Option<Conflict> {
        let app_paths = self.app_paths;
        let shown = path.display();
        let within = |folder: &Path| path.starts_with(folder);
        if app_paths
            .data()
            .chain(&app_paths.private)
            .any(|it| within(it.get_ref()))
        {
            return None;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let elsewhere = format!(
            "let the program read another file, for example `/run/{name}`, or one in a folder of its \
             own"
        );
        let hidden = app_paths.datastores.as_ref();
        if hidden.is_some_and(|hidden| within(hidden.get_ref())) {
            let message = format!("{shown} is in the folder of all datastores, which is hidden");
            return Some(Conflict::new(message, elsewhere));
        }
        let own = OWN
            .iter()
            .find(|own| **own != "/dev" && within(Path::new(own)));
        match (own, view::access(self.manifest)) {
            (Some(_), HostAccess::ReadOnly) => return None,
            (Some(own), HostAccess::Writable) => {
                return Some(Conflict::new(
                    format!("{shown} is in the host's {own}: `host` is \"writable\""),
                    "add its folder to `private`, or set `host = \"read-only\"`",
                ));
            }
            (None, _) => {}
        }
        if KERNEL.iter().any(|kernel| within(Path::new(kernel))) {
            return Some(Conflict::new(
                format!("{shown} cannot be made: the kernel decides what is there"),
                elsewhere,
            ));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        SYSTEM.iter().any(|it| folder == Path::new(it)).then(|| {
            let message = format!(
                "{shown} cannot be a tenant's own: it is directly in {}, which belongs to the whole \
                 system",
                folder.display()
            );
            Conflict::new(message, elsewhere)
        })
    }
}

/// Why a file cannot be somewhere.
struct Conflict {
    message: String,
    with: Option<(Span, &'static str)>,
    help: String,
}

impl Conflict {
    fn new(message: String, help: impl Into<String>) -> Self {
        Self {
            message,
            with: None,
            help: help.into(),
        }
    }
}
