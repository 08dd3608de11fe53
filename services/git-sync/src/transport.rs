//! The connection to a Git server: gix's own, but for git://, where both sides write in small pieces. The kernel holds back
//! each piece until the one before is acknowledged (RFC 896), and an acknowledgement for 40 ms (RFC 1122, 4.2.3.2); without
//! that, each of ours would be a packet.

use crate::login::Login;
use gix::{
    Error, Remote,
    bstr::BStr,
    credentials::{helper::Action, protocol::Outcome},
    protocol::transport::{
        Protocol,
        client::{
            TransportWithoutIO,
            blocking_io::{
                Transport,
                http::{self, GetResponse, Http, PostBodyDataKind, PostResponse, reqwest},
            },
            git::{ConnectMode, blocking_io::Connection},
        },
    },
    remote::Direction,
    url::Scheme,
};
use rustix::{
    io::Errno,
    net::{
        self, AddressFamily, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout, set_tcp_quickack},
    },
};
use std::{
    any::Any,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

type Connected<'a, 'r> = gix::remote::Connection<'a, 'static, 'r, Box<dyn Transport + Send>>;

/// How long to wait for each address of a server.
const PATIENCE: Duration = Duration::from_secs(5);
/// git-daemon(1).
const PORT: u16 = 9418;

/// How much less than what the kernel was told may be left before it is told anew: each time is a system call.
const SLACK: Duration = Duration::from_secs(1);

/// How much is kept back of what is said, in bytes.
const MOST_UNSENT: usize = 64 << 10;

/// How long a server may take, and how much it may say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) until: Instant,
    pub(crate) bytes: u64,
}

impl Bound {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// Connects to the server of `remote`.
pub(crate) fn connect<'a, 'r>(remote: &'a Remote<'r>) -> Result<Connected<'a, 'r>, Error> {
    let (url, version) = remote.sanitized_url_and_version(Direction::Fetch)?;
    if url.scheme != Scheme::Git {
        return remote.connect(Direction::Fetch);
    }
    let transport = daemon(&url, version, None).map_err(Error::from_error)?;
    Ok(remote.to_connection_with_transport(transport))
}

/// Connects to a git:// or http(s):// server that may not say more than this, in all its answers together, and is heard until
/// then. A wait that is going on at that moment may go on: over HTTP for as long as all was to take, for a name to be looked
/// up as long as the resolver does. Who asks counts on no more than that it ends.
pub(crate) fn connect_within(url: &gix::Url, bound: Bound) -> Result<Box<dyn Transport + Send>, Error> {
    if url.scheme == Scheme::Git {
        return daemon(url, Protocol::V2, Some(bound)).map_err(Error::from_error);
    }
    let patience = bound.left().map_err(Error::from_error)?;
    let client = reqwest::Options {
        configure_client: Some(Box::new(move |client| Ok(client.timeout(patience).connect_timeout(patience)))),
        configure_request: None,
    };
    let options = http::Options { backend: Some(Arc::new(Mutex::new(client))), ..http::Options::default() };
    let remote = Counted { remote: reqwest::Remote::default(), shared: Arc::new(Shared::new(bound)) };
    let mut transport = http::connect_http(remote, url.clone(), Protocol::V2, false);
    transport.configure(&options)?;
    Ok(Box::new(transport))
}

fn daemon(url: &gix::Url, version: Protocol, bound: Option<Bound>) -> io::Result<Box<dyn Transport + Send>> {
    let host = url.host().ok_or(io::ErrorKind::InvalidInput)?;
    let stream = dial(host, url.port.unwrap_or(PORT), bound)?;
    // A look's requests are one packet each, and an answer comes between them.
    if bound.is_none() {
        stream.set_nodelay(true)?;
    }
    let (stream, unsent) = (Arc::new(stream), Arc::<Unsent>::default());
    let write = Requests { stream: Arc::clone(&stream), unsent: Arc::clone(&unsent) };
    let read = BufReader::new(Answers { stream, unsent, bound, patience: None });
    let server = Some((host, url.port));
    Ok(Box::new(Connection::new(read, write, version, url.path.clone(), server, ConnectMode::Daemon, false)))
}

/// What was said and not sent yet: a request is many small pieces, and is sent when an answer is wanted.
#[derive(Default)]
struct Unsent(Mutex<Vec<u8>>);

impl Unsent {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, mut stream: &TcpStream) -> io::Result<()> {
        let bytes = std::mem::take(&mut *self.bytes());
        if bytes.is_empty() { Ok(()) } else { stream.write_all(&bytes) }
    }
}

/// What we say.
struct Requests {
    stream: Arc<TcpStream>,
    unsent: Arc<Unsent>,
}

impl Write for Requests {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let many = {
            let mut unsent = self.unsent.bytes();
            unsent.extend_from_slice(bytes);
            unsent.len() >= MOST_UNSENT
        };
        if many {
            self.unsent.send(&self.stream)?;
        }
        Ok(bytes.len())
    }

    /// It is called after each piece; whoever wants an answer sends.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // The server need not hear a farewell.
        let _unheard = self.unsent.send(&self.stream);
    }
}

