//! What a tenant's tree should look like, and what is missing from one that was found.

use model::ImageName;
use std::collections::BTreeMap;
use thiserror::Error;

/// The root of the tenant's file system, below its directory.
pub const ROOT: &str = "root";
/// Where a root is made before it takes its place, and where the one that it replaces goes. What is here is never a root.
pub const SPARE_ROOT: &str = ".root.new";
/// What the tenant keeps: bound to /srv/data in it.
pub const DATA: &str = "data";
/// Every directory beside the root, parents first. Not `config`: the tenant manager makes it, a link to a checkout.
pub const DIRECTORIES: [&str; 6] =
    [DATA, "extensions", "extensions/sysext", "extensions/confext", "services", "runtime"];
/// Nobody but root may pass the tenant's directory: a tenant's own root can make set-user-ID files below it.
pub const PRIVATE: u32 = 0o700;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A directory with these permissions.
    Directory {
        /// The permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// What stands in the place of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// Nothing.
    Absent,
    /// Something that this service did not finish making.
    Foreign,
    /// A root that was made from this image.
    Made {
        /// As its mark says.
        image: ImageName,
        /// Whether it is a Btrfs subvolume.
        subvolume: bool,
    },
}

/// A tenant's tree as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The tenant's directory itself.
    pub top: Entry,
    /// Whether it bears the mark of this tenant.
    pub owned: bool,
    /// The directories of [`DIRECTORIES`].
    pub directories: BTreeMap<&'static str, Entry>,
    /// Its root.
    pub root: Root,
    /// Whether something is at [`SPARE_ROOT`].
    pub spare: bool,
}

/// A step towards the tree that should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Make the tenant's directory.
    MakeTop,
    /// Mark the tenant's directory as this tenant's.
    MarkTop,
    /// Close the tenant's directory to others.
    CloseTop,
    /// Make one of [`DIRECTORIES`].
    MakeDirectory(&'static str),
    /// Remove what a kill left, or a root that was replaced.
    RemoveSpare,
    /// Make a root aside and put it in its place; the one that is there goes aside.
    PutRoot,
}

/// Something in the way that this service will not remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// A directory's name is taken.
    #[error("{0} is not a directory")]
    NotADirectory(&'static str),
    /// It may hold what somebody restored by hand.
    #[error(
        "the root was not made by this service; move it away, or mark it with the image that it is of (setfattr -n trusted.bitbuilder.image)"
    )]
    ForeignRoot,
}

/// The steps from what was found to a whole tree with a root of `image`.
///
/// # Errors
/// Something is in the way.
pub fn difference(image: &ImageName, found: &Found) -> Result<Vec<Change>, Obstacle> {
    let mut changes = Vec::new();
    match found.top {
        Entry::Absent => changes.push(Change::MakeTop),
        Entry::Directory { mode: PRIVATE } => {}
        Entry::Directory { .. } => changes.push(Change::CloseTop),
        Entry::Link | Entry::Other => return Err(Obstacle::NotADirectory("the tenant's place")),
    }
    if !found.owned {
        changes.push(Change::MarkTop);
    }
    for name in DIRECTORIES {
        match found.directories.get(name).copied().unwrap_or(Entry::Absent) {
            Entry::Absent => changes.push(Change::MakeDirectory(name)),
            Entry::Directory { .. } => {}
            Entry::Link | Entry::Other => return Err(Obstacle::NotADirectory(name)),
        }
    }
    let stale = match &found.root {
        Root::Absent => true,
        Root::Made { image: made, .. } => made != image,
        Root::Foreign => return Err(Obstacle::ForeignRoot),
    };
    if found.spare {
        changes.push(Change::RemoveSpare);
    }
    if stale {
        changes.push(Change::PutRoot);
        if found.root != Root::Absent {
            changes.push(Change::RemoveSpare);
        }
    }
    Ok(changes)
}

/// The tenant runs, and a root would be taken from under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse;

/// The steps that may be taken while the tenant runs. What lies aside may be the root it still runs on, and can wait.
///
/// # Errors
/// One of them is needed now and cannot.
pub fn while_running(changes: Vec<Change>) -> Result<Vec<Change>, InUse> {
    if changes.contains(&Change::PutRoot) {
        return Err(InUse);
    }
    Ok(changes.into_iter().filter(|change| !change.touches_root()).collect())
}

impl Change {
    /// Whether it needs the tenant stopped.
    #[must_use]
    pub fn touches_root(&self) -> bool {
        match self {
            Self::RemoveSpare | Self::PutRoot => true,
            Self::MakeTop | Self::MarkTop | Self::CloseTop | Self::MakeDirectory(_) => false,
        }
    }
}

