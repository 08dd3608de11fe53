//! Who is at the other end of a connection: the kernel's credentials, turned into a role once per connection.

use interfaces::access::Role;
use model::identity::UidRange;
use nix::{
    libc,
    unistd::{Group, Uid, User},
};
use std::{fmt, io, os::fd::AsRawFd, sync::Arc};
use tokio::net::UnixStream;

/// The caller of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its uid when it connected.
    pub uid: u32,
    /// Its pid when it connected; for log lines only, because pids are reused.
    pub pid: i32,
    /// What its uid and groups make it.
    pub role: Role,
}

/// How a service tells roles apart.
#[derive(Debug, Clone)]
pub enum Identify {
    /// A socket of the host: roles by user and group.
    Host(HostUsers),
    /// A tenant's own socket: the tenant is whoever has a uid of its range.
    Guest(TenantUids),
}

/// Which uids a tenant has, asked anew for each connection: the tenant may be made again with others while its guest
/// service stays.
#[derive(Clone)]
pub struct TenantUids(Arc<dyn Fn() -> Option<UidRange> + Send + Sync>);

impl TenantUids {
    /// The uids that `find` says. With nothing found, nobody is the tenant.
    pub fn found_by(find: impl Fn() -> Option<UidRange> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    fn contain(&self, uid: u32) -> bool {
        (self.0)().is_some_and(|range| range.contains(uid))
    }
}

impl fmt::Debug for TenantUids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TenantUids").field(&(self.0)()).finish()
    }
}

/// The users and groups that have a role on the host. Absent ones simply have no members.
#[derive(Debug, Clone, Default)]
pub struct HostUsers {
    orchestrator: Option<u32>,
    git_sync: Option<u32>,
    webhook: Option<u32>,
    readers: Option<u32>,
}

/// The uids that systemd gives to DynamicUser= (systemd's UIDS-GIDS).
const DYNAMIC_USERS: std::ops::RangeInclusive<u32> = 61184..=65519;
/// What our guest units' DynamicUser= names begin with.
const GUEST_PREFIX: &str = "bbg-";

impl HostUsers {
    /// Looks the users and groups up.
    ///
    /// # Errors
    /// The user database does not answer.
    pub fn look_up() -> io::Result<Self> {
        Ok(Self {
            orchestrator: User::from_name("bitbuilder")?.map(|user| user.uid.as_raw()),
            git_sync: User::from_name("bitbuilder-git")?.map(|user| user.uid.as_raw()),
            webhook: User::from_name("bitbuilder-webhook")?.map(|user| user.uid.as_raw()),
            readers: Group::from_name("bitbuilder")?.map(|group| group.gid.as_raw()),
        })
    }

    fn role(&self, uid: u32, groups: &[u32]) -> Role {
        match uid {
            0 => Role::Root,
            uid if Some(uid) == self.orchestrator => Role::Orchestrator,
            uid if Some(uid) == self.git_sync => Role::GitSync,
            uid if Some(uid) == self.webhook => Role::Webhook,
            uid if DYNAMIC_USERS.contains(&uid)
                && let Some(tenant) = guest_of(uid) =>
            {
                Role::Guest(tenant)
            }
            _ if self.readers.is_some_and(|readers| groups.contains(&readers)) => Role::Reader,
            _ => Role::Stranger,
        }
    }
}

/// The tenant whose guest service has this uid. The name is the service manager's word, because it alone gives these out.
fn guest_of(uid: u32) -> Option<model::TenantName> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    user.name.strip_prefix(GUEST_PREFIX)?.parse().ok()
}

impl Identify {
    /// Who is at the other end of `stream`.
    ///
    /// Read here and not by zlink 0.8, which never returns for a peer of more than 128 groups and fails for one that has
    /// ended already.
    pub(crate) async fn caller(&self, stream: &UnixStream) -> io::Result<Caller> {
        let credentials = stream.peer_cred()?;
        let (uid, pid) = (credentials.uid(), credentials.pid().unwrap_or(0));
        let role = match self {
            // Whatever a record says, uid 0 is the host's.
            Self::Guest(_) if uid == 0 => Role::Root,
            Self::Guest(uids) if uids.contain(uid) => Role::Tenant,
            Self::Guest(_) => Role::Stranger,
            Self::Host(users) => {
                let users = users.clone();
                let mut groups = peer_groups(stream)?;
                groups.push(credentials.gid());
                // The user database may have to ask a service.
                tokio::task::spawn_blocking(move || users.role(uid, &groups)).await.unwrap_or(Role::Stranger)
            }
        };
        Ok(Caller { uid, pid, role })
    }
}