/// What the server says. It is acknowledged at once, so that a server that waits for that goes on.
struct Answers {
    stream: Arc<TcpStream>,
    unsent: Arc<Unsent>,
    bound: Option<Bound>,
    /// How long the kernel waits for it.
    patience: Option<Duration>,
}

impl Read for Answers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unsent.send(&self.stream)?;
        let most = match &self.bound {
            Some(bound) => {
                // A server that says a little now and then does not get more time by it, but for the slack.
                let left = bound.left()?;
                if self.patience.is_none_or(|patience| left + SLACK < patience) {
                    self.stream.set_read_timeout(Some(left))?;
                    self.patience = Some(left);
                }
                buffer.len().min(usize::try_from(bound.bytes).unwrap_or(usize::MAX))
            }
            None => buffer.len(),
        };
        // The kernel forgets it from time to time (tcp(7), TCP_QUICKACK).
        set_tcp_quickack(&*self.stream, true)?;
        let read = (&*self.stream).read(&mut buffer[..most])?;
        if let Some(bound) = &mut self.bound {
            bound.bytes -= read as u64;
        }
        Ok(read)
    }
}

/// The first of the host's addresses that answers.
fn dial(host: &str, port: u16, bound: Option<Bound>) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // A literal IPv6 address is in brackets in an address, and not in a name to look up.
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        let patience = bound.map_or(Ok(PATIENCE), |bound| bound.left())?;
        match open(address, patience.min(PATIENCE)) {
            Ok(stream) if bound.is_some() => return Ok(stream),
            Ok(stream) => return stream.set_write_timeout(None).map(|()| stream),
            Err(cause) => refused = cause,
        }
    }
    Err(refused)
}

/// A connection on which writing has the deadline, too. The kernel waits for it in one call, without a wait if the server is
/// near.
fn open(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    match net::connect(&socket, &address) {
        Ok(()) => Ok(socket.into()),
        // socket(7), SO_SNDTIMEO
        Err(Errno::INPROGRESS) => Err(io::ErrorKind::TimedOut.into()),
        Err(cause) => Err(cause.into()),
    }
}

/// A client for HTTP whose answers are bounded together.
struct Counted {
    remote: reqwest::Remote,
    shared: Arc<Shared>,
}

/// What is left for all answers.
struct Shared {
    bound: Bound,
    bytes: AtomicU64,
}

impl Shared {
    fn new(bound: Bound) -> Self {
        Self { bound, bytes: AtomicU64::new(bound.bytes) }
    }
}

/// An answer, as far as it may be read.
struct Limited<R> {
    inner: R,
    shared: Arc<Shared>,
}

impl<R: BufRead> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Limited<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.shared.bound.left()?;
        let most = usize::try_from(self.shared.bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if most == 0 {
            return Ok(&[]);
        }
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(most)])
    }

    fn consume(&mut self, length: usize) {
        // One answer is read after the other, by one thread.
        self.shared.bytes.fetch_sub(length as u64, Ordering::Relaxed);
        self.inner.consume(length);
    }
}

impl Counted {
    fn limited<R>(&self, inner: R) -> Limited<R> {
        Limited { inner, shared: Arc::clone(&self.shared) }
    }

    /// No request begins when there is nothing left.
    fn begin(&self) -> Result<(), Error> {
        self.shared.bound.left().map(drop).map_err(Error::from_error)
    }
}

impl Http for Counted {
    type Headers = Limited<<reqwest::Remote as Http>::Headers>;
    type ResponseBody = Limited<<reqwest::Remote as Http>::ResponseBody>;
    type PostBody = <reqwest::Remote as Http>::PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<GetResponse<Self::Headers, Self::ResponseBody>, Error> {
        self.begin()?;
        let GetResponse { headers, body } = self.remote.get(url, base_url, headers)?;
        Ok(GetResponse { headers: self.limited(headers), body: self.limited(body) })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        body: PostBodyDataKind,
    ) -> Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>, Error> {
        self.begin()?;
        let PostResponse { post_body, headers, body } = self.remote.post(url, base_url, headers, body)?;
        Ok(PostResponse { post_body, headers: self.limited(headers), body: self.limited(body) })
    }

    fn configure(&mut self, config: &dyn Any) -> Result<(), Error> {
        self.remote.configure(config)
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.remote.redirected_base_url()
    }
}

/// Gives `login` to the server of `url`. It may send us to another, which is not to have what this one has. Nobody is there
/// to be asked, and no helper program is to be run.
pub(crate) fn identify(action: Action, url: &str, login: Option<&Login>) -> Option<Outcome> {
    let Action::Get(context) = action else { return None };
    if !context.url.as_ref().is_some_and(|asking| same_server(asking.as_ref(), url)) {
        return None;
    }
    login.cloned().map(|Login { user: username, password }| Outcome {
        identity: gix::sec::identity::Account { username, password, oauth_refresh_token: None },
        next: context.into(),
    })
}

fn same_server(asking: &BStr, url: &str) -> bool {
    match (gix::url::parse(asking), gix::url::parse(url)) {
        (Ok(asking), Ok(url)) => {
            asking.scheme == url.scheme
                && asking.host() == url.host()
                && asking.port_or_default() == url.port_or_default()
        }
        _ => false,
    }
}
