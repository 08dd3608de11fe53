//! Has servers looked at by one child that stays. When it ends, or a look in it is not over in time, another takes its
//! place, and the former ends with the last look that it still has.

use crate::looker::{self, Answer, Found, Question};
use host::command::{Command, CommandError};
use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

/// How long a child may be late with an answer before it is taken for stuck.
const GRACE: Duration = Duration::from_secs(3);
/// The longest answer.
const LONGEST: usize = 4096;

/// Who waits for which answer; nothing once the child has ended.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Found>>>>;

/// Looks at servers.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    current: Mutex<Option<Arc<Looker>>>,
}

/// One child. It ends with this.
#[derive(Debug)]
struct Looker {
    questions: mpsc::UnboundedSender<Question>,
    waiting: Arc<Waiting>,
    asked: AtomicU64,
    _conversation: JoinSet<()>,
}

impl Looks {
    /// What is found within `patience`. A child that ends meanwhile may have been ended by another server's answer: a
    /// second one is asked, and then none.
    pub(crate) async fn look(
        &self,
        program: &str,
        environment: impl Fn() -> Vec<(&'static str, OsString)>,
        question: Question,
        patience: Duration,
    ) -> Found {
        for _ in 0..2 {
            let Ok(looker) = self.looker(program, &environment) else { return Found::Unsure };
            match timeout(patience + GRACE, looker.ask(question.clone())).await {
                Ok(Some(found)) => return found,
                Ok(None) => self.retire(&looker),
                Err(_) => {
                    self.retire(&looker);
                    return Found::Silence;
                }
            }
        }
        Found::Unsure
    }

    fn looker(
        &self,
        program: &str,
        environment: impl Fn() -> Vec<(&'static str, OsString)>,
    ) -> Result<Arc<Looker>, CommandError> {
        let mut current = lock(&self.current);
        if let Some(looker) = &*current {
            return Ok(Arc::clone(looker));
        }
        let looker = Arc::new(Looker::start(program, environment())?);
        *current = Some(Arc::clone(&looker));
        Ok(looker)
    }

    fn retire(&self, stuck: &Arc<Looker>) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|looker| Arc::ptr_eq(looker, stuck)) {
            *current = None;
        }
    }
}

impl Looker {
    fn start(program: &str, environment: Vec<(&'static str, OsString)>) -> Result<Self, CommandError> {
        let child = Command::new(program)
            .arg(looker::ARGUMENT)
            .env("MALLOC_ARENA_MAX", "2")
            // What one look gives back the next one takes: the kernel need not be asked each time (mallopt(3)).
            .env("MALLOC_TRIM_THRESHOLD_", "16777216")
            .env("MALLOC_TOP_PAD_", "1048576")
            // The HTTP client's threads, too, count as memory with the whole of their stacks.
            .env("RUST_MIN_STACK", looker::STACK.to_string());
        let child = environment.into_iter().fold(child, |child, (name, value)| child.env(name, value));
        let (mut input, mut output) = child.converse()?;
        let (questions, mut asked) = mpsc::unbounded_channel::<Question>();
        let waiting: Arc<Waiting> = Arc::new(Mutex::new(Some(HashMap::new())));
        let answered = Arc::clone(&waiting);
        let mut conversation = JoinSet::new();
        conversation.spawn(async move {
            let ask = async {
                let mut some = Vec::new();
                while asked.recv_many(&mut some, 64).await > 0 {
                    let mut lines = Vec::new();
                    for question in some.drain(..) {
                        // A question has only words that JSON has.
                        lines.extend(serde_json::to_vec(&question).unwrap_or_default());
                        lines.push(b'\n');
                    }
                    if input.write_all(&lines).await.is_err() {
                        return;
                    }
                }
            };
            let hear = async {
                while let Some(line) = output.next(LONGEST).await {
                    // Who speaks otherwise is not the program that was started.
                    let Ok(Answer { id, found }) = serde_json::from_slice(&line) else { return };
                    let waiting = lock(&answered).as_mut().and_then(|waiting| waiting.remove(&id));
                    // Nobody may be waiting any more.
                    let _unheard = waiting.map(|waiting| waiting.send(found));
                }
            };
            tokio::select! {
                () = ask => {}
                () = hear => {}
            }
            // Who waits is told so, and who asks from now on is not heard.
            *lock(&answered) = None;
        });
        Ok(Self { questions, waiting, asked: AtomicU64::new(0), _conversation: conversation })
    }

    /// None if the child has ended.
    async fn ask(&self, question: Question) -> Option<Found> {
        let id = self.asked.fetch_add(1, Ordering::Relaxed);
        let (give, wait) = oneshot::channel();
        lock(&self.waiting).as_mut()?.insert(id, give);
        let _forgotten = Forget { waiting: &self.waiting, id };
        self.questions.send(Question { id, ..question }).ok()?;
        wait.await.ok()
    }
}

/// Forgets who waited, also when the answer comes when nobody waits any more.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let _heard = lock(self.waiting).as_mut().and_then(|waiting| waiting.remove(&self.id));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
