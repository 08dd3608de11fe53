//! This side's terminal, joined with one in a tenant: what is typed goes there, what is written there is shown here.

use rustix::termios::{self, OptionalActions, Termios};
use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

/// What a terminal takes for the end of its input (termios(3), VEOF).
const END_OF_TRANSMISSION: u8 = 4;
/// Ctrl-], so often, within so long, leaves the terminal to itself.
const ESCAPE: u8 = 0x1d;
const ESCAPES: usize = 3;
const WITHIN: Duration = Duration::from_secs(1);
/// How long nobody may answer.
const ANSWER: Duration = Duration::from_secs(30);
/// A terminal says that nobody has it open, and not when somebody does again.
const BACK_OFF: Duration = Duration::from_millis(10);

/// When what is typed is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed {
    /// At once.
    AtOnce,
    /// If it does not come from a terminal, when something was shown: what is there before a shell is, the reset of its
    /// terminal would throw away.
    WhenAsked,
}

/// Passes on until the other side is closed and `over` says that it stays so, as it does once somebody has answered.
pub(crate) async fn forward(terminal: File, when: Typed, over: Arc<AtomicBool>) -> io::Result<()> {
    let (mut typed, sized) = (terminal.try_clone()?, terminal.try_clone()?);
    let (prompted, prompt) = mpsc::channel();
    let left = Arc::new(Notify::new());
    let leave = left.clone();
    // Reading keys blocks; the thread ends with the process.
    std::thread::spawn(move || -> io::Result<()> {
        if when == Typed::WhenAsked && !io::stdin().is_terminal() {
            let _ended_without = prompt.recv();
        }
        let leaves = pass(io::stdin().lock(), &mut typed, io::stdin().is_terminal())?;
        if leaves {
            leave.notify_one();
            return Ok(());
        }
        typed.write_all(&[END_OF_TRANSMISSION])
    });
    let shown = tokio::task::spawn_blocking(move || show(terminal, &prompted, when, &over));
    let mut resized = signal(SignalKind::window_change())?;
    tokio::pin!(shown);
    loop {
        resize(&sized)?;
        tokio::select! {
            ended = &mut shown => return ended.map_err(io::Error::other)?,
            () = left.notified() => return Ok(()),
            _ = resized.recv() => {}
        }
    }
}

/// Passes keys on until there are none any more, or whoever sits at a terminal leaves it, as machinectl(1) has it left.
/// Returns whether that was it.
fn pass(mut from: impl Read, to: &mut impl Write, can_leave: bool) -> io::Result<bool> {
    let (mut buffer, mut escapes) = ([0; 4096], Vec::new());
    loop {
        let length = match from.read(&mut buffer) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 {
            return Ok(false);
        }
        for key in &buffer[..length] {
            if *key == ESCAPE {
                escapes.push(Instant::now());
            } else {
                escapes.clear();
            }
            if can_leave && escapes.iter().rev().take(ESCAPES).filter(|key| key.elapsed() < WITHIN).count() == ESCAPES {
                return Ok(true);
            }
        }
        to.write_all(&buffer[..length])?;
    }
}

/// Makes a terminal as large as this side's.
pub(crate) fn resize(terminal: &File) -> io::Result<()> {
    // A pipe has no size.
    if let Ok(size) = termios::tcgetwinsize(io::stdin()) {
        termios::tcsetwinsize(terminal, size)?;
    }
    Ok(())
}

/// Shows what comes until the other side is closed, which a pseudo terminal says by EIO (pty(7)).
fn show(mut terminal: File, prompted: &mpsc::Sender<()>, when: Typed, over: &AtomicBool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let begun = Instant::now();
    let mut buffer = [0; 8192];
    loop {
        match terminal.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                // Nobody waits for it at a terminal.
                let _unheard = prompted.send(());
                if when == Typed::WhenAsked {
                    // Whoever answers has it open, and closes it when all is said.
                    over.store(true, Ordering::Release);
                }
                out.write_all(&buffer[..length])?;
                out.flush()?;
            }
            Err(cause) if cause.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                if over.load(Ordering::Acquire) {
                    return Ok(());
                }
                if when == Typed::WhenAsked && begun.elapsed() > ANSWER {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers at the terminal"));
                }
                // Before the command has opened it, say.
                std::thread::sleep(BACK_OFF);
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// The terminal hands over each key at once, until this is dropped.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// From now on, if there is a terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self(None));
        }
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone, and with it what there was to restore.
            let _gone = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_escapes_in_a_row_leave_and_fewer_are_passed_on() {
        let passed = |keys: &[u8], can_leave| {
            let mut to = Vec::new();
            (pass(keys, &mut to, can_leave).unwrap(), to)
        };
        assert!(passed(b"a\x1d\x1d\x1db", true).0);
        assert_eq!(passed(b"a\x1d\x1db\x1d", true), (false, b"a\x1d\x1db\x1d".to_vec()));
        assert_eq!(passed(b"\x1d\x1d\x1d", false), (false, vec![ESCAPE; 3]));
    }
}
