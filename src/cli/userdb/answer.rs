//! The answers to calls of `io.systemd.UserDatabase`, see systemd's document "User/Group Record Lookup API via
//! Varlink".

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use tenantd_core::plan::facts::OwnUser;

/// The name of the service, which is that of its socket too.
pub(super) const SERVICE: &str = "io.tenantd";

const INTERFACE: &str = "io.systemd.UserDatabase";

/// A call.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    method: String,
    #[serde(default)]
    parameters: Parameters,
    /// Whether several answers may follow.
    #[serde(default)]
    more: bool,
}

/// What is asked for: the one with this name or number, or all.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    service: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
    user_name: Option<String>,
    group_name: Option<String>,
}

/// The users, by their `APP/TENANT`.
pub(super) type Users = BTreeMap<String, OwnUser>;

/// The answers to a call, in their order.
pub(super) fn answers(call: &Call, users: &Users) -> Vec<Value> {
    let Parameters {
        service,
        uid,
        gid,
        user_name,
        group_name,
    } = &call.parameters;
    let method = call.method.strip_prefix(INTERFACE);
    let method = method.and_then(|rest| rest.strip_prefix('.'));
    let (asked, record): (_, fn(&str, &OwnUser) -> Value) = match method {
        Some("GetUserRecord") => ((uid, user_name), user_record),
        Some("GetGroupRecord") => ((gid, group_name), group_record),
        // Nobody is in the group of another.
        Some("GetMemberships") => return vec![error("NoRecordFound")],
        Some(_) | None => {
            let method = json!({ "method": call.method });
            return vec![
                json!({ "error": "org.varlink.service.MethodNotFound", "parameters": method }),
            ];
        }
    };
    if service.as_deref().is_some_and(|it| it != SERVICE) {
        return vec![error("BadService")];
    }
    let (number, name) = asked;
    if number.is_none() && name.is_none() {
        return all(call.more, users, record);
    }
    let has_number = |user: &OwnUser| number.is_none_or(|number| user.uid == number);
    let has_name = |user: &OwnUser| name.as_ref().is_none_or(|name| user.name == *name);
    let mut found = users.iter();
    if let Some((label, user)) = found.find(|(_, user)| has_number(user) && has_name(user)) {
        return vec![one(&record(label, user), false)];
    }
    let one_of_both = |user: &OwnUser| {
        number.is_some_and(|number| user.uid == number)
            || name.as_ref().is_some_and(|name| user.name == *name)
    };
    match users.values().any(one_of_both) {
        true => vec![error("ConflictingRecordFound")],
        false => vec![error("NoRecordFound")],
    }
}

/// All of them, one answer each.
fn all(more: bool, users: &Users, record: fn(&str, &OwnUser) -> Value) -> Vec<Value> {
    if users.is_empty() {
        return vec![error("NoRecordFound")];
    }
    if !more {
        return vec![json!({ "error": "org.varlink.service.ExpectedMore", "parameters": {} })];
    }
    let last = users.len() - 1;
    let each = users.iter().enumerate();
    each.map(|(at, (label, user))| one(&record(label, user), at < last))
        .collect()
}

fn error(name: &str) -> Value {
    json!({ "error": format!("{INTERFACE}.{name}"), "parameters": {} })
}

fn one(record: &Value, continues: bool) -> Value {
    let mut answer = json!({ "parameters": { "record": record, "incomplete": false } });
    if continues {
        answer["continues"] = json!(true);
    }
    answer
}

fn user_record(label: &str, user: &OwnUser) -> Value {
    json!({
        "userName": user.name,
        "uid": user.uid,
        "gid": user.uid,
        "realName": format!("tenant {label}"),
        "homeDirectory": "/",
        "shell": "/usr/sbin/nologin",
        "disposition": "dynamic",
        "locked": true,
        "service": SERVICE,
    })
}

fn group_record(label: &str, user: &OwnUser) -> Value {
    json!({
        "groupName": user.name,
        "gid": user.uid,
        "description": format!("tenant {label}"),
        "disposition": "dynamic",
        "service": SERVICE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, parameters: &str, more: bool) -> Vec<Value> {
        let users = [
            ("wiki/acme", "wiki-acme", 70000),
            ("wiki/b", "wiki-b", 70001),
        ];
        let users = users.map(|(label, name, uid)| {
            let name = name.to_owned();
            (label.to_owned(), OwnUser { name, uid })
        });
        let text = format!(
            r#"{{"method":"io.systemd.UserDatabase.{method}","parameters":{parameters},"more":{more}}}"#
        );
        answers(&serde_json::from_str(&text).unwrap(), &users.into())
    }

    #[test]
    fn a_user_is_found_by_name_and_number() {
        for parameters in [
            r#"{"uid":70001}"#,
            r#"{"userName":"wiki-b","service":"io.tenantd"}"#,
            r#"{"userName":"wiki-b","uid":70001}"#,
        ] {
            let found = asked("GetUserRecord", parameters, false);
            let record = &found[0]["parameters"]["record"];
            assert_eq!(
                (record["userName"].as_str(), &record["uid"]),
                (Some("wiki-b"), &json!(70001))
            );
            assert_eq!(found.len(), 1);
        }
        let found = asked("GetGroupRecord", r#"{"gid":70000}"#, false);
        assert_eq!(found[0]["parameters"]["record"]["groupName"], "wiki-acme");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for (method, parameters, error) in [
            ("GetUserRecord", r#"{"uid":1}"#, "NoRecordFound"),
            (
                "GetUserRecord",
                r#"{"uid":70000,"userName":"wiki-b"}"#,
                "ConflictingRecordFound",
            ),
            (
                "GetUserRecord",
                r#"{"uid":70000,"service":"io.other"}"#,
                "BadService",
            ),
            ("GetMemberships", "{}", "NoRecordFound"),
        ] {
            let found = asked(method, parameters, false);
            assert_eq!(
                found[0]["error"],
                format!("io.systemd.UserDatabase.{error}")
            );
        }
        let found = asked("SetRecord", "{}", false);
        assert_eq!(found[0]["error"], "org.varlink.service.MethodNotFound");
    }

    #[test]
    fn all_are_listed_for_who_accepts_several_answers() {
        let found = asked("GetUserRecord", "{}", true);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[0]["continues"], &found[1]["continues"]),
            (&json!(true), &Value::Null)
        );
        let found = asked("GetUserRecord", "{}", false);
        assert_eq!(found[0]["error"], "org.varlink.service.ExpectedMore");
    }
}
