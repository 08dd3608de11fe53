//! Calls of io.bitbuilder.Secret, answered with the keys.

use interfaces::{
    Method,
    secret::{
        Describe, Described, Error, Examine, Examined, Open, Opened, OpenedSecret, RefusedSecret, Rewrap, Rewrapped,
    },
};
use model::secrets::{MOST, SealedSecret, SecretValue};
use runtime::{Answer, Call};
use sealing::Identities;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// One caller's conversation.
#[derive(Debug, Clone)]
pub struct Session {
    keys: Arc<Identities>,
    /// Opening is arithmetic: who asks for much of it keeps one processor busy.
    turn: Arc<Semaphore>,
}

impl Session {
    /// A conversation with who has these keys.
    #[must_use]
    pub fn new(keys: Identities) -> Self {
        Self { keys: Arc::new(keys), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Does `work` with the keys, one call at a time, where it keeps nobody else from being answered.
    async fn with_keys<T: Send + 'static>(
        &self,
        action: &'static str,
        secrets: &[SealedSecret],
        work: impl FnOnce(&Identities) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |reason: String| Error::Failed { action: action.to_owned(), reason };
        if secrets.len() > MOST {
            return Err(failed(format!("{} are asked for, and a tenant has at most {MOST}", secrets.len())));
        }
        if self.keys.recipients().is_empty() {
            return Err(failed("this host has no key; see: systemctl status bitbuilder-secret-key.service".to_owned()));
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|cause| failed(cause.to_string()))?;
        let keys = Arc::clone(&self.keys);
        let worked = tokio::task::spawn_blocking(move || {
            // Also when nobody waits any more.
            let _turn = turn;
            work(&keys)
        });
        worked.await.unwrap_or_else(|cause| Err(failed(cause.to_string())))
    }

    fn describe(&self) -> Result<Described, Error> {
        let recipients = self.keys.recipients();
        if recipients.is_empty() {
            let reason = "it has none; see: systemctl status bitbuilder-secret-key.service".to_owned();
            return Err(Error::Failed { action: "show the host's keys".to_owned(), reason });
        }
        Ok(Described { recipients })
    }

    async fn examine(&self, Examine { tenant, secrets, without }: Examine) -> Result<Examined, Error> {
        let asked = secrets.clone();
        self.with_keys("look at the secrets", &asked, move |keys| {
            let left = match without {
                Some(recipient) if keys.recipients().contains(&recipient) => keys.without(&recipient),
                Some(recipient) => return Err(Error::NoSuchRecipient { recipient }),
                None => keys.clone(),
            };
            let refused = secrets.into_iter().filter_map(|SealedSecret { name, sealed }| {
                left.open(&tenant, &name, &sealed).err().map(|reason| RefusedSecret { name, reason })
            });
            Ok(Examined { refused: refused.collect() })
        })
        .await
    }

    async fn open(&self, Open { tenant, secrets }: Open) -> Result<Opened, Error> {
        let asked = secrets.clone();
        self.with_keys("open the secrets", &asked, move |keys| {
            let opened =
                secrets.into_iter().map(|SealedSecret { name, sealed }| match keys.open(&tenant, &name, &sealed) {
                    Ok(value) => Ok(OpenedSecret { name, value: SecretValue::of(&value) }),
                    Err(reason) => Err(Error::CannotOpen { name, reason }),
                });
            Ok(Opened { secrets: opened.collect::<Result<_, _>>()? })
        })
        .await
    }

    async fn rewrap(&self, Rewrap { tenant, secrets, others }: Rewrap) -> Result<Rewrapped, Error> {
        let asked = secrets.clone();
        self.with_keys("seal the secrets anew", &asked, move |keys| {
            let ours = keys.recipients();
            let newest = ours.first().cloned().into_iter();
            let to: Vec<_> = newest.chain(others.into_iter().filter(|other| !ours.contains(other))).collect();
            let sealed = secrets.into_iter().map(|SealedSecret { name, sealed }| {
                let value = match keys.open(&tenant, &name, &sealed) {
                    Ok(value) => value,
                    Err(reason) => return Err(Error::CannotOpen { name, reason }),
                };
                let sealed = sealing::seal(&to, &tenant, &name, &value);
                let failed = |cause| Error::Failed { action: format!("seal {name}"), reason: runtime::chain(&cause) };
                Ok(SealedSecret { sealed: sealed.map_err(failed)?, name })
            });
            Ok(Rewrapped { secrets: sealed.collect::<Result<_, _>>()? })
        })
        .await
    }
}

impl runtime::Session for Session {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Describe::NAME => call.answer(|_: Describe| async { self.describe() }).await,
            Examine::NAME => call.answer(|asked: Examine| self.examine(asked)).await,
            Open::NAME => call.answer(|asked: Open| self.open(asked)).await,
            Rewrap::NAME => call.answer(|asked: Rewrap| self.rewrap(asked)).await,
            _ => call.not_served(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::secrets::{Reason, Recipient};

    fn session(count: usize) -> (Session, Vec<Recipient>) {
        let (keys, recipients): (Vec<_>, Vec<_>) = (0..count).map(|_| sealing::generate().unwrap()).unzip();
        (Session::new(Identities::parse(keys.iter().map(|key| key.as_str())).unwrap()), recipients)
    }

    fn sealed(to: &[Recipient], tenant: &str, name: &str) -> SealedSecret {
        let (tenant, name) = (tenant.parse().unwrap(), name.parse().unwrap());
        SealedSecret { sealed: sealing::seal(to, &tenant, &name, b"canary").unwrap(), name }
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_named_and_the_rest_is_not_shown() {
        let (session, keys) = session(2);
        let (_, strangers) = self::session(1);
        let secrets = vec![
            sealed(&keys[..1], "web", "new"),
            sealed(&keys[1..], "web", "old"),
            sealed(&keys[..1], "mail", "copied"),
            sealed(&strangers, "web", "strange"),
        ];
        let examine = |without: Option<&Recipient>| {
            let asked = Examine { tenant: "web".parse().unwrap(), secrets: secrets.clone(), without: without.cloned() };
            let session = session.clone();
            async move {
                let examined = session.examine(asked).await?;
                Ok::<_, Error>(
                    examined.refused.into_iter().map(|one| (one.name.to_string(), one.reason)).collect::<Vec<_>>(),
                )
            }
        };
        let (copied, strange) = (("copied".to_owned(), Reason::WrongPlace), ("strange".to_owned(), Reason::WrongKey));
        assert_eq!(examine(None).await.unwrap(), [copied.clone(), strange.clone()]);
        let old = ("old".to_owned(), Reason::WrongKey);
        assert_eq!(examine(Some(&keys[1])).await.unwrap(), [old, copied, strange]);
        assert!(matches!(examine(Some(&strangers[0])).await, Err(Error::NoSuchRecipient { .. })));
    }

    #[tokio::test]
    async fn a_value_that_is_sealed_anew_opens_with_the_newest_key_and_with_the_one_kept_elsewhere() {
        let (session, keys) = session(2);
        let (elsewhere, kept) = self::session(1);
        let tenant: model::TenantName = "web".parse().unwrap();
        let asked = Rewrap {
            tenant: tenant.clone(),
            secrets: vec![sealed(&keys[1..], "web", "token")],
            others: vec![kept[0].clone(), keys[1].clone()],
        };
        let secrets = session.rewrap(asked).await.unwrap().secrets;
        for (session, opens) in [(&session, true), (&elsewhere, true)] {
            let opened = session.open(Open { tenant: tenant.clone(), secrets: secrets.clone() }).await;
            assert_eq!(opened.is_ok_and(|opened| *opened.secrets[0].value.bytes().unwrap() == b"canary"), opens);
        }
        let without_newest = Examine { tenant, secrets, without: Some(keys[0].clone()) };
        assert_eq!(session.examine(without_newest).await.unwrap().refused.len(), 1, "the old key is not sealed to");
    }

    #[tokio::test]
    async fn one_that_cannot_be_opened_opens_none_and_too_many_are_not_tried() {
        let (session, keys) = session(1);
        let tenant: model::TenantName = "web".parse().unwrap();
        let good = sealed(&keys, "web", "good");
        let secrets = vec![good.clone(), sealed(&keys, "mail", "bad")];
        let fault = session.open(Open { tenant: tenant.clone(), secrets }).await.unwrap_err();
        assert_eq!(fault, Error::CannotOpen { name: "bad".parse().unwrap(), reason: Reason::WrongPlace });
        let many = Open { tenant: tenant.clone(), secrets: vec![good.clone(); MOST + 1] };
        assert!(matches!(session.open(many).await, Err(Error::Failed { .. })));
        let (keyless, _) = self::session(0);
        assert!(matches!(keyless.describe(), Err(Error::Failed { .. })));
        assert!(matches!(keyless.open(Open { tenant, secrets: vec![good] }).await, Err(Error::Failed { .. })));
    }
}
