//! The output of `leak-test`: a line for each way, or JSON.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::way::{Against, Judged, Verdict};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::Plan;

/// The columns of a line, after the result and the way.
const REST: usize = 32;

/// All results.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    app: AppName,
    tenant: TenantName,
    /// Whether all that the manifest has a guard against is closed.
    ok: bool,
    groups: Vec<Group>,
}

/// The results against one tenant, the supervisor or the host.
#[derive(Debug, Serialize)]
struct Group {
    /// The tenant, if it is one.
    neighbour: Option<TenantName>,
    ways: Vec<Judged>,
}

impl Report {
    pub(super) fn new(app: AppName, tenant: TenantName) -> Self {
        Self {
            app,
            tenant,
            ok: true,
            groups: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, neighbour: Option<TenantName>, ways: Vec<Judged>) {
        self.ok &= ways.iter().all(Judged::is_as_expected);
        self.groups.push(Group { neighbour, ways });
    }

    /// Whether all that the manifest has a guard against is closed, and all was tried.
    pub(super) fn is_good(&self) -> bool {
        self.ok
    }

    /// # Errors
    /// Those of standard output.
    pub(super) fn json(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(writeln!(anstream::stdout(), "{text}")?)
    }

    /// # Errors
    /// Those of standard output.
    pub(super) fn text(&self, plan: &Plan) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        let Self { app, tenant, .. } = self;
        let all = plan.tenants.iter();
        let user = all.clone().find(|it| it.name == *tenant);
        let user = user.map_or("?", |it| it.launch.identity.user.as_str());
        writeln!(
            out,
            "{app}: what a process of {tenant} (user {user}) can do"
        )?;
        for group in &self.groups {
            writeln!(out, "\n{}", group.title())?;
            for judged in &group.ways {
                line(&mut out, judged)?;
            }
        }
        writeln!(out, "\n{}", self.summary())?;
        if self.groups.iter().all(|group| group.neighbour.is_none()) {
            writeln!(out, "no other tenant runs, so no neighbour was tried")?;
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let all = || self.groups.iter().flat_map(|group| &group.ways);
        let counted = VERDICTS.map(|(verdict, word)| {
            let count = all().filter(|it| it.verdict == verdict).count();
            (count > 0).then(|| format!("{count} {word}"))
        });
        let counted: Vec<String> = counted.into_iter().flatten().collect();
        format!("{} ways: {}", all().count(), counted.join(", "))
    }
}

impl Group {
    fn title(&self) -> String {
        let against = self.ways.first().map(|way| way.against);
        match (&self.neighbour, against) {
            (Some(name), _) => format!("TO ITS NEIGHBOUR {name}"),
            (None, Some(Against::Supervisor)) => "TO THE SUPERVISOR".to_owned(),
            (None, Some(Against::Host | Against::Neighbour) | None) => "TO THE HOST".to_owned(),
        }
    }
}

/// Results with their words in the summary.
const VERDICTS: [(Verdict, &str); 5] = [
    (Verdict::Closed, "closed"),
    (Verdict::Open, "open (the manifest has no guard)"),
    (Verdict::ByDesign, "open by design"),
    (Verdict::Leak, "open in spite of the manifest"),
    (Verdict::Untried, "not tried"),
];

fn line(out: &mut impl Write, judged: &Judged) -> std::io::Result<()> {
    let (word, colour) = match judged.verdict {
        Verdict::Closed => ("closed", AnsiColor::Green),
        Verdict::Open => ("open", AnsiColor::Yellow),
        Verdict::ByDesign => ("open", AnsiColor::Yellow),
        Verdict::Leak => ("LEAK", AnsiColor::Red),
        Verdict::Untried => ("?", AnsiColor::Red),
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let rest = rest(judged);
    writeln!(out, "  {style}{word:<6}{style:#} {:<38} {rest}", judged.way)
}

/// By what it is closed, or what closes it.
fn rest(judged: &Judged) -> String {
    let by = judged.by.as_deref();
    match judged.verdict {
        Verdict::Closed => match by {
            Some(guard) => guard.to_owned(),
            None => format!("the kernel ({})", judged.error.as_deref().unwrap_or("?")),
        },
        Verdict::Open => {
            let mut remedies = judged.remedies.iter();
            let first = remedies.next().cloned().unwrap_or_default();
            remedies.fold(format!("needs {first}"), |text, next| {
                let longer = format!("{text} or {next}");
                if longer.len() <= REST { longer } else { text }
            })
        }
        Verdict::ByDesign => "by design, see SECURITY.md".to_owned(),
        Verdict::Leak => format!("despite: {}", by.unwrap_or_default()),
        Verdict::Untried => judged.error.clone().unwrap_or_default(),
    }
}
