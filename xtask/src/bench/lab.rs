//! The measuring stage: every engine ready, the figures one after the other, and nothing left at the end.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use super::engine::{Act, Engine, Network, perform};
use super::engines::cofferdam::{Cofferdam, Host};
use super::engines::native::Native;
use super::figure::{Figure, Spec};
use super::host::Facts;
use super::image::Small;
use super::peers::{Absent, Peers};
use super::programs::TRIMMED;
use super::report::{Contestant, Report};
use super::{Options, density, inside, lifecycle, tcp, throughput, transfer, volume};
use crate::project::{release, which};

/// Everything that a figure works with.
pub struct Lab<'a> {
    options: &'a Options,
    dir: &'a Path,
    engines: Vec<Box<dyn Engine>>,
    native: Native,
    interrupted: Arc<AtomicBool>,
}

impl Lab<'_> {
    /// How many counted samples an engine gives.
    pub fn runs(&self, engine: &dyn Engine) -> usize {
        self.options.runs(engine.is_slow())
    }

    /// How many idle containers stand beside each other.
    pub fn crowd(&self, engine: &dyn Engine) -> usize {
        self.options.crowd(engine.is_slow())
    }

    /// Whether a figure was asked for.
    pub fn wants(&self, spec: &Spec) -> bool {
        self.options.wants(spec)
    }

    /// The engines that can do something.
    pub fn engines(&self, able: impl Fn(&dyn Engine) -> bool) -> Vec<&dyn Engine> {
        self.engines.iter().map(|engine| &**engine).filter(|&engine| able(engine)).collect()
    }

    /// No engine.
    pub fn native(&self) -> &dyn Engine {
        &self.native
    }

    /// A directory for files.
    pub fn dir(&self) -> &Path {
        self.dir
    }

    /// Whether to end: Ctrl-C reaches every process at a terminal, another signal only the one outside.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.dir.join(super::STOP).exists()
    }
}

/// In the room: measures what was asked for.
pub fn measure(options: &Options, dir: &Path) -> Result<Report> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        eprintln!("\ninterrupted: cleaning up");
        flag.store(true, Ordering::Relaxed);
    })
    .context("handle Ctrl-C")?;
    let doctor =
        Command::new(release().join("cofferdam")).arg("doctor").output().context("cofferdam doctor")?;
    let host = Facts::find(&String::from_utf8_lossy(&doctor.stdout));
    let group = super::group(dir)?;
    let image = Small::at(dir);
    let native = Native::new(&group, &image.root)?;
    let instance = super::instance(dir)?;
    let ours = Rc::new(Host::start(dir, &group, &instance)?);
    let mut absent = Vec::new();
    let mut engines = our_engines(options, &ours, &OURS, &image, &mut absent)?;
    let trimmed = if dir.join(TRIMMED).is_dir() && options.wants_level("hyperv") {
        let host = Rc::new(Host::start_trimmed(dir, &group, &format!("{instance}t"))?);
        engines.extend(our_engines(options, &host, &[("hyperv", false)], &image, &mut absent)?);
        Some(host)
    } else {
        None
    };
    let mut peers = Peers::new(dir, &group, &image);
    for peer in options.peers()? {
        eprintln!("getting {} ready …", peer.word());
        match peers.open(peer) {
            Ok(engine) => engines.push(engine),
            Err(error) => {
                let (peer, reason) = (peer.word().to_owned(), format!("{error:#}"));
                eprintln!("  not measured: {reason}");
                absent.push(Absent { peer, reason });
            }
        }
    }
    for engine in &engines {
        engine.meter().wait_for_rest();
    }
    let lab = Lab { options, dir, engines, native, interrupted };
    let mut figures = Vec::new();
    let outcome = all(&lab, &mut figures);
    let contestant = |engine: &dyn Engine| Contestant {
        engine: engine.name(),
        ours: engine.is_ours(),
        level: engine.level(),
        version: engine.version(),
    };
    let engines = lab.engines(|_| true).into_iter().map(contestant).collect();
    let Lab { engines: contestants, .. } = lab;
    drop(contestants);
    drop(peers);
    if let Some(trimmed) = trimmed {
        trimmed.finish()?;
    }
    ours.finish()?;
    outcome?;
    Ok(Report { host, engines, absent, figures })
}

/// Every group of figures. What was measured before an error is kept for the reader of the log only.
fn all(lab: &Lab, figures: &mut Vec<Figure>) -> Result<()> {
    type Group = fn(&Lab) -> Result<Vec<Figure>>;
    figures.extend(density::daemons(lab));
    let groups: [(&str, Group); 7] = [
        ("whole commands", lifecycle::figures),
        ("throughput", throughput::figures),
        ("many idle containers", density::figures),
        ("inside a container", inside::figures),
        ("files on a volume", volume::figures),
        ("TCP", tcp::figures),
        ("images", transfer::figures),
    ];
    for (title, group) in groups {
        eprintln!("{title} …");
        figures.extend(group(lab)?);
    }
    Ok(())
}

/// Our levels, and whether the stock client drives them.
const OURS: [(&str, bool); 3] = [("process", false), ("process", true), ("hyperv", false)];

/// Ours, with the image in it; a level that does not work here is absent.
fn our_engines(
    options: &Options,
    host: &Rc<Host>,
    levels: &[(&'static str, bool)],
    image: &Small,
    absent: &mut Vec<Absent>,
) -> Result<Vec<Box<dyn Engine>>> {
    let ours = |level, stock| Cofferdam { host: Rc::clone(host), level, stock };
    perform(&ours("process", false), &Act::Load { archive: &image.archive })?;
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    for &(level, stock) in levels {
        if !options.wants_level(level) {
            continue;
        }
        let engine = ours(level, stock);
        eprintln!("getting {} ready …", engine.name());
        let ready = if stock && which("docker").is_none() {
            Err(anyhow::anyhow!("docker was not found"))
        } else {
            // The first of each kind has the engine make a template for the others.
            let run = |network| perform(&engine, &Act::Run { network, program: &["true"] });
            run(Network::None).and_then(|_| run(Network::Bridge))
        };
        match ready {
            Ok(_) => engines.push(Box::new(engine)),
            Err(error) => {
                let reason = format!("{error:#}");
                eprintln!("  not measured: {reason}");
                absent.push(Absent { peer: engine.name(), reason });
            }
        }
    }
    if engines.is_empty() {
        let reasons: Vec<&str> = absent.iter().map(|absent| absent.reason.as_str()).collect();
        bail!("there is nothing to compare others with: {}", reasons.join("; "));
    }
    Ok(engines)
}
