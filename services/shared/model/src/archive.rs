//! What is written down of a tenant whose data is packed away: enough to know later whose it was and how it ran.

use crate::{
    identity::UidRange,
    names::{ImageName, TenantName},
    repository::{Reference, RepositoryUrl, Revision},
};
use serde::{Deserialize, Serialize};

/// Where archives are.
pub const DIRECTORY: &str = "/var/lib/bitbuilder/archive";
/// What an archive's name ends with.
pub const SUFFIX: &str = ".tar.zst";

/// A tenant as it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Whose data it is.
    pub tenant: TenantName,
    /// When it left, in microseconds since 1970.
    #[serde(rename = "leftUSec")]
    pub left_u_sec: u64,
    /// Where its repository was.
    pub repository: Option<RepositoryUrl>,
    /// Which of its references counted.
    pub reference: Option<Reference>,
    /// The commit that held last.
    pub revision: Option<Revision>,
    /// The base image of its root.
    pub image: Option<ImageName>,
    /// The uids that it had on the host. The archive has them as the tenant saw them.
    pub uids: Option<UidRange>,
}

impl Manifest {
    /// The name of the archive's file. No tenant's name has a dot, so none is the beginning of another's.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.{}{SUFFIX}", self.tenant, stamp(self.left_u_sec))
    }
}

/// Whose archive a file is, and when its tenant left, if its name is an archive's.
#[must_use]
pub fn of_file_name(name: &str) -> Option<(TenantName, String)> {
    let (tenant, time) = name.strip_suffix(SUFFIX)?.split_once('.')?;
    let is_stamp = time.len() == 16
        && time.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    is_stamp.then(|| tenant.parse().ok()).flatten().map(|tenant| (tenant, time.to_owned()))
}

/// A time in UTC, as `20261124T025510Z`: ISO 8601 without what a file's name had better not have.
fn stamp(usec: u64) -> String {
    let seconds = usec / 1_000_000;
    let (days, rest) = (seconds / 86400, seconds % 86400);
    // Days since 1 March of the year 0, in eras of 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let since_march = days + 719_468;
    let (era, of_era) = (since_march / 146_097, since_march % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_by_its_tenant_and_the_time_at_which_it_left() {
        for (seconds, said) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_795_488_910, "20261124T025510Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(stamp(seconds * 1_000_000), said);
        }
        let manifest = Manifest {
            tenant: "web-2".parse().unwrap(),
            left_u_sec: 1_795_488_910_000_000,
            repository: None,
            reference: None,
            revision: None,
            image: None,
            uids: None,
        };
        let name = manifest.file_name();
        assert_eq!(name, "web-2.20261124T025510Z.tar.zst");
        assert_eq!(of_file_name(&name), Some((manifest.tenant, "20261124T025510Z".to_owned())));
        for other in ["web.tar.zst", "web.20261124.tar.zst", "web.20261124T025510Z", "../x.20261124T025510Z.tar.zst"] {
            assert_eq!(of_file_name(other), None, "{other}");
        }
    }
}
