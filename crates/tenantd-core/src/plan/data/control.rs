//! The keys of `[control]`.

use serde_json::{Value, json};

use crate::plan::model::{ControlPlan, Operator};

pub(super) fn control(control: &ControlPlan) -> Value {
    let ControlPlan {
        readers,
        operators,
        // Beside it.
        total: _,
    } = control;
    let read: Vec<&str> = readers.iter().map(|one| one.group.as_str()).collect();
    let operators: Vec<Value> = operators.iter().map(operator).collect();
    json!({ "read": read, "operators": operators })
}

fn operator(operator: &Operator) -> Value {
    let Operator {
        group,
        gid: _,
        rights,
        tenants,
    } = operator;
    json!({ "group": group, "rights": rights, "tenants": tenants })
}
