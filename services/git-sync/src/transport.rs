//! The connection to a Git server: gix's own, but for git://, where both sides write in small pieces. The kernel holds back
//! each piece until the one before is acknowledged (RFC 896), and an acknowledgement for 40 ms (RFC 1122, 4.2.3.2).

use gix::{
    Error, Remote,
    protocol::transport::client::{
        blocking_io::Transport,
        git::{ConnectMode, blocking_io::Connection},
    },
    remote::Direction,
    url::Scheme,
};
use rustix::net::sockopt::set_tcp_quickack;
use std::{
    io::{self, BufReader, Read},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

type Connected<'a, 'r> = gix::remote::Connection<'a, 'static, 'r, Box<dyn Transport + Send>>;

/// How long to wait for each address of a server.
const PATIENCE: Duration = Duration::from_secs(5);
/// git-daemon(1).
const PORT: u16 = 9418;

/// Connects to the server of `remote`.
pub(crate) fn connect<'a, 'r>(remote: &'a Remote<'r>) -> Result<Connected<'a, 'r>, Error> {
    let (url, version) = remote.sanitized_url_and_version(Direction::Fetch)?;
    let (Scheme::Git, Some(host)) = (&url.scheme, url.host()) else { return remote.connect(Direction::Fetch) };
    let open = || -> io::Result<(BufReader<Prompt>, TcpStream)> {
        let stream = dial(host, url.port.unwrap_or(PORT))?;
        stream.set_nodelay(true)?;
        Ok((BufReader::new(Prompt(stream.try_clone()?)), stream))
    };
    let (read, write) = open().map_err(Error::from_error)?;
    let server = Some((host, url.port));
    let transport = Connection::new(read, write, version, url.path.clone(), server, ConnectMode::Daemon, false);
    Ok(remote.to_connection_with_transport(Box::new(transport)))
}

/// A stream that acknowledges at once what it reads, so that a server that waits for that goes on.
struct Prompt(TcpStream);

impl Read for Prompt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The kernel forgets it from time to time (tcp(7), TCP_QUICKACK).
        set_tcp_quickack(&self.0, true)?;
        self.0.read(buffer)
    }
}

/// The first of the host's addresses that answers.
fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // A literal IPv6 address is in brackets in an address, and not in a name to look up.
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(cause) => refused = cause,
        }
    }
    Err(refused)
}
