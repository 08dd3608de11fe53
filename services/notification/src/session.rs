//! The calls of io.bitbuilder.Notification.

use crate::post::Post;
use interfaces::{
    Method,
    notification::{Changed, Error, List, Listed, Notify, Progress},
};
use runtime::{Answer, Call};

/// One caller's conversation.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    post: Post,
}

impl Session {
    /// A conversation about what is told.
    pub(crate) fn new(post: Post) -> Self {
        Self { post }
    }

    fn notify(&self, call: &Notify) -> Result<Changed, Error> {
        let taken = self.post.take(call);
        taken.map(|changed| Changed { changed }).map_err(|error| Error::Failed {
            action: format!("take in what became of {}", call.repository),
            reason: runtime::chain(&error),
        })
    }

    fn list(&self, List { target }: List) -> Result<Vec<Progress>, Error> {
        let shown = self.post.progress(target.as_ref());
        match target {
            Some(target) if shown.is_empty() => Err(Error::NoSuchTarget { target }),
            Some(_) | None => Ok(shown),
        }
    }
}

impl runtime::Session for Session {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Notify::NAME => call.answer(|wanted: Notify| async move { self.notify(&wanted) }).await,
            List::NAME => {
                call.list(|wanted: List| async move { self.list(wanted) }, |targets| Listed { targets }).await
            }
            _ => call.not_served(),
        }
    }
}