/// Whether nothing is missing that the tenant needs. What lies aside is not.
#[must_use]
pub fn intact(image: &ImageName, found: &Found) -> bool {
    difference(image, found).is_ok_and(|changes| changes.iter().all(|change| *change == Change::RemoveSpare))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(name: &str) -> ImageName {
        name.parse().unwrap()
    }

    fn nothing() -> Found {
        Found { top: Entry::Absent, owned: false, directories: BTreeMap::new(), root: Root::Absent, spare: false }
    }

    /// What a step does to the world.
    fn apply(change: Change, wanted: &ImageName, found: &mut Found) {
        match change {
            Change::MakeTop | Change::CloseTop => found.top = Entry::Directory { mode: PRIVATE },
            Change::MarkTop => {
                assert_ne!(found.top, Entry::Absent, "nothing to mark");
                found.owned = true;
            }
            Change::MakeDirectory(name) => {
                assert_ne!(found.top, Entry::Absent, "{name} has no parent");
                found.directories.insert(name, Entry::Directory { mode: 0o755 });
            }
            Change::RemoveSpare => found.spare = false,
            Change::PutRoot => {
                assert!(!found.spare, "there is no room to make a root");
                found.spare = found.root != Root::Absent;
                found.root = Root::Made { image: wanted.clone(), subvolume: false };
            }
        }
    }

    fn trees() -> impl Strategy<Value = Found> {
        let root = prop_oneof![
            Just(Root::Absent),
            Just(Root::Made { image: image("a"), subvolume: true }),
            Just(Root::Made { image: image("b"), subvolume: false })
        ];
        let made = proptest::collection::vec(any::<bool>(), DIRECTORIES.len());
        (prop_oneof![Just(0o755), Just(PRIVATE)], made, root, any::<bool>(), any::<bool>()).prop_map(
            |(mode, made, root, spare, owned)| Found {
                top: Entry::Directory { mode },
                owned,
                directories: DIRECTORIES
                    .into_iter()
                    .zip(made)
                    .filter_map(|(name, made)| made.then_some((name, Entry::Directory { mode: 0o755 })))
                    .collect(),
                root,
                spare,
            },
        )
    }

    proptest! {
        #[test]
        fn from_wherever_a_kill_left_it_the_tree_becomes_whole(mut found in trees(), steps in 0_usize..12, half_made: bool) {
            let (first, second) = (image("a"), image("b"));
            for change in difference(&first, &found).unwrap().into_iter().take(steps) {
                apply(change, &first, &mut found);
            }
            found.spare |= half_made;
            for change in difference(&second, &found).unwrap() {
                apply(change, &second, &mut found);
            }
            prop_assert_eq!(difference(&second, &found), Ok(vec![]));
            prop_assert!(intact(&second, &found));
            prop_assert!(!intact(&first, &found));
        }
    }

    #[test]
    fn a_new_tenant_gets_everything_and_a_whole_one_nothing() {
        let wanted = image("a");
        let mut found = nothing();
        assert!(!intact(&wanted, &found));
        let changes = difference(&wanted, &found).unwrap();
        assert_eq!((changes[0], changes.len()), (Change::MakeTop, DIRECTORIES.len() + 3));
        changes.into_iter().for_each(|change| apply(change, &wanted, &mut found));
        assert_eq!(difference(&wanted, &found), Ok(vec![]));
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let whole = Found {
            top: Entry::Directory { mode: PRIVATE },
            owned: true,
            directories: DIRECTORIES.into_iter().map(|name| (name, Entry::Directory { mode: 0o755 })).collect(),
            root: Root::Made { image: image("a"), subvolume: true },
            spare: false,
        };
        let foreign = Found { root: Root::Foreign, ..whole.clone() };
        assert_eq!(difference(&image("a"), &foreign), Err(Obstacle::ForeignRoot));
        assert!(!intact(&image("a"), &foreign));
        for (name, entry) in [(DATA, Entry::Link), ("services", Entry::Other)] {
            let mut taken = whole.clone();
            taken.directories.insert(name, entry);
            assert_eq!(difference(&image("a"), &taken), Err(Obstacle::NotADirectory(name)));
        }
        let link = Found { top: Entry::Link, ..whole };
        assert!(difference(&image("a"), &link).is_err());
    }

    #[test]
    fn a_running_tenant_keeps_its_root() {
        assert_eq!(while_running(vec![Change::CloseTop, Change::PutRoot]), Err(InUse));
        assert_eq!(
            while_running(vec![Change::MakeDirectory(DATA), Change::RemoveSpare]),
            Ok(vec![Change::MakeDirectory(DATA)])
        );
    }
}
