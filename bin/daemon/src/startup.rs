//! From flags to a serving daemon, and from a signal to a clean end.
//!
//! Ending leaves containers running: their shims hold them, and the next start finds them again. That is the only
//! mode (dockerd's `live-restore`). What the daemon made for all containers together (bridge, firewall table, parent
//! cgroup) goes when no container is left to use it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cofferdam_image::ImageStore;
use cofferdam_store::Store;
use cofferdam_sys::cgroup::Cgroup;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::build::{self, Builds};
use crate::config::{self, Config, Flags};
use crate::containers::{self, Containers};
use crate::engine::{Engine, Shared};
use crate::error::chain;
use crate::events::EventBus;
use crate::lock::{DirectoryLock, PidFile};
use crate::network::DefaultNetwork;
use crate::networks::{self, Networks};
use crate::notify::notify;
use crate::paths::Paths;
use crate::pieces::Pieces;
use crate::ports::Ports;
use crate::server::Listener;
use crate::templates::{self, Templates};
use crate::vm::VmSupport;
use crate::volumes::Volumes;

/// The record of the engine's ID.
const ENGINE_ID: &str = "engine-id";

/// How long the daemon's end waits for removals that are under way.
const REMOVALS: Duration = Duration::from_secs(10);

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    log_to_stderr(&config.log_level);
    // Whatever started us: files are the owner's to write and everybody's to read, unless their modes say less.
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    make_directory(&config.data_root)?;
    make_directory(&config.exec_root)?;
    let _data_lock = DirectoryLock::take(&config.data_root)?;
    let _exec_lock = DirectoryLock::take(&config.exec_root)?;
    let _pidfile = PidFile::write(&config.pidfile)?;
    // Two workers: the daemon waits most of the time, and every thread costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(config));
    // A pull or a probe in flight must not hold up the end; what it leaves is swept at the next start.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Taken, so that the end of the terminal that started it does not end the daemon.
    let _hangup = signal(SignalKind::hangup())?;
    let mut listeners = Vec::new();
    for host in &config.hosts {
        let group = config.group.as_deref();
        let listener =
            Listener::bind(host, config.tls.as_ref(), group.unwrap_or(config::GROUP), group.is_some())
                .await?;
        tracing::info!("API listens on {host}");
        listeners.push(listener);
    }
    let engine = tokio::task::spawn_blocking(|| open(config)).await??;
    networks::listen(&engine).await;
    containers::recover(&engine).await;
    build::sweep(&engine).await;
    templates::prepare(&engine);
    let router = crate::routes::router(Arc::clone(&engine));
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn(listener.run(router.clone()));
    }
    tracing::info!(instance = %engine.instance, "daemon has completed initialization");
    notify("READY=1");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping; containers go on running"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping; containers go on running"),
    }
    notify("STOPPING=1");
    serving.shutdown().await;
    // What clients were told is gone shall be gone. What takes longer is finished at the next start.
    let _ = tokio::time::timeout(REMOVALS, engine.containers.removals_finished()).await;
    let _ = tokio::time::timeout(REMOVALS, engine.templates.stop()).await;
    if engine.containers.live() == 0 {
        tokio::task::spawn_blocking(move || clear_host(&engine)).await?;
    }
    Ok(())
}

/// Opens everything that is on disk. Blocking, but inside the runtime.
pub fn open(config: Config) -> anyhow::Result<Shared> {
    let paths = Paths { data_root: config.data_root.clone(), exec_root: config.exec_root.clone() };
    for directory in [paths.containers(), paths.bundles()] {
        make_directory(&directory)?;
    }
    let store = Store::open(&paths.database())?;
    let images = ImageStore::open(&paths.images())?;
    let volumes = Volumes::open(paths.volumes())
        .with_context(|| format!("cannot open the volumes in {}", paths.volumes().display()))?;
    let network = DefaultNetwork::set_up(&config, &store, containers::published(&store));
    if !network.warning.is_empty() {
        tracing::warn!("{}", network.warning);
    }
    let networks = Networks::open(&config.instance, &store)?;
    let pieces = Pieces::find(config.guest.as_deref());
    Ok(Arc::new(Engine {
        id: engine_id(&store)?,
        instance: config.instance.clone(),
        builds: Builds::open(paths.builds().join("cache.json")),
        events: EventBus::default(),
        containers: Containers::default(),
        ports: Ports::default(),
        vm: VmSupport::find(&pieces),
        templates: Arc::new(Templates::open(&config.vm, &paths)),
        config,
        paths,
        store,
        images,
        volumes,
        network,
        networks,
        pieces,
    }))
}

/// What the host need not keep when no container runs.
fn clear_host(engine: &Engine) {
    engine.networks.tear_down();
    engine.network.tear_down();
    let parent = engine.instance.cgroup_parent();
    if let Err(error) = Cgroup::named(&parent).and_then(|cgroup| cgroup.delete()) {
        tracing::warn!("cannot remove the cgroup {parent}: {}", chain(&error));
    }
}

fn engine_id(store: &Store) -> anyhow::Result<String> {
    if let Some(id) = store.setting(ENGINE_ID)? {
        return Ok(id);
    }
    // A UUID's look, which Docker's IDs have had since version 24.
    let random = cofferdam_model::random_hex(16);
    let id = [&random[..8], &random[8..12], &random[12..16], &random[16..20], &random[20..]].join("-");
    store.set_setting(ENGINE_ID, &id)?;
    Ok(id)
}

/// Makes a directory that others may pass through (user ids of VM workers) but not list.
fn make_directory(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

fn log_to_stderr(level: &str) {
    use tracing_subscriber::EnvFilter;
    let level = if level == "fatal" { "error" } else { level };
    // `COFFERDAM_LOG` can say more (tracing's directives); libraries stay quiet at debug.
    let filter = EnvFilter::try_from_env("COFFERDAM_LOG").unwrap_or_else(|_unset| {
        EnvFilter::new(format!(
            "warn,cofferdamd={level},cofferdam_image={level},cofferdam_net={level},cofferdam_store={level}"
        ))
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
