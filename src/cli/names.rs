//! Names on the command line that no tenant can have: what is allowed, and which one may have been meant.

use std::error::Error;
use std::fmt::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::complete;
use tenantd_api::client::pattern::nearest;
use tenantd_core::name::NameError;

/// Says what is wrong with a name, instead of where it was typed. Other errors stay as they are.
pub(super) fn explain(error: clap::Error) -> clap::Error {
    let Some(why) = error.source().and_then(|it| it.downcast_ref::<NameError>()) else {
        return error;
    };
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidValue) else {
        return error;
    };
    let known: Vec<String> = match *why {
        NameError::Empty => Vec::new(),
        NameError::TooLong { .. } | NameError::Character { .. } | NameError::Edge => {
            complete::names(std::env::args_os().skip(1))
        }
    };
    clap::Error::raw(ErrorKind::ValueValidation, text(typed, why, &known))
}

fn text(typed: &str, why: &NameError, known: &[String]) -> String {
    let mut text = format!("{typed:?} cannot be the name of a tenant: {why}\n");
    // As it is probably spelled: with what is allowed in the place of what is not.
    let spelled: String = typed
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    if let Some(near) = nearest(&spelled, known) {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "did you mean `{near}`?");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn what_is_allowed_and_what_may_have_been_meant_is_said() {
        let known = ["acme", "shop-001"].map(str::to_owned);
        let said = |typed: &str| {
            let error = Cli::try_parse_from(["tenantd", "stop", typed]).unwrap_err();
            let why = error.source().unwrap().downcast_ref().unwrap();
            text(typed, why, &known)
        };
        assert_eq!(
            said("shop_001"),
            "\"shop_001\" cannot be the name of a tenant: '_' is not allowed in a name; use \
             lower-case letters, digits and '-'\ndid you mean `shop-001`?\n"
        );
        assert!(said("ACME").ends_with("did you mean `acme`?\n"));
        assert!(!said("Zürich").contains("did you mean"));
        let error = Cli::try_parse_from(["tenantd", "stop", "a_b"]).unwrap_err();
        let shown = explain(error).to_string();
        assert!(shown.starts_with("error: \"a_b\" cannot be"), "{shown}");
    }
}
