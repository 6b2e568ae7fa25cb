//! The lines about requests that changed something or were refused.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::plain::plain;
use tenantd_api::wire::asked::RequestEvent;
use tenantd_core::name::{AppName, TenantName};

/// How much of a text is printed that the client has chosen.
const TEXT: usize = 400;

/// A line as `--json` prints it.
#[derive(Serialize)]
struct Json<'a> {
    app: &'a AppName,
    kind: &'static str,
    #[serde(flatten)]
    request: &'a RequestEvent,
}

/// # Errors
/// Those of `out`.
pub(super) fn write(
    out: &mut impl Write,
    app: &AppName,
    request: &RequestEvent,
    json: bool,
) -> io::Result<()> {
    if json {
        let kind = "request";
        serde_json::to_writer(&mut *out, &Json { app, kind, request })?;
        return writeln!(out);
    }
    writeln!(out, "{}", text(request))
}

fn text(request: &RequestEvent) -> String {
    let RequestEvent {
        verb,
        tenants,
        more_tenants,
        outcome,
        detail,
        pid,
        uid,
        gid,
        comm,
        exe: _,
        inside,
        missing_before,
        time,
    } = request;
    let mut words: Vec<&str> = vec![verb];
    words.extend(tenants.iter().map(TenantName::as_str));
    let mut line = format!("{time:.3} request: {}", words.join(" "));
    if *more_tenants > 0 {
        line += &format!(" and {more_tenants} more");
    }
    line += &format!(": {}", outcome.word());
    if let Some(why) = detail {
        line += &format!(": {}", plain(why, TEXT));
    }
    line += &format!(" (process {pid}");
    if let Some(comm) = comm {
        line += &format!(" \"{}\"", plain(comm, TEXT));
    }
    line += &format!(", user {uid}, group {gid}");
    if let Some(place) = inside {
        line += &format!(", in {place}");
    }
    line.push(')');
    if *missing_before > 0 {
        line += &format!("; {missing_before} refused before it are not shown");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::asked::RequestOutcome;

    #[test]
    fn a_line_says_who_asked_for_what_and_what_became_of_it() {
        let done = RequestEvent {
            verb: "stop".to_owned(),
            tenants: vec!["acme".parse().unwrap(), "bolt".parse().unwrap()],
            more_tenants: 0,
            outcome: RequestOutcome::Done,
            detail: None,
            pid: 812,
            uid: 0,
            gid: 0,
            comm: Some("tenantd".to_owned()),
            exe: None,
            inside: None,
            missing_before: 0,
            time: "2026-11-22T10:00:00.25Z".parse().unwrap(),
        };
        assert_eq!(
            text(&done),
            "2026-11-22T10:00:00.250Z request: stop acme bolt: done (process 812 \"tenantd\", user 0, group 0)"
        );
        let refused = RequestEvent {
            verb: "connect".to_owned(),
            tenants: Vec::new(),
            outcome: RequestOutcome::Refused,
            detail: Some("process 7 is in tenant shop/acme".to_owned()),
            pid: 7,
            uid: 33,
            gid: 33,
            comm: Some("x\u{1b}[2J".to_owned()),
            inside: Some("shop/acme".to_owned()),
            missing_before: 12,
            more_tenants: 3,
            ..done
        };
        assert_eq!(
            text(&refused),
            "2026-11-22T10:00:00.250Z request: connect and 3 more: refused: process 7 is in tenant shop/acme \
             (process 7 \"x\\u{1b}[2J\", user 33, group 33, in shop/acme); 12 refused before it are not shown"
        );
    }
}
