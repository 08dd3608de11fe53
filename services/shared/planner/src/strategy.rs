//! How much a commit may disturb its tenant without anybody being asked: what its own config.yaml says.

use crate::plan::plan;
use model::{DesiredTenant, Diagnostic, document::Step, identity::Slot, observed::ObservedTenant, tree::Request};

/// The fault of a commit whose plan is harder than its repository's `strategy.most`. What could not be looked at is no
/// fault: without the whole picture nothing is done anyway.
#[must_use]
pub fn exceeded(
    request: &Request,
    desired: &DesiredTenant,
    slot: Slot,
    observed: &ObservedTenant,
) -> Option<Diagnostic> {
    let config = request.config.as_ref()?;
    let most = config.content.strategy.most?;
    let planned = plan(desired, slot, observed);
    let hardest = planned.steps.iter().max_by_key(|step| step.class).filter(|step| step.class > most)?;
    let message = format!(
        "this commit needs a change of class {} ({}), and at most {most} is allowed here",
        hardest.class, hardest.why
    );
    Some(config.fault(&[Step::from("strategy"), Step::from("most")], &message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world;
    use model::tree::Tree;

    struct Files(String);

    impl Tree for Files {
        fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(match path {
                "metadata.json" => {
                    let manifest = br#"{"version":"1.0","tenant":{"name":"web","type":"container"},"image":"debian"}"#;
                    Some(manifest.to_vec())
                }
                ".gitops/config.yaml" => Some(self.0.clone().into_bytes()),
                _ => None,
            })
        }

        fn has(&self, _: &str) -> bool {
            false
        }
    }

    #[test]
    fn a_harder_plan_than_allowed_is_a_fault_at_the_line_that_allows() {
        let slot = Slot::new(7).unwrap();
        let mut running = ObservedTenant::absent();
        world::converge(&mut running, &world::desired("web", 'a'));
        let next = DesiredTenant { sysext: vec!["tools".parse().unwrap()], ..world::desired("web", 'b') };
        let other = DesiredTenant { image: "fedora".parse().unwrap(), ..next.clone() };
        let says = |most: &str, desired: &DesiredTenant, observed: &ObservedTenant| {
            let files = Files(format!("version: \"1.0\"\nstrategy:\n  most: {most}\n"));
            exceeded(&Request::read("web", &files).unwrap(), desired, slot, observed)
        };
        let fault = says("hot", &next, &running).unwrap();
        assert_eq!((fault.origin.as_str(), fault.line), ("web:.gitops/config.yaml", 3));
        assert!(fault.message.contains("class restart") && fault.message.contains("at most hot"), "{}", fault.message);
        assert!(says("restart", &other, &running).unwrap().message.contains("class re-provision"));
        for (most, desired) in [("restart", &next), ("re-provision", &other), ("hot", &world::desired("web", 'b'))] {
            assert_eq!(says(most, desired, &running), None, "{most}");
        }
        assert_eq!(says("hot", &next, &ObservedTenant::absent()), None, "a first commit disturbs nobody");
    }
}
