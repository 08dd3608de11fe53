//! The gate before every session: is there such a method, may this caller call it, does the call look as the .varlink file
//! says, does it stream as it must. In this order, so that a stranger learns nothing but names.

use crate::{
    caller::Caller,
    introspection,
    session::{Answer, Call},
};
use interfaces::{Contract, access, contract::More};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::borrow::Cow;

/// A call as it came, undecoded.
#[derive(Debug, Deserialize)]
pub(crate) struct RawCall<'a> {
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) parameters: Option<&'a RawValue>,
}

/// What the gate makes of a call.
pub(crate) enum Passage {
    /// It goes on to the session.
    Session(Call),
    /// The gate answers by itself.
    Answered(Answer),
}

pub(crate) fn pass(contract: &'static Contract, caller: &Caller, raw: &RawCall<'_>, more: bool) -> Passage {
    let parameters = match raw.parameters.map(|text| serde_json::from_str::<Value>(text.get())) {
        None | Some(Ok(Value::Null)) => json!({}),
        Some(Ok(parameters)) => parameters,
        // The connection has parsed it once already, so this is nesting beyond the limit or a number out of range.
        Some(Err(_)) => return Passage::Answered(Answer::refused("InvalidParameter", json!({ "parameter": "" }))),
    };
    if let Some(answer) = introspection::answer(contract, &raw.method, &parameters) {
        return Passage::Answered(answer);
    }
    let name = raw.method.strip_prefix(contract.name).and_then(|rest| rest.strip_prefix('.'));
    let Some(method) = name.and_then(|name| contract.method(name)) else {
        return Passage::Answered(Answer::refused("MethodNotFound", json!({ "method": raw.method })));
    };
    let tenant = parameters.get("tenant").and_then(Value::as_str);
    if !access::allowed(&caller.role, method.right, tenant) {
        return Passage::Answered(Answer::refused("PermissionDenied", json!({})));
    }
    if let Err(parameter) = contract.check(method.name, &parameters) {
        return Passage::Answered(Answer::refused("InvalidParameter", json!({ "parameter": parameter })));
    }
    if method.more == More::Required && !more {
        return Passage::Answered(Answer::refused("ExpectedMore", json!({})));
    }
    Passage::Session(Call {
        caller: caller.clone(),
        more: more && method.more != More::Ignored,
        method,
        parameters,
        descriptors: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use interfaces::access::Role;
    use proptest::prelude::*;

    fn outcome(role: &Role, method: &str, parameters: &str, more: bool) -> String {
        let caller = Caller { uid: 1, pid: 1, role: role.clone() };
        let text = format!("{{\"method\":{method:?},\"parameters\":{parameters}}}");
        let raw: RawCall<'_> = serde_json::from_str(&text).unwrap();
        match pass(&interfaces::tenant::CONTRACT, &caller, &raw, more) {
            Passage::Session(call) => format!("passes to {}", call.name()),
            Passage::Answered(Answer::Failed(failure)) => {
                format!("{} {}", failure.error.trim_start_matches("org.varlink.service."), failure.parameters)
            }
            Passage::Answered(_) => "answered".to_owned(),
        }
    }

    fn any_role() -> impl Strategy<Value = Role> {
        let guest = Role::Guest("web".parse().unwrap());
        let tenant = Role::Tenant;
        let others = [Role::Root, Role::Orchestrator, Role::GitSync, Role::Webhook, Role::Reader, Role::Stranger];
        proptest::sample::select(others.into_iter().chain([guest, tenant]).collect::<Vec<_>>())
    }

    /// A method of some service, or nearly; and parameters as somebody could send them, which name a tenant or two.
    fn any_call() -> impl Strategy<Value = (&'static Contract, String, String)> {
        let contract = proptest::sample::select(interfaces::ALL.to_vec());
        let value = proptest::sample::select(
            r#""web"|"db"|"\u0077eb"|1|0|-1|1e99|null|true|{}|[]|["web"]|""|{"a":[[[]]]}"#.split('|').collect::<Vec<_>>(),
        );
        let name = proptest::sample::select(vec![
            "tenant",
            "tenant",
            "generation",
            "spec",
            "lines",
            "follow",
            "ten\\u0061nt",
            "x",
        ]);
        let parameters = proptest::collection::vec((name, value), 0..5).prop_map(|fields| {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        });
        let odd = proptest::sample::select(vec!["null", "[]", "1", "\"web\"", "1e999"]).prop_map(str::to_owned);
        (contract, any::<proptest::sample::Index>(), ".{0,3}", prop_oneof![9 => parameters, 1 => odd]).prop_map(
            |(contract, index, more, parameters)| {
                let method = contract.methods[index.index(contract.methods.len())].name;
                let more = if more.len() > 1 { more } else { String::new() };
                (contract, format!("{}.{method}{more}", contract.name), parameters)
            },
        )
    }

    proptest! {
        /// What reaches a session has the right to, for the very tenant that the session will read from the parameters.
        #[test]
        fn nothing_passes_that_may_not(role in any_role(), (contract, method, parameters) in any_call(), more: bool) {
            let caller = Caller { uid: 1, pid: 1, role: role.clone() };
            let text = format!("{{\"method\":{},\"parameters\":{parameters}}}", json!(method));
            let raw: RawCall<'_> = serde_json::from_str(&text).unwrap();
            match pass(contract, &caller, &raw, more) {
                Passage::Session(call) => {
                    let tenant = call.parameters.get("tenant").and_then(Value::as_str);
                    prop_assert!(access::allowed(&role, call.method.right, tenant));
                    prop_assert!(contract.check(call.method.name, &call.parameters).is_ok());
                    prop_assert!(call.more || call.method.more != More::Required);
                    prop_assert_ne!(&role, &Role::Stranger);
                    prop_assert!(!matches!(role, Role::Guest(_)) || tenant == Some("web"), "a guest for {:?}", tenant);
                }
                Passage::Answered(Answer::Failed(failure)) => {
                    prop_assert!(failure.error.starts_with("org.varlink.service."), "{}", failure.error);
                }
                Passage::Answered(_) => {}
            }
        }
    }

    #[test]
    fn each_refusal_comes_in_its_order() {
        let (root, stranger) = (Role::Root, Role::Stranger);
        let rows = [
            (&root, "io.bitbuilder.Tenant.Start", r#"{"tenant":"web","generation":1}"#, false, "passes to Start"),
            (
                &root,
                "io.bitbuilder.Tenant.Nothing",
                "{}",
                false,
                r#"MethodNotFound {"method":"io.bitbuilder.Tenant.Nothing"}"#,
            ),
            (
                &root,
                "io.bitbuilder.Storage.List",
                "{}",
                false,
                r#"MethodNotFound {"method":"io.bitbuilder.Storage.List"}"#,
            ),
            (&root, "Start", "{}", false, r#"MethodNotFound {"method":"Start"}"#),
            (&stranger, "io.bitbuilder.Tenant.Start", r#"{"nonsense":1}"#, false, "PermissionDenied {}"),
            (&stranger, "io.bitbuilder.Tenant.List", "{}", false, "PermissionDenied {}"),
            (&stranger, "org.varlink.service.GetInfo", "{}", false, "answered"),
            (&stranger, "io.systemd.service.Ping", "{}", false, "answered"),
            (&stranger, "io.systemd.service.Ping", r#"{"a":1}"#, false, r#"InvalidParameter {"parameter":"a"}"#),
            (
                &root,
                "io.bitbuilder.Tenant.Start",
                r#"{"tenant":"web"}"#,
                false,
                r#"InvalidParameter {"parameter":"generation"}"#,
            ),
            (
                &root,
                "io.bitbuilder.Tenant.Start",
                r#"{"tenant":"web","generation":1,"x":1}"#,
                false,
                r#"InvalidParameter {"parameter":"x"}"#,
            ),
            (&root, "io.bitbuilder.Tenant.Start", "[]", false, r#"InvalidParameter {"parameter":""}"#),
            (
                &root,
                "io.bitbuilder.Tenant.ReadLog",
                r#"{"tenant":"web","lines":1,"follow":false}"#,
                false,
                "ExpectedMore {}",
            ),
            (
                &root,
                "io.bitbuilder.Tenant.ReadLog",
                r#"{"tenant":"web","lines":1,"follow":false}"#,
                true,
                "passes to ReadLog",
            ),
        ];
        for (role, method, parameters, more, expected) in rows {
            assert_eq!(outcome(role, method, parameters, more), expected, "{method} {parameters}");
        }
    }
}
