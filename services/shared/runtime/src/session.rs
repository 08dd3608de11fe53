//! One caller's conversation with a service, behind the gate: a call whose shape and right are checked already, and the
//! answer to it.

use crate::caller::Caller;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use interfaces::{Method, access::Right, contract::Twin};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;

/// What a service does with calls. Cloned per connection.
pub trait Session: Clone + Send + Sync + 'static {
    /// Answers one call. Dropped when the caller hangs up.
    fn call(&self, call: Call) -> impl Future<Output = Answer> + Send;
}

/// A call that passed the gate.
#[derive(Debug)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// Whether many replies are wanted.
    pub more: bool,
    /// The file descriptors that came with it; a parameter says which one is meant.
    pub descriptors: Vec<OwnedFd>,
    pub(crate) method: &'static Twin,
    pub(crate) parameters: Value,
}

/// What a call is answered with.
pub enum Answer {
    /// One reply.
    Reply(Value),
    /// Many; an error ends them.
    Replies(Replies),
    /// No reply but an error.
    Failed(Failure),
}

/// Replies as they come.
pub(crate) type Replies = BoxStream<'static, Result<(Value, Continues), Failure>>;

/// Whether another reply follows this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continues {
    /// Another one follows.
    Yes,
    /// This is the last.
    No,
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// With the interface's name.
    pub(crate) error: String,
    /// What the .varlink file says of it.
    pub(crate) parameters: Value,
}

impl Failure {
    pub(crate) fn service(error: &str, parameters: Value) -> Self {
        Self { error: format!("org.varlink.service.{error}"), parameters }
    }

    /// One of the errors that the interface names.
    pub fn of<M: Method>(error: &M::Error) -> Self {
        let mut value = serde_json::to_value(error).unwrap_or(Value::Null);
        let name = value["error"].as_str().unwrap_or("Failed").to_owned();
        let parameters = value.get_mut("parameters").map_or_else(|| json!({}), Value::take);
        Self { error: format!("{}.{name}", M::CONTRACT.name), parameters }
    }
}

impl Answer {
    pub(crate) fn refused(error: &str, parameters: Value) -> Self {
        Self::Failed(Failure::service(error, parameters))
    }
}

impl Call {
    /// The method's name, without the interface's.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.method.name
    }

    /// A call whose method has a twin and that this service does not serve.
    #[must_use]
    pub fn not_served(&self) -> Answer {
        Answer::refused("MethodNotImplemented", json!({ "method": self.method.name }))
    }

    /// Whether the method changes anything, and must therefore not be abandoned half-way.
    pub(crate) fn changes(&self) -> bool {
        match self.method.right {
            Right::Mutate | Right::Administer => true,
            Right::Read | Right::Synchronize | Right::Examine | Right::Reveal | Right::OwnTenant => false,
        }
    }

    fn decode<P: DeserializeOwned>(&mut self) -> Result<P, Failure> {
        serde_path_to_error::deserialize(self.parameters.take())
            .map_err(|fault| Failure::service("InvalidParameter", json!({ "parameter": fault.path().to_string() })))
    }

    /// Answers with one reply.
    pub async fn answer<M, F>(mut self, serve: impl FnOnce(M) -> F) -> Answer
    where
        M: Method,
        F: Future<Output = Result<M::Reply, M::Error>>,
    {
        let parameters = match self.decode::<M>() {
            Ok(parameters) => parameters,
            Err(failure) => return Answer::Failed(failure),
        };
        match serve(parameters).await {
            Ok(reply) => Answer::Reply(to_value(&reply)),
            Err(error) => Answer::Failed(Failure::of::<M>(&error)),
        }
    }

    /// Answers with a list: an item per reply if many are wanted, else all in one.
    pub async fn list<M, T, F>(mut self, serve: impl FnOnce(M) -> F, reply: fn(Vec<T>) -> M::Reply) -> Answer
    where
        M: Method,
        T: Send + 'static,
        F: Future<Output = Result<Vec<T>, M::Error>>,
    {
        let parameters = match self.decode::<M>() {
            Ok(parameters) => parameters,
            Err(failure) => return Answer::Failed(failure),
        };
        match serve(parameters).await {
            Ok(items) if self.more && !items.is_empty() => {
                let last = items.len() - 1;
                let replies = items.into_iter().enumerate().map(move |(index, item)| {
                    let continues = if index == last { Continues::No } else { Continues::Yes };
                    Ok((to_value(&reply(vec![item])), continues))
                });
                Answer::Replies(futures_util::stream::iter(replies).boxed())
            }
            Ok(items) => Answer::Reply(to_value(&reply(items))),
            Err(error) => Answer::Failed(Failure::of::<M>(&error)),
        }
    }

    /// Answers with replies as they come; the last one says that it is.
    pub async fn stream<M, S, F>(mut self, serve: impl FnOnce(M) -> F) -> Answer
    where
        M: Method,
        S: Stream<Item = Result<(M::Reply, Continues), M::Error>> + Send + 'static,
        F: Future<Output = Result<S, M::Error>>,
    {
        let parameters = match self.decode::<M>() {
            Ok(parameters) => parameters,
            Err(failure) => return Answer::Failed(failure),
        };
        match serve(parameters).await {
            Ok(replies) => Answer::Replies(
                replies
                    .map(|item| {
                        item.map(|(reply, continues)| (to_value(&reply), continues))
                            .map_err(|error| Failure::of::<M>(&error))
                    })
                    .boxed(),
            ),
            Err(error) => Answer::Failed(Failure::of::<M>(&error)),
        }
    }
}

/// Twins hold nothing that JSON cannot: text keys, whole numbers, text.
fn to_value<T: Serialize>(reply: &T) -> Value {
    serde_json::to_value(reply).unwrap_or(Value::Null)
}