/// The supplementary groups that the peer had when it connected (unix(7) has SO_PEERCRED; this is its sibling).
#[allow(unsafe_code)]
fn peer_groups(stream: &UnixStream) -> io::Result<Vec<libc::gid_t>> {
    let size = size_of::<libc::gid_t>();
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    // They never change, so the second attempt has room for them.
    for _ in 0..2 {
        let mut length = libc::socklen_t::try_from(groups.len() * size).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `length` bytes, which `groups` has, and then says in `length` how many it wrote
        // or, failing with ERANGE, how many it needs.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let cause = io::Error::last_os_error();
        groups.resize(usize::try_from(length).map_err(io::Error::other)? / size, 0);
        match cause.raw_os_error() {
            _ if result == 0 => return Ok(groups),
            Some(libc::ERANGE) => {}
            _ => return Err(cause),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_uid_then_group() {
        let users = HostUsers { orchestrator: Some(990), git_sync: Some(991), webhook: Some(993), readers: Some(992) };
        assert_eq!(users.role(0, &[]), Role::Root);
        assert_eq!(users.role(990, &[]), Role::Orchestrator);
        assert_eq!(users.role(991, &[992]), Role::GitSync);
        assert_eq!(users.role(993, &[992]), Role::Webhook);
        assert_eq!(users.role(1000, &[1000, 992]), Role::Reader);
        assert_eq!(users.role(1000, &[1000]), Role::Stranger);
        assert_eq!(HostUsers::default().role(1000, &[992]), Role::Stranger);
        // A tenant's root is an ordinary stranger on the host's sockets.
        assert_eq!(users.role(0x4000_0000, &[0x4000_0000]), Role::Stranger);
    }

    /// A stream to this process, from a thread of it that has this uid and these groups.
    fn connected_as(uid: u32, groups: Vec<u32>) -> UnixStream {
        use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let connect = move || {
            let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
            let (gid, uid) = (Gid::from_raw(uid), Uid::from_raw(uid));
            set_thread_groups(&groups).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            std::os::unix::net::UnixStream::pair().unwrap().0
        };
        let stream = std::thread::spawn(connect).join().unwrap();
        stream.set_nonblocking(true).unwrap();
        UnixStream::from_std(stream).unwrap()
    }

    #[tokio::test]
    async fn the_kernel_says_who_calls() {
        if !Uid::effective().is_root() {
            test_host::skip("only root can connect as somebody else");
            return;
        }
        let host = Identify::Host(HostUsers { readers: Some(100_999), ..HostUsers::default() });
        // More groups than fit at once, and more than most have.
        for count in [0, 1, 63, 64, 65, 128, 129, 1000, 65_536] {
            let groups: Vec<u32> =
                (101_000 - count.min(1000)..101_000).chain(200_000..199_000 + count.max(1000)).collect();
            let role = if count == 0 { Role::Stranger } else { Role::Reader };
            let caller = host.caller(&connected_as(4711, groups)).await.unwrap();
            assert_eq!((caller.uid, caller.role), (4711, role), "{count} groups");
        }
        let range = UidRange { first: 4000, count: 1000 };
        let guest = Identify::Guest(TenantUids::found_by(move || Some(range)));
        let nobodys = Identify::Guest(TenantUids::found_by(|| None));
        let odd = Identify::Guest(TenantUids::found_by(|| Some(UidRange { first: 0, count: 10 })));
        for (identify, uid, role) in [
            (&guest, 4000, Role::Tenant),
            (&guest, 4999, Role::Tenant),
            (&guest, 5000, Role::Stranger),
            (&guest, 3999, Role::Stranger),
            (&guest, 0, Role::Root),
            (&nobodys, 4000, Role::Stranger),
            (&odd, 0, Role::Root),
        ] {
            assert_eq!(identify.caller(&connected_as(uid, vec![100_999])).await.unwrap().role, role, "{uid}");
        }
    }
}
