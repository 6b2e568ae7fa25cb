//! The contents of a file, as the manifest or a template file has them.

use std::path::PathBuf;

use crate::manifest::problem::Span;
use crate::manifest::template::Template;
use crate::plan::model::FilePlan;

/// A file whose contents have been read.
pub(in crate::plan) struct Contents {
    /// Where the program reads it; `None` if it cannot be there.
    pub(super) path: Option<PathBuf>,
    /// What it contains.
    pub(in crate::plan) template: Template,
    /// The template file.
    pub(super) from: Option<TemplateFile>,
    /// The owner and the group; `None` if a problem has been reported.
    pub(super) owner: Option<(Option<u32>, Option<u32>)>,
    pub(super) mode: Option<u32>,
}

/// A template file.
pub(super) struct TemplateFile {
    pub(super) path: PathBuf,
    /// As messages name it.
    pub(super) name: String,
    pub(super) text: String,
    /// The position of its name in the manifest.
    pub(super) at: Span,
}

impl TemplateFile {
    /// The position of a byte, as the beginning of a message.
    pub(super) fn inside(&self, byte: usize) -> String {
        let before = self.text.get(..byte).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[start..].chars().count() + 1;
        format!("{}:{line}:{column}: ", self.name)
    }
}

impl Contents {
    /// The position in the manifest of a part of the contents.
    pub(in crate::plan) fn place(&self, at: &Span) -> Span {
        self.from
            .as_ref()
            .map_or(at.clone(), |from| from.at.clone())
    }

    /// The position in the template file of a part of the contents, as the beginning of a message.
    pub(in crate::plan) fn inside(&self, at: &Span) -> String {
        let from = self.from.as_ref();
        from.map_or_else(String::new, |from| from.inside(at.start))
    }

    /// The file of a tenant.
    pub(super) fn plan(&self, fill: impl Fn(&Template) -> Option<String>) -> Option<FilePlan> {
        let (uid, gid) = self.owner?;
        let is_set = uid.is_some() || gid.is_some() || self.mode.is_some();
        Some(FilePlan {
            path: self.path.clone()?,
            contents: fill(&self.template)?.into(),
            template: self.from.as_ref().map(|from| from.path.clone()),
            uid,
            gid,
            mode: self.mode,
            secret: !is_set && self.template.vars().next().is_some(),
        })
    }
}
