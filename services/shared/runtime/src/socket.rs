//! A Unix stream that takes no more from its peer than we want of it: no message beyond a limit, no file descriptors but
//! where a method takes one, and not all of a thread's time.

use std::os::fd::{AsFd, BorrowedFd};
use tokio::task::coop::consume_budget;
use zlink::{
    connection::socket::{ReadHalf, ReadResult, Socket, UnixSocket},
    tokio::unix::Stream,
};

/// A stream, and how many bytes a message may have.
#[derive(Debug)]
pub(crate) struct Bounded {
    pub(crate) stream: Stream,
    pub(crate) largest_message: usize,
    /// How many file descriptors a message may bring.
    pub(crate) descriptors: usize,
}

/// Its reading half.
#[derive(Debug)]
pub(crate) struct BoundedRead {
    inner: <Stream as Socket>::ReadHalf,
    largest_message: usize,
    unfinished: usize,
    descriptors: usize,
    /// Those that came since the last message ended.
    kept: usize,
}

impl Socket for Bounded {
    type ReadHalf = BoundedRead;
    type WriteHalf = <Stream as Socket>::WriteHalf;

    fn split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        let (inner, write) = self.stream.split();
        let Self { largest_message, descriptors, .. } = self;
        (BoundedRead { inner, largest_message, unfinished: 0, descriptors, kept: 0 }, write)
    }
}

impl ReadHalf for BoundedRead {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink::Result<ReadResult> {
        // A peer that never stops sending makes every read succeed at once; others want to be served as well.
        consume_budget().await;
        let mut result = self.inner.read(buffer).await?;
        // Those of an unfinished message would be kept until we have none left.
        let descriptors = result.take_fds();
        self.kept += descriptors.len();
        if self.kept <= self.descriptors {
            result = result.set_fds(descriptors);
        }
        let read = &buffer[..result.bytes_read()];
        // Varlink ends each message with a NUL byte.
        self.unfinished = match read.iter().rposition(|byte| *byte == 0) {
            Some(last) => {
                self.kept = 0;
                read.len() - last - 1
            }
            None => self.unfinished + read.len(),
        };
        if self.unfinished > self.largest_message { Err(zlink::Error::BufferOverflow) } else { Ok(result) }
    }
}

impl AsFd for BoundedRead {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl UnixSocket for BoundedRead {}
