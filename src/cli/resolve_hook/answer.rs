//! The answers to calls of `io.systemd.Resolve.Hook`, see `varlinkctl introspect` of systemd-resolved.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use tenantd_core::name::{AppName, TenantName};

const INTERFACE: &str = "io.systemd.Resolve.Hook";

/// The class of the internet, and types of records (RFC 1035, RFC 3596).
const INTERNET: u16 = 1;
const A: u16 = 1;
const AAAA: u16 = 28;
const ANY: u16 = 255;

/// The parts of a name, `TENANT.APP`.
const LABELS: u32 = 2;

/// A call.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    method: String,
    #[serde(default)]
    parameters: Parameters,
    /// Whether further answers may follow.
    #[serde(default)]
    more: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    question: Vec<Question>,
}

#[derive(Debug, Deserialize)]
struct Question {
    key: Key,
}

#[derive(Debug, Deserialize)]
struct Key {
    class: u16,
    r#type: u16,
    name: String,
}

/// The answer to a call. `look_up` finds the addresses of a tenant; `None` if there is no such tenant now.
pub(super) fn answer(
    call: &Call,
    look_up: impl Fn(&AppName, &TenantName) -> Option<Vec<IpAddr>>,
) -> Value {
    let method = call.method.strip_prefix(INTERFACE);
    match method.and_then(|rest| rest.strip_prefix('.')) {
        Some("QueryFilter") => {
            let filter = json!({ "filterLabelsMin": LABELS, "filterLabelsMax": LABELS });
            // The names of applications change, the number of their parts does not: no other answer follows.
            json!({ "parameters": filter, "continues": call.more })
        }
        Some("ResolveRecord") => json!({ "parameters": records(&call.parameters, look_up) }),
        Some(_) | None => json!({
            "error": "org.varlink.service.MethodNotFound",
            "parameters": { "method": call.method },
        }),
    }
}

/// The records that answer all questions. Without a `rcode`, others are asked.
fn records(
    parameters: &Parameters,
    look_up: impl Fn(&AppName, &TenantName) -> Option<Vec<IpAddr>>,
) -> Value {
    let mut found = Vec::new();
    let mut is_tenant = false;
    for Question { key } in &parameters.question {
        let Some((tenant, app)) = names(&key.name).filter(|_| key.class == INTERNET) else {
            continue;
        };
        let Some(addresses) = look_up(&app, &tenant) else {
            continue;
        };
        is_tenant = true;
        let labels = [tenant.as_str(), app.as_str()];
        for address in addresses {
            let kind = if address.is_ipv4() { A } else { AAAA };
            if key.r#type == kind || key.r#type == ANY {
                found.push(json!({ "raw": base64(&record(labels, address)) }));
            }
        }
    }
    match is_tenant {
        // Also without a record of that type: nobody else knows the name.
        true => json!({ "rcode": 0, "answer": found }),
        false => json!({}),
    }
}

fn names(name: &str) -> Option<(TenantName, AppName)> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let (tenant, app) = name.split_once('.')?;
    Some((tenant.parse().ok()?, app.parse().ok()?))
}

/// A record as on the wire (RFC 1035, section 3.2.1). It is not to be kept: a reload may change the address.
fn record(labels: [&str; 2], address: IpAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    let (kind, data) = match address {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    };
    for number in [
        kind,
        INTERNET,
        0,
        0,
        u16::try_from(data.len()).unwrap_or_default(),
    ] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let at = |index: usize| u32::from(part.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            match digit <= part.len() {
                true => text.push(char::from(DIGITS[index as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, question: &Value, more: bool) -> Value {
        let call = json!({
            "method": format!("{INTERFACE}.{method}"),
            "parameters": { "question": question },
            "more": more,
        });
        let call: Call = serde_json::from_value(call).unwrap();
        answer(&call, |app, tenant| {
            let is_it = (app.as_str(), tenant.as_str()) == ("wiki", "acme");
            is_it.then(|| {
                vec![
                    "10.77.0.11".parse().unwrap(),
                    "fd00:77::11".parse().unwrap(),
                ]
            })
        })
    }

    fn key(name: &str, kind: u16) -> Value {
        json!({ "key": { "class": 1, "type": kind, "name": name } })
    }

    #[test]
    fn a_tenant_has_records_of_the_types_that_are_asked_for() {
        let ipv4 = json!({ "raw": "BGFjbWUEd2lraQAAAQABAAAAAAAECk0ACw==" });
        let ipv6 = json!({ "raw": "BGFjbWUEd2lraQAAHAABAAAAAAAQ/QAAdwAAAAAAAAAAAAAAEQ==" });
        let one = json!({ "parameters": { "rcode": 0, "answer": [ipv4] } });
        assert_eq!(
            asked("ResolveRecord", &json!([key("acme.wiki", A)]), false),
            one
        );
        assert_eq!(
            asked("ResolveRecord", &json!([key("ACME.Wiki.", A)]), false),
            one
        );
        let both = json!([key("acme.wiki", A), key("acme.wiki", AAAA)]);
        let said = asked("ResolveRecord", &both, false);
        assert_eq!(said["parameters"]["answer"], json!([ipv4, ipv6]));
        let text = asked("ResolveRecord", &json!([key("acme.wiki", 16)]), false);
        assert_eq!(text, json!({ "parameters": { "rcode": 0, "answer": [] } }));
    }

    #[test]
    fn other_names_are_asked_elsewhere() {
        for name in [
            "example.org",
            "beta.wiki",
            "wiki",
            "../passwd.wiki",
            "a.b.wiki",
            "",
        ] {
            let said = asked("ResolveRecord", &json!([key(name, A)]), false);
            assert_eq!(said, json!({ "parameters": {} }), "{name}");
        }
        let chaos = json!([{ "key": { "class": 3, "type": 1, "name": "acme.wiki" } }]);
        assert_eq!(
            asked("ResolveRecord", &chaos, false),
            json!({ "parameters": {} })
        );
    }

    #[test]
    fn only_names_of_two_parts_are_wanted() {
        let said = asked("QueryFilter", &json!([]), true);
        assert_eq!(
            said["parameters"],
            json!({ "filterLabelsMin": 2, "filterLabelsMax": 2 })
        );
        assert_eq!(said["continues"], true);
        let said = asked("Other", &json!([]), false);
        assert_eq!(said["error"], "org.varlink.service.MethodNotFound");
    }
}
