//! The interfaces that every service has besides its own: `org.varlink.service`, which describes it, and
//! `io.systemd.service`, by which an operator asks whether it is alive.

use crate::session::Answer;
use interfaces::Contract;
use serde_json::{Value, json};

const VARLINK_SERVICE: &str = include_str!("org.varlink.service.varlink");
const SYSTEMD_SERVICE: &str = include_str!("io.systemd.service.varlink");

/// Answers a method that is open to everybody, or nothing if `method` is none of those.
pub(crate) fn answer(contract: &Contract, method: &str, parameters: &Value) -> Option<Answer> {
    let answer = match method {
        "org.varlink.service.GetInfo" | "io.systemd.service.Ping" if has_fields(parameters) => unexpected(parameters),
        "org.varlink.service.GetInfo" => Answer::Reply(json!({
            "vendor": "BitBuilder",
            "product": "BitBuilder Hypervisor",
            "version": env!("CARGO_PKG_VERSION"),
            "url": "",
            "interfaces": [contract.name, "io.systemd.service", "org.varlink.service"],
        })),
        "io.systemd.service.Ping" => Answer::Reply(json!({})),
        "org.varlink.service.GetInterfaceDescription" => match parameters.get("interface") {
            Some(Value::String(name)) if parameters.as_object().is_some_and(|fields| fields.len() == 1) => {
                describe(contract, name)
            }
            _ => Answer::refused("InvalidParameter", json!({ "parameter": "interface" })),
        },
        _ => return None,
    };
    Some(answer)
}

fn describe(contract: &Contract, name: &str) -> Answer {
    let text = match name {
        "org.varlink.service" => VARLINK_SERVICE,
        "io.systemd.service" => SYSTEMD_SERVICE,
        name if name == contract.name => contract.text,
        _ => return Answer::refused("InterfaceNotFound", json!({ "interface": name })),
    };
    Answer::Reply(json!({ "description": text }))
}

fn has_fields(parameters: &Value) -> bool {
    parameters.as_object().is_none_or(|fields| !fields.is_empty())
}

fn unexpected(parameters: &Value) -> Answer {
    let first = parameters.as_object().and_then(|fields| fields.keys().next()).cloned().unwrap_or_default();
    Answer::refused("InvalidParameter", json!({ "parameter": first }))
}
