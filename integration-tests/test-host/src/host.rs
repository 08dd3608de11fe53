//! Booting a host and owning it: when the owner is gone, by whatever end, so is the host.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};

use crate::apt;
use crate::cache::Cache;
use crate::command::PATH;
use crate::disk::Disk;
use crate::images::Images;
use crate::inside::Running;
use crate::notify::Listener;
use crate::rundir::{self, RunDir};
use crate::virtual_machine::{self, Plan, VirtualMachine};

/// Names the package that hosts have installed unless they are told otherwise.
pub const PACKAGE_VARIABLE: &str = "BITBUILDER_DEB";

const INIT: &str = include_str!("../scripts/init.sh");
const SUPERVISE: &str = include_str!("../scripts/supervise.sh");

/// What a host has installed beside Debian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Package {
    /// The package that the environment names in `BITBUILDER_DEB`.
    #[default]
    Environment,
    /// This one.
    File(PathBuf),
    /// None.
    Bare,
}

/// A host to be booted.
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    disk: Disk,
    package: Package,
    more: Vec<String>,
    binds: Vec<(PathBuf, PathBuf)>,
    keep: bool,
    machine: Option<VirtualMachine>,
}

/// A host that this process owns. Dropping it takes the host away.
#[derive(Debug)]
pub struct Host {
    running: Running,
    supervisor: Child,
    keep: bool,
}

impl Host {
    /// Describes a host. An empty name stands for one that nobody else has.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = match name {
            "" => format!("h{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
            given => given.to_owned(),
        };
        let (disk, package) = (Disk::default(), Package::default());
        Builder { name, disk, package, more: Vec::new(), binds: Vec::new(), keep: false, machine: None }
    }

    pub(crate) fn owning(running: Running, supervisor: Child) -> Self {
        Self { running, supervisor, keep: false }
    }

    /// Powers the host off in order and takes it away.
    pub fn stop(mut self) -> Result<()> {
        self.running.power_off()?;
        self.supervisor.wait().context("waiting for the supervisor")?;
        Ok(())
    }
}

impl Deref for Host {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // The end of the lifeline is the end of the host. What cannot be removed now is found by the next sweep.
        drop(self.supervisor.stdin.take());
        let ended = self.supervisor.wait().map_err(anyhow::Error::from).and_then(|_| self.running.run.remove());
        if let Err(error) = ended {
            eprintln!("the host {} is not quite gone: {error:#}", self.running.name());
        }
    }
}

impl Builder {
    /// The file system of its disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// What it has installed.
    #[must_use]
    pub fn package(mut self, package: Package) -> Self {
        self.package = package;
        self
    }

    /// Debian's packages that it has installed beyond what every host has, in a layer that only such hosts use.
    #[must_use]
    pub fn with_packages<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.more.extend(names.into_iter().map(Into::into));
        self
    }

    /// Shows a folder or file of the machine in the host.
    #[must_use]
    pub fn bind(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.binds.push((source.into(), target.into()));
        self
    }

    /// Whether it outlives its owner, until it powers off or somebody stops it by its name.
    #[must_use]
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Puts it into a virtual machine.
    #[must_use]
    pub fn virtual_machine(mut self, machine: VirtualMachine) -> Self {
        self.machine = Some(machine);
        self
    }

    /// Boots the host and waits until its boot is complete, building first what has never been built.
    pub fn boot(self) -> Result<Host> {
        ensure!(rustix::process::geteuid().is_root(), "a test host needs root: mounts, namespaces and cgroups");
        rundir::sweep()?;
        apt::require(apt::FOR_IMAGES)?;
        let cache = Cache::open()?;
        let package = match &self.package {
            Package::Bare => None,
            Package::File(path) => Some(path.clone()),
            Package::Environment => Some(PathBuf::from(std::env::var_os(PACKAGE_VARIABLE).with_context(|| {
                format!("{PACKAGE_VARIABLE} names no package to install; `cargo xtask test` builds one and sets it")
            })?)),
        };
        let mut host = match &self.machine {
            Some(machine) => {
                ensure!(self.more.is_empty(), "a virtual machine has no more of Debian's packages");
                ensure!(self.binds.is_empty(), "a virtual machine cannot be shown folders of this machine");
                let plan = Plan { cache: &cache, machine, format: self.disk };
                virtual_machine::boot(&plan, &self.name, package.as_deref())?
            }
            None => self.boot_in_namespaces(&cache, package.as_deref())?,
        };
        if self.keep {
            let lifeline = host.supervisor.stdin.as_mut().context("the lifeline is cut")?;
            lifeline.write_all(b"keep\n").context("telling the supervisor to keep the host")?;
            host.keep = true;
        }
        Ok(host)
    }

    fn boot_in_namespaces(&self, cache: &Cache, package: Option<&Path>) -> Result<Host> {
        let images = Images::ensure(cache, package, &self.more)?;
        let (run, lock) = RunDir::create(&self.name)?;
        let prepared = self.prepare(cache, &images, &run);
        if let Err(error) = prepared {
            drop(lock);
            run.remove()?;
            return Err(error);
        }
        let listener = Listener::bind(&run.path("notify"))?;
        let first = [run.path("init.sh"), run.folder(), run.name.clone().into(), images.lower.into(), disk_path(&run)];
        let supervisor = supervise(&run, &first, lock)?;
        // From here on dropping the host takes everything away.
        let host = Host::owning(Running { run }, supervisor);
        let console = host.console()?;
        host.await_boot(&listener, &host.running.supervisor()?, console)?;
        Ok(host)
    }

    fn prepare(&self, cache: &Cache, images: &Images, run: &RunDir) -> Result<()> {
        let mut binds = String::new();
        for (source, target) in &self.binds {
            let source = source.canonicalize().with_context(|| format!("binding {}", source.display()))?;
            ensure!(target.is_absolute(), "{} is not an absolute path in the host", target.display());
            binds.push_str(&format!("{}\n{}\n", source.display(), target.display()));
        }
        for (file, content) in [("binds", binds.as_str()), ("lower", &images.lower), ("init.sh", INIT)] {
            fs::write(run.path(file), content).with_context(|| format!("writing {file} for the host"))?;
        }
        File::create(run.path("console.log")).context("creating the host's console")?;
        self.disk.create(cache, images, &disk_path(run))
    }
}

fn disk_path(run: &RunDir) -> PathBuf {
    run.work().join("disk")
}

/// Starts the supervisor and hands the host's lock over to it. It runs a script as the first process of the host.
pub(crate) fn supervise<S: AsRef<OsStr>>(run: &RunDir, first: &[S], lock: File) -> Result<Child> {
    fs::write(run.path("supervise.sh"), SUPERVISE).context("writing the supervisor")?;
    let _all = rundir::lock_all()?;
    let mut command = Command::new("setsid");
    // A caller under nohup ignores hang-ups; the supervisor knows a reboot by one.
    command.args(["env", "--default-signal=HUP", "bash"]).arg(run.path("supervise.sh"));
    command.arg(run.folder()).arg(run.cgroup()).arg(run.work());
    command.args(first);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").current_dir("/");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::options().append(true).open(run.path("console.log"))?);
    let mut supervisor = command.spawn().context("starting the supervisor")?;
    drop(lock);
    let mut said = String::new();
    BufReader::new(supervisor.stdout.take().context("the supervisor has no output")?).read_line(&mut said)?;
    ensure!(said == "held\n", "the supervisor did not start: {}", fs::read_to_string(run.path("console.log"))?);
    Ok(supervisor)
}
