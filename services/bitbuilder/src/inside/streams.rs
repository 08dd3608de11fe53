//! Input and output of a command in a tenant, through pipes: the tenant gets no descriptor of a file or a terminal of the host.

use std::{
    io::{self, PipeReader, PipeWriter, Write},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::unix::pipe::Receiver,
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// How long what a command wrote is waited for when it has ended, and somebody else keeps its output open.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
const CHUNK: usize = 64 << 10;

/// This side's ends.
pub(super) struct Ends {
    input: PipeWriter,
    output: PipeReader,
    error: PipeReader,
}

/// Passing on what is written, until nobody writes any more.
pub(super) struct Passing {
    over: Arc<AtomicBool>,
    shown: [JoinHandle<io::Result<()>>; 2],
}

/// A pipe each: this side's ends, and those of standard input, output and error.
pub(super) fn pipes() -> io::Result<(Ends, [OwnedFd; 3])> {
    let (their_input, input) = io::pipe()?;
    let (output, their_output) = io::pipe()?;
    let (error, their_error) = io::pipe()?;
    Ok((Ends { input, output, error }, [their_input.into(), their_output.into(), their_error.into()]))
}

impl Ends {
    /// Begins to pass on.
    pub(super) fn pass(self) -> Passing {
        let Self { mut input, output, error } = self;
        // Reading blocks; the thread ends with the process. The pipe is closed with it, which says that there is no more.
        std::thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut input));
        let over = Arc::new(AtomicBool::new(false));
        let shown = [spawn(output, io::stdout(), over.clone()), spawn(error, io::stderr(), over.clone())];
        Passing { over, shown }
    }
}

impl Passing {
    /// Passes on the rest of what a command wrote that has ended.
    pub(super) async fn finish(self) -> io::Result<()> {
        self.over.store(true, Ordering::Release);
        let [output, error] = self.shown;
        let (output, error) = tokio::join!(output, error);
        for passed in [output, error] {
            match passed.map_err(io::Error::other)? {
                // The command has been told by its own broken pipe, and its end says so.
                Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {}
                passed => passed?,
            }
        }
        Ok(())
    }
}

/// In a thread, because writing waits for whoever reads on this side.
fn spawn(from: PipeReader, mut to: impl Write + Send + 'static, over: Arc<AtomicBool>) -> JoinHandle<io::Result<()>> {
    let handle = Handle::current();
    spawn_blocking(move || {
        let from = {
            let _entered = handle.enter();
            Receiver::from_owned_fd(from.into())?
        };
        let mut buffer = vec![0; CHUNK];
        loop {
            match handle.block_on(next(&from, &mut buffer, &over))? {
                0 => return Ok(()),
                length => {
                    to.write_all(&buffer[..length])?;
                    to.flush()?;
                }
            }
        }
    })
}

/// What comes next; nothing when all writers have closed, or the command has and nothing came for a while.
async fn next(from: &Receiver, buffer: &mut [u8], over: &AtomicBool) -> io::Result<usize> {
    loop {
        match timeout(LAST_WORDS, from.readable()).await {
            Ok(ready) => ready?,
            Err(_) if over.load(Ordering::Acquire) => return Ok(0),
            Err(_) => continue,
        }
        match from.try_read(buffer) {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}
