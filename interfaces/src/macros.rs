//! How twins are declared: beside each other, and without a chance to forget a field.

/// An object that exists only on the wire.
macro_rules! object {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* #[allow(missing_docs)] pub $field: $type,)*
        }
        $crate::macros::shaped!($name { $($field: $type),* });
    )*};
}

/// The shape of a struct that serialises in camelCase. The destructuring fails to compile if a field is missing here.
macro_rules! shaped {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        impl $crate::shape::Shaped for $name {
            fn shape() -> $crate::shape::Shape {
                #[allow(unused_variables)]
                fn complete(value: $name) {
                    let $name { $($field),* } = value;
                }
                let _ = complete;
                $crate::shape::Shape::Object(vec![
                    $(($crate::shapes::camel_case(stringify!($field)), <$type as $crate::shape::Shaped>::shape())),*
                ])
            }
        }
    };
}

/// The methods of an interface: `Name(parameters: Type) -> Reply, right, more`.
macro_rules! contract {
    ($interface:literal, $file:literal, $error:ident, $($name:ident => $reply:ty, $right:ident, $more:ident;)*) => {
        /// The contract of this interface.
        pub static CONTRACT: $crate::contract::Contract = $crate::contract::Contract::new(
            $interface,
            include_str!(concat!("../", $file)),
            &[$($crate::contract::Twin {
                name: stringify!($name),
                right: $crate::access::Right::$right,
                more: $crate::contract::More::$more,
                parameters: <$name as $crate::shape::Shaped>::shape,
                reply: <$reply as $crate::shape::Shaped>::shape,
            }),*],
            $error::shapes,
        );

        $(impl $crate::contract::Method for $name {
            const NAME: &'static str = stringify!($name);
            const CONTRACT: &'static $crate::contract::Contract = &CONTRACT;
            type Reply = $reply;
            type Error = $error;
        })*
    };
}

/// The errors of an interface. Each file has `Failed`.
macro_rules! errors {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? } = $message:literal)*) => {
        /// What a call can fail with, as the .varlink file names it.
        #[derive(Debug, Clone, PartialEq, thiserror::Error, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "error", content = "parameters", rename_all_fields = "camelCase")]
        #[allow(missing_docs)]
        pub enum Error {
            $($(#[$meta])* #[error($message)] $name { $($field: $type),* },)*
        }

        impl Error {
            pub(crate) fn shapes() -> Vec<(&'static str, $crate::shape::Shape)> {
                vec![$((stringify!($name), $crate::shape::Shape::Object(vec![
                    $(($crate::shapes::camel_case(stringify!($field)), <$type as $crate::shape::Shaped>::shape())),*
                ]))),*]
            }
        }

        impl $crate::contract::ErrorReply for Error {
            fn failed(action: String, reason: String) -> Self {
                Self::Failed { action, reason }
            }
        }
    };
}

pub(crate) use {contract, errors, object, shaped};
