//! The output of a program that goes on, line by line: each line bounded, the program killed when nobody reads any more.

use std::{io, os::fd::OwnedFd};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::unix::pipe,
    process::{Child, ChildStdout},
};

/// What a running program writes to standard output. Dropping it ends the program.
#[derive(Debug)]
pub struct Lines<R = ChildStdout> {
    _child: Option<Child>,
    output: BufReader<R>,
    /// The line that has begun. Kept here, so that a call of `next` that is abandoned loses nothing.
    begun: Option<Vec<u8>>,
}

impl Lines {
    pub(crate) fn of(mut child: Child) -> io::Result<Self> {
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { _child: Some(child), output: BufReader::new(output), begun: None })
    }
}

impl Lines<pipe::Receiver> {
    /// What is written into a pipe by whoever has its other end.
    ///
    /// # Errors
    /// It is no pipe.
    pub fn of_pipe(end: OwnedFd) -> io::Result<Self> {
        Ok(Self { _child: None, output: BufReader::new(pipe::Receiver::from_owned_fd(end)?), begun: None })
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line without its end, cut after `longest` bytes; what follows them on the line is skipped. None when the
    /// program has closed its output.
    pub async fn next(&mut self, longest: usize) -> Option<Vec<u8>> {
        loop {
            // An output that cannot be read any more is at its end.
            let held = self.output.fill_buf().await.unwrap_or_default();
            if held.is_empty() {
                return self.begun.take();
            }
            let line = self.begun.get_or_insert_default();
            let end = held.iter().position(|byte| *byte == b'\n');
            let part = &held[..end.unwrap_or(held.len())];
            line.extend_from_slice(&part[..part.len().min(longest.saturating_sub(line.len()))]);
            let taken = end.map_or(held.len(), |end| end + 1);
            self.output.consume(taken);
            if end.is_some() {
                return self.begun.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::Command;

    #[tokio::test]
    async fn lines_come_one_by_one_and_are_cut() {
        let script = "printf 'one\\n\\n'; head -c 100000 /dev/zero; printf '\\nlast'";
        let mut lines = Command::new("sh").args(["-c", script]).lines().unwrap();
        assert_eq!(lines.next(10).await.unwrap(), b"one");
        assert_eq!(lines.next(10).await.unwrap(), b"");
        assert_eq!(lines.next(10).await.unwrap(), [0; 10]);
        assert_eq!(lines.next(10).await.unwrap(), b"last");
        assert_eq!(lines.next(10).await, None);
    }
}
