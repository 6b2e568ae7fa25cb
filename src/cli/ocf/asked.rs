//! The parameters of the agent, which Pacemaker passes as variables.

use std::path::PathBuf;
use std::time::Duration;

use super::{Bad, Code};
use tenantd_core::name::{AppName, TenantName};

/// The limit of an action that Pacemaker did not start.
const BY_HAND: Duration = Duration::from_secs(60);

/// What is left of the limit for the answer itself: Pacemaker kills what is late, and takes that for a
/// failure without a reason.
const SPARE: Duration = Duration::from_millis(1_000);

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) app: AppName,
    pub(super) tenant: TenantName,
    pub(super) config: PathBuf,
    /// Whether other hosts reach the same datastore.
    pub(super) is_shared: bool,
    /// Whether that is wanted without fencing.
    pub(super) is_unsafe: bool,
    /// How long the action may take.
    pub(super) limit: Duration,
    /// Whether `monitor` also asks for readiness.
    pub(super) is_deep: bool,
}

impl Asked {
    /// Reads the parameters from variables.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Bad> {
        let parameter =
            |name: &str| variable(&format!("OCF_RESKEY_{name}")).filter(|it| !it.is_empty());
        let needed = |name: &str| {
            parameter(name)
                .ok_or_else(|| bad(format!("the parameter {name} of the resource is missing")))
        };
        let app: AppName = needed("app")?
            .parse()
            .map_err(|why| bad(format!("app: {why}")))?;
        let tenant = needed("name")?
            .parse()
            .map_err(|why| bad(format!("name: {why}")))?;
        let config = match parameter("config") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(format!("/etc/tenantd/{app}.toml")),
        };
        let is_shared = match parameter("storage").as_deref() {
            None | Some("shared" | "replicated") => true,
            Some("local") => false,
            Some(other) => {
                return Err(bad(format!(
                    "storage: {other:?} is neither local nor shared nor replicated"
                )));
            }
        };
        Ok(Self {
            app,
            tenant,
            config,
            is_shared,
            is_unsafe: parameter("unsafe").is_some_and(|it| is_true(&it)),
            limit: limit(parameter("CRM_meta_timeout").as_deref()),
            is_deep: variable("OCF_CHECK_LEVEL")
                .is_some_and(|it| it.parse().is_ok_and(|n: u32| n >= 10)),
        })
    }
}

fn bad(why: String) -> Bad {
    let code = Code::BadArguments;
    Bad { code, why }
}

/// The limit from milliseconds.
fn limit(text: Option<&str>) -> Duration {
    let whole = text
        .and_then(|text| text.parse().ok())
        .map(Duration::from_millis);
    match whole {
        None => BY_HAND,
        Some(whole) => whole.saturating_sub(SPARE).max(whole / 2),
    }
}

/// Whether a word is one of Pacemaker's for yes.
pub(super) fn is_true(word: &str) -> bool {
    ["1", "true", "yes", "on", "y"].contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Asked, Bad> {
        Asked::read(|name| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn parameters_are_variables() {
        let set = [("OCF_RESKEY_app", "wiki"), ("OCF_RESKEY_name", "acme")];
        let asked = read(&set).unwrap();
        assert_eq!(asked.config, PathBuf::from("/etc/tenantd/wiki.toml"));
        assert_eq!(asked.limit, BY_HAND);
        assert!(asked.is_shared && !asked.is_unsafe && !asked.is_deep);
        let more = [
            ("OCF_RESKEY_CRM_meta_timeout", "20000"),
            ("OCF_RESKEY_storage", "local"),
            ("OCF_RESKEY_unsafe", "Yes"),
            ("OCF_CHECK_LEVEL", "10"),
        ];
        let asked = read(&[&set[..], &more].concat()).unwrap();
        assert_eq!(asked.limit, Duration::from_secs(19));
        assert!(!asked.is_shared && asked.is_unsafe && asked.is_deep);
        assert_eq!(limit(Some("1000")), Duration::from_millis(500));
    }

    #[test]
    fn a_wrong_parameter_is_no_default() {
        for set in [
            vec![("OCF_RESKEY_app", "wiki")],
            vec![("OCF_RESKEY_app", "wiki"), ("OCF_RESKEY_name", "")],
            vec![("OCF_RESKEY_app", "../x"), ("OCF_RESKEY_name", "acme")],
            vec![
                ("OCF_RESKEY_app", "wiki"),
                ("OCF_RESKEY_name", "acme"),
                ("OCF_RESKEY_storage", "nfs"),
            ],
        ] {
            assert_eq!(read(&set).unwrap_err().code, Code::BadArguments, "{set:?}");
        }
    }
}
