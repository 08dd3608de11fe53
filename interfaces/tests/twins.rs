//! The Rust twins say what the .varlink files say: the same methods, parameters, replies and errors.

use interfaces::{ALL, Shape};
use std::collections::BTreeMap;

#[test]
fn each_twin_matches_its_file() {
    for contract in ALL {
        let described = contract.describe().unwrap();
        assert_eq!(described.name, contract.name);
        let twins = |shape: fn(&interfaces::contract::Twin) -> Shape| -> BTreeMap<String, Shape> {
            contract.methods.iter().map(|method| (method.name.to_owned(), shape(method))).collect()
        };
        assert_eq!(twins(|method| (method.parameters)()), described.parameters, "parameters of {}", contract.name);
        assert_eq!(twins(|method| (method.reply)()), described.replies, "replies of {}", contract.name);
        let errors: BTreeMap<String, Shape> =
            (contract.errors)().into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect();
        assert_eq!(errors, described.errors, "errors of {}", contract.name);
    }
}

#[test]
fn each_file_comments_everything_it_declares() {
    for contract in ALL {
        let mut above = "";
        for line in contract.text.lines() {
            let declares = ["interface ", "method ", "error ", "type "].iter().any(|word| line.starts_with(word));
            assert!(!declares || above.starts_with('#'), "{}: no comment above: {line}", contract.name);
            above = line;
        }
    }
}

#[test]
fn a_method_streams_where_its_comment_says_so() {
    use interfaces::contract::More;
    for contract in ALL {
        for method in contract.methods {
            let declaration = format!("method {}(", method.name);
            let before = &contract.text[..contract.text.find(&declaration).unwrap()];
            let comment = before.rsplit("\n\n").next().unwrap();
            let said = match () {
                () if comment.contains("[Requires 'more' flag]") => More::Required,
                () if comment.contains("[Supports 'more' flag]") => More::Supported,
                () => More::Ignored,
            };
            assert_eq!(said, method.more, "{}.{}", contract.name, method.name);
        }
    }
}
