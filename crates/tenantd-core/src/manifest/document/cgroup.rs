//! Limits of cgroups in the documentation and in the schema.

use serde_json::{Value, json};

use crate::cgroup::Form;

/// Describes the type of a value.
pub(super) fn words(form: Form) -> &'static str {
    match form {
        Form::Bytes | Form::Space => "bytes or a size such as `\"512 MiB\"`, or `\"unlimited\"`",
        Form::Count | Form::Files => "an integer, or `\"unlimited\"`",
        Form::Quota => {
            "a percentage of one processor such as `\"150 %\"`, a number of processors such as `1.5`, or \
             `\"unlimited\"`"
        }
        Form::Weight => "an integer from 1 to 10000",
        Form::List => "a list of numbers and ranges such as `\"0-3,8\"`",
        Form::Flag => "`true` or `false`",
        Form::Devices => "a table with a table of rates for each device",
        Form::Pages => "a table with a size for each size of huge pages",
    }
}

/// The schema of a value.
pub(super) fn schema(form: Form) -> Value {
    let size = json!({ "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": "^([0-9]+ ?([KMGT]iB|B)?|unlimited)$" },
    ] });
    let count = json!({ "anyOf": [
        { "type": "integer", "minimum": 1 },
        { "const": "unlimited" },
    ] });
    match form {
        Form::Bytes | Form::Space => size,
        Form::Count | Form::Files => count,
        Form::Quota => json!({ "anyOf": [
            { "type": "number" },
            { "type": "string", "pattern": "^([0-9]+([.][0-9]{1,3})? ?%|unlimited)$" },
        ] }),
        Form::Weight => json!({ "type": "integer", "minimum": 1, "maximum": 10000 }),
        Form::List => {
            json!({ "type": "string", "pattern": "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$" })
        }
        Form::Flag => json!({ "type": "boolean" }),
        Form::Devices => {
            let rates = json!({
                "type": "object",
                "properties": { "rbps": size, "wbps": size, "riops": count, "wiops": count },
                "additionalProperties": false,
            });
            json!({
                "type": "object",
                "propertyNames": { "pattern": "^(/dev/|[0-9]+:[0-9]+$)" },
                "additionalProperties": rates,
            })
        }
        Form::Pages => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[0-9]+[KMG]B$" },
            "additionalProperties": size,
        }),
    }
}
