//! Stage by stage, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_api::Progress as Line;
use cofferdam_dockerfile::{
    Command, Copying, Dockerfile, Instruction, Lex, Run, Source, Stage, Step, parse_instruction,
};
use cofferdam_image::{
    ContainerConfig, Digest, ExtendRequest, History, Image, Platform, ProgressSender, PullRequest, Reference,
    apply_instruction,
};
use rustix::fs::FileType;
use tokio::io::AsyncRead;

use super::context::Context;
use super::copy;
use super::layer::{Dress, LayerWriter};
use super::options::Options;
use super::run::{self, Ran};
use super::workplace::Workplace;
use crate::containers::Layers;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::events::Event;
use crate::server::JsonLines;

/// Arguments that every RUN step gets when they are given, and that no cache key knows.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Everything of one build.
pub struct Job {
    pub engine: Shared,
    pub options: Options,
    pub context: Arc<Context>,
    pub file: Dockerfile,
    pub workplace: Arc<Workplace>,
    pub lines: JsonLines,
}

/// Why a step failed; with the exit code of its command.
pub struct StepError {
    pub code: Option<i64>,
    pub error: ApiError,
}

impl<E: Into<ApiError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self { code: None, error: error.into() }
    }
}

fn wrong(text: String) -> StepError {
    ApiError::bad_request(text).into()
}

impl Job {
    /// A piece of output.
    pub async fn say(&self, text: String) {
        if !self.options.quiet {
            self.lines.send(Line::text(text).to_line()).await;
        }
    }

    /// Which stage is wanted: the last one, or a named one.
    pub fn last_stage(&self) -> ApiResult<usize> {
        let stages = &self.file.stages;
        let target = &self.options.target;
        if target.is_empty() {
            return Ok(stages.len() - 1);
        }
        stage_of(stages, target).ok_or_else(|| {
            ApiError::bad_request(format!("failed to reach build target {target} in Dockerfile"))
        })
    }
}

fn stage_of(stages: &[Stage], name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    let named = stages.iter().position(|stage| stage.from.name.as_deref() == Some(&name));
    named.or_else(|| name.parse().ok().filter(|number| *number < stages.len()))
}

/// Builds, and says everything to the client, a failure too.
pub async fn build(job: Job) {
    let engine = Arc::clone(&job.engine);
    let _running = engine.builds.begin();
    if let Err(StepError { code, error }) = Box::pin(stages(&job)).await {
        let mut line = Line::failed(error.message);
        if let Some(detail) = &mut line.error_detail {
            detail.code = code;
        }
        job.lines.send(line.to_line()).await;
    }
}

async fn stages(job: &Job) -> Result<(), StepError> {
    let last = job.last_stage()?;
    let stages = &job.file.stages[..=last];
    let labels = usize::from(!job.options.labels.is_empty());
    let total =
        job.file.args.len() + labels + stages.iter().map(|stage| 1 + stage.steps.len()).sum::<usize>();
    let mut builder = Builder {
        job,
        lex: Lex::new(job.file.escape),
        global: BTreeMap::new(),
        used: BTreeSet::new(),
        done: Vec::new(),
        number: 0,
        total,
        state: State::default(),
    };
    for (step, defaults) in &job.file.args {
        builder.announce(&step.text).await;
        for arg in defaults {
            let value = builder.given(&arg.name);
            let default = match (&value, &arg.default) {
                (None, Some(text)) => Some(builder.expand_global(text)?),
                _ => None,
            };
            builder.global.insert(arg.name.clone(), value.or(default));
        }
    }
    for (number, stage) in stages.iter().enumerate() {
        builder.stage(stage).await?;
        if number == last && labels > 0 {
            let pairs = job.options.labels.iter();
            let pairs: Vec<_> = pairs.map(|(name, value)| (quoted(name), quoted(value))).collect();
            let text =
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
            let step =
                Step { line: 0, text: format!("LABEL {text}"), instruction: Instruction::Label(pairs) };
            builder.step(&step).await?;
        }
        builder.done.push(std::mem::take(&mut builder.state));
    }
    let result = builder.done.pop().and_then(|state| state.image);
    let image =
        result.ok_or_else(|| wrong("No image was generated. Is your Dockerfile empty?".to_owned()))?;
    let unused: Vec<_> = job.options.args.keys().filter(|name| !builder.used.contains(*name)).collect();
    let unused: Vec<_> =
        unused.into_iter().filter(|name| !PROXIES.contains(&name.as_str())).cloned().collect();
    if !unused.is_empty() {
        job.say(format!("[Warning] One or more build-args [{}] were not consumed\n", unused.join(" "))).await;
    }
    finish(job, &image).await
}

/// The result gets its names.
async fn finish(job: &Job, image: &Image) -> Result<(), StepError> {
    let engine = &job.engine;
    let id = image.id();
    engine.builds.keep(id).map_err(|error| ApiError::internal(format!("cannot note the build: {error}")))?;
    for name in &job.options.names {
        engine.images.tag(image, name).await?;
        engine.events.publish(Event::now("image", "tag", id.to_string()).with("name", name.familiar()));
    }
    if job.options.quiet {
        job.lines.send(Line::text(format!("{id}\n")).to_line()).await;
        return Ok(());
    }
    job.lines.send(format!("{}\n", serde_json::json!({ "aux": { "ID": id.to_string() } }))).await;
    job.say(format!("Successfully built {}\n", id.short())).await;
    for name in &job.options.names {
        job.say(format!("Successfully tagged {}\n", name.familiar())).await;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
}

/// What a stage has come to.
#[derive(Default)]
struct State {
    image: Option<Image>,
    config: ContainerConfig,
    args: BTreeMap<String, Option<String>>,
    author: String,
    cmd_set: bool,
    platform: Option<Platform>,
}

/// What a step does beside changing the configuration.
enum Work {
    Nothing,
    Run(Run),
    Copy(copy::Order, Option<Image>),
    Directory(String),
}

struct Builder<'a> {
    job: &'a Job,
    lex: Lex,
    global: BTreeMap<String, Option<String>>,
    used: BTreeSet<String>,
    done: Vec<State>,
    number: usize,
    total: usize,
    state: State,
}

impl Builder<'_> {
    async fn announce(&mut self, text: &str) {
        self.number += 1;
        self.job.say(format!("Step {}/{} : {text}\n", self.number, self.total)).await;
    }

    fn given(&mut self, name: &str) -> Option<String> {
        self.used.insert(name.to_owned());
        self.job.options.args.get(name).cloned().flatten()
    }

    fn expand_global(&self, text: &str) -> Result<String, StepError> {
        let env = |name: &str| self.global.get(name).cloned().flatten();
        self.lex.expand(text, &env).map_err(wrong)
    }

    fn value(&self, name: &str) -> Option<String> {
        let own = self.state.config.env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        own.map(str::to_owned).or_else(|| self.state.args.get(name).cloned().flatten())
    }

    fn expand(&self, text: &str) -> Result<String, StepError> {
        self.lex.expand(text, &|name| self.value(name)).map_err(wrong)
    }

    async fn stage(&mut self, stage: &Stage) -> Result<(), StepError> {
        self.announce(&stage.step.text).await;
        let name = self.expand_global(&stage.from.image)?;
        if name.is_empty() {
            return Err(wrong("base name (FROM) should not be blank".to_owned()));
        }
        let platform = match &stage.from.platform {
            Some(platform) => Some(self.expand_global(platform)?).filter(|platform| !platform.is_empty()),
            None => None,
        };
        let platform = platform.or_else(|| self.job.options.platform.clone());
        self.state = State { platform: platform.as_deref().map(Platform::parse), ..State::default() };
        if name == "scratch" {
            self.job.say(" ---> \n".to_owned()).await;
        } else {
            let image = match self.earlier(&name) {
                Some(number) => {
                    self.done[number].image.clone().ok_or_else(|| wrong(format!("stage {name} is empty")))?
                }
                None => self.image(&name).await?,
            };
            self.state.config = image.container_config().clone();
            self.job.say(format!(" ---> {}\n", image.id().short())).await;
            self.state.image = Some(image);
        }
        let triggers = std::mem::take(&mut self.state.config.on_build);
        if !triggers.is_empty() {
            let what = if triggers.len() == 1 { "trigger" } else { "triggers" };
            self.job.say(format!("# Executing {} build {what}\n", triggers.len())).await;
        }
        for text in triggers {
            let step = parse_instruction(&text)
                .map_err(|error| wrong(format!("invalid ONBUILD trigger of {name}: {}", error.reason())))?;
            self.perform(&step).await?;
        }
        for step in &stage.steps {
            self.step(step).await?;
        }
        Ok(())
    }

    fn earlier(&self, name: &str) -> Option<usize> {
        stage_of(&self.job.file.stages[..self.done.len()], name)
            .filter(|number| self.job.file.stages[*number].from.name.is_some())
    }

    async fn image(&self, name: &str) -> Result<Image, StepError> {
        let engine = &self.job.engine;
        if !self.job.options.pull
            && let Ok(image) = engine.images.resolve(name)
        {
            return Ok(image);
        }
        let reference = Reference::parse_any_case(name).map_err(|error| wrong(error.to_string()))?;
        let request = PullRequest {
            platform: self.state.platform.clone(),
            insecure_registries: engine.config.insecure_registries.clone(),
            ..PullRequest::new(reference)
        };
        Ok(engine.images.pull(request, &ProgressSender::none()).await?)
    }

    async fn step(&mut self, step: &Step) -> Result<(), StepError> {
        self.announce(&step.text).await;
        self.perform(step).await
    }

    async fn perform(&mut self, step: &Step) -> Result<(), StepError> {
        let mut config = self.state.config.clone();
        let shell = config.shell_words("#(nop) ").join(" ");
        let mut created_by = format!("{shell} {}", step.text);
        let mut extra = Vec::new();
        let mut work = Work::Nothing;
        match &step.instruction {
            Instruction::Arg(defaults) => {
                for arg in defaults {
                    let value = match (self.given(&arg.name), &arg.default) {
                        (Some(value), _) => Some(value),
                        (None, Some(default)) => Some(self.expand(default)?),
                        (None, None) => self.global.get(&arg.name).cloned().flatten(),
                    };
                    self.state.args.insert(arg.name.clone(), value);
                }
            }
            Instruction::Maintainer(author) => self.state.author = self.expand(author)?,
            Instruction::Run(run) => {
                let mut run = run.clone();
                let words = self.command(&mut run, &config)?;
                let args = self.arguments();
                let shown = if args.is_empty() {
                    String::new()
                } else {
                    format!("|{} {} ", args.len(), args.join(" "))
                };
                created_by = format!("{shown}{}", words.join(" "));
                extra = format!("{words:?}\0{:?}", run.network).into_bytes();
                run.command = Command::Exec(words);
                work = Work::Run(run);
            }
            Instruction::Copy(copying) => {
                work = self.copying(copying, false, &mut created_by, &mut extra).await?
            }
            Instruction::Add(copying) => {
                work = self.copying(copying, true, &mut created_by, &mut extra).await?
            }
            other => {
                let env = |name: &str| self.value(name);
                apply_instruction(&mut config, other, &self.lex, &env)?;
                match other {
                    Instruction::Cmd(_) => self.state.cmd_set = true,
                    Instruction::Entrypoint(_) if !self.state.cmd_set => config.cmd = None,
                    Instruction::Workdir(_) => work = Work::Directory(config.working_dir.clone()),
                    _ => {}
                }
            }
        }
        let json = serde_json::to_string(&config).map_err(ApiError::internal_of)?;
        let parent = self.state.image.as_ref().map_or("scratch".to_owned(), |image| image.id().to_string());
        let platform =
            self.state.platform.as_ref().map(|platform| format!("{platform:?}")).unwrap_or_default();
        let mut key =
            format!("1\0{parent}\0{platform}\0{created_by}\0{json}\0{}\0", self.state.author).into_bytes();
        key.extend(extra);
        let key = Digest::of(&key);
        let builds = &self.job.engine.builds;
        let known = builds.find(&key).filter(|_| !self.job.options.no_cache);
        let image = match known.and_then(|id| self.job.engine.images.get(&id)) {
            Some(image) => {
                self.job.say(" ---> Using cache\n".to_owned()).await;
                image
            }
            None => {
                let image = self.make(work, config, created_by).await?;
                let noted = builds.remember(&key, image.id());
                noted.map_err(|error| ApiError::internal(format!("cannot note the step: {error}")))?;
                image
            }
        };
        self.job.say(format!(" ---> {}\n", image.id().short())).await;
        self.state.config = image.container_config().clone();
        self.state.image = Some(image);
        Ok(())
    }

    /// Does a step's work; the image after it.
    async fn make(
        &mut self,
        work: Work,
        config: ContainerConfig,
        created_by: String,
    ) -> Result<Image, StepError> {
        let mut sources = Vec::new();
        let mut ran: Option<Ran> = None;
        let layer: Option<Box<dyn AsyncRead + Send + Unpin>> = match work {
            Work::Nothing => None,
            Work::Run(run) => {
                let image = match &self.state.image {
                    Some(image) => image.clone(),
                    None => self.extend(ContainerConfig::default(), Vec::new(), Vec::new()).await?,
                };
                let Command::Exec(words) = run.command else {
                    return Err(wrong("no command specified".to_owned()));
                };
                let order = run::Order { image, words, env: self.run_environment(), network: run.network };
                let done = run::run(self.job, order).await?;
                let layer = done.layer().await?;
                ran = Some(done);
                Some(layer)
            }
            Work::Copy(order, from) => {
                sources.extend(from);
                let context = Arc::clone(&self.job.context);
                Some(
                    self.written(move |file| order.write(&context, file).map(|()| true))
                        .await?
                        .ok_or_else(|| wrong("nothing was copied".to_owned()))?,
                )
            }
            Work::Directory(path) => {
                let base = self.lower().await?;
                let write = move |file| -> Result<bool, String> {
                    let failed = |error: std::io::Error| format!("WORKDIR {path}: {error}");
                    let base = Layers::open(base.iter().map(PathBuf::as_path)).map_err(failed)?;
                    let (place, kind) = base.resolve(path.as_ref()).map_err(failed)?;
                    match kind {
                        Some(FileType::Directory) => return Ok(false),
                        Some(_) => return Err(format!("WORKDIR {path}: not a directory")),
                        None => {}
                    }
                    let mut layer = LayerWriter::new(file, &base, Dress::default());
                    layer.directories(&place).and_then(|()| layer.finish()).map_err(failed)?;
                    Ok(true)
                };
                self.written(write).await?
            }
        };
        let history = History { created_by, author: self.state.author.clone(), ..History::default() };
        let step = cofferdam_image::Step { history, layer };
        let image = self.extend(config, vec![step], sources).await?;
        if let Some(mut ran) = ran {
            if self.job.options.remove || self.job.options.force_remove {
                self.job.say(format!("Removing intermediate container {}\n", ran.id())).await;
                ran.remove().await?;
            } else {
                ran.keep();
            }
        }
        Ok(image)
    }

    async fn extend(
        &self,
        config: ContainerConfig,
        steps: Vec<cofferdam_image::Step>,
        sources: Vec<Image>,
    ) -> Result<Image, StepError> {
        let request = ExtendRequest {
            base: self.state.image.clone(),
            sources,
            config,
            author: self.state.author.clone(),
            platform: if self.state.image.is_none() { self.state.platform.clone() } else { None },
            steps,
            ..ExtendRequest::default()
        };
        Ok(self.job.engine.images.extend(request).await?.0)
    }

    /// A layer that a thread writes into a file first; none when it says that there is none.
    async fn written(
        &self,
        write: impl FnOnce(std::fs::File) -> Result<bool, String> + Send + 'static,
    ) -> Result<Option<Box<dyn AsyncRead + Send + Unpin>>, StepError> {
        let directory = Arc::clone(&self.job.workplace);
        let writing = tokio::task::spawn_blocking(move || {
            let failed = |error: std::io::Error| format!("cannot write a layer: {error}");
            let file = tempfile::tempfile_in(directory.path()).map_err(failed)?;
            let there = write(file.try_clone().map_err(failed)?)?;
            let mut file = file;
            std::io::Seek::rewind(&mut file).map_err(failed)?;
            Ok::<_, String>(there.then_some(file))
        });
        let file = writing.await.map_err(|error| ApiError::internal(error.to_string()))?.map_err(wrong)?;
        Ok(file.map(|file| Box::new(tokio::fs::File::from_std(file)) as _))
    }

    async fn lower(&self) -> Result<Vec<PathBuf>, StepError> {
        match &self.state.image {
            Some(image) => Ok(self.job.engine.images.lower_dirs(image).await?),
            None => Ok(vec![self.job.workplace.empty()?]),
        }
    }

    async fn copying(
        &mut self,
        copying: &Copying,
        add: bool,
        created_by: &mut String,
        extra: &mut Vec<u8>,
    ) -> Result<Work, StepError> {
        let name = if add { "ADD" } else { "COPY" };
        for (set, flag) in [
            (copying.parents, "--parents"),
            (!copying.exclude.is_empty(), "--exclude"),
            (copying.checksum.is_some(), "--checksum"),
            (copying.keep_git_dir, "--keep-git-dir"),
            (copying.unpack.is_some(), "--unpack"),
        ] {
            if set {
                return Err(wrong(format!("{name} {flag} is not supported by this builder")));
            }
        }
        let mut sources = Vec::new();
        for source in &copying.sources {
            sources.push(match source {
                Source::Path(path) => {
                    let path = self.expand(path)?;
                    if add && copy::is_url(&path) {
                        return Err(wrong(format!(
                            "ADD {path}: fetching is not supported by this builder: fetch it in a RUN step, or send it \
                             with the context"
                        )));
                    }
                    copy::check_pattern(&path).map_err(wrong)?;
                    Source::Path(path)
                }
                Source::Text(text) => {
                    let mut text = text.clone();
                    if text.expand {
                        let env = |name: &str| self.value(name);
                        text.content = self.lex.document().expand(&text.content, &env).map_err(wrong)?;
                    }
                    Source::Text(text)
                }
            });
        }
        let (from, image) = match &copying.from {
            None => (None, None),
            Some(name) => {
                let name = self.expand(name)?;
                let stages = &self.job.file.stages[..self.done.len()];
                let image = match stage_of(stages, &name) {
                    Some(number) => self.done[number]
                        .image
                        .clone()
                        .ok_or_else(|| wrong(format!("stage {name} is empty")))?,
                    None if name.parse::<usize>().is_ok() => {
                        return Err(wrong(format!(
                            "invalid from flag value {name}: no such stage before this one"
                        )));
                    }
                    None => self.image(&name).await?,
                };
                (Some(self.job.engine.images.lower_dirs(&image).await?), Some(image))
            }
        };
        let destination = self.expand(&copying.destination)?;
        let slash = destination.ends_with('/') || destination.ends_with("/.") || destination == ".";
        let absolute = match destination.starts_with('/') {
            true => destination.clone(),
            false => format!("{}/{destination}", self.state.config.working_dir),
        };
        let absolute = format!("{}{}", absolute.trim_end_matches("/."), if slash { "/" } else { "" });
        let order = copy::Order {
            add,
            sources,
            destination: if absolute.starts_with('/') { absolute } else { format!("/{absolute}") },
            chown: copying.chown.as_ref().map(|text| self.expand(text)).transpose()?,
            chmod: copying.chmod.as_ref().map(|text| self.expand(text)).transpose()?,
            from,
            base: self.lower().await?,
        };
        let context = Arc::clone(&self.job.context);
        let reading =
            tokio::task::spawn_blocking(move || order.content(&context).map(|content| (order, content)));
        let (order, content) =
            reading.await.map_err(|error| ApiError::internal(error.to_string()))?.map_err(wrong)?;
        let digest = Digest::of(&content);
        let what = image
            .as_ref()
            .map_or_else(|| format!("file:{}", digest.hex()), |image| format!("from {}", image.id()));
        let shell = self.state.config.shell_words("#(nop) ").join(" ");
        *created_by = format!("{shell} {name} {what} in {destination} ");
        let key =
            format!("{digest}\0{:?}\0{:?}\0{destination}\0{:?}", order.chown, order.chmod, copying.sources);
        extra.extend(key.into_bytes());
        Ok(Work::Copy(order, image))
    }

    /// The words that a RUN step executes.
    fn command(&self, run: &mut Run, config: &ContainerConfig) -> Result<Vec<String>, StepError> {
        if !run.mounts.is_empty() {
            return Err(wrong(
                "the --mount option requires BuildKit, which is not part of this engine".to_owned(),
            ));
        }
        if run.security.is_some() {
            return Err(wrong(
                "the --security option requires BuildKit, which is not part of this engine".to_owned(),
            ));
        }
        if let Some(network) = &run.network
            && !matches!(network.as_str(), "default" | "none" | "host")
        {
            return Err(wrong(format!("invalid --network {network:?}: default, none or host is expected")));
        }
        if run.network.as_deref() == Some("default") {
            run.network = None;
        }
        let text = match (&run.command, run.heredocs.as_slice()) {
            (Command::Exec(words), _) => return Ok(words.clone()),
            (Command::Shell(text), []) => text.clone(),
            (Command::Shell(_), [only]) if run.script => {
                if only.content.starts_with("#!") {
                    return Err(wrong(
                        "a here-document that begins with #! is not supported: name its interpreter (RUN python3 <<EOF)"
                            .to_owned(),
                    ));
                }
                only.content.clone()
            }
            (Command::Shell(text), documents) => {
                let mut whole = text.clone();
                for document in documents {
                    whole.push('\n');
                    whole.push_str(&document.content);
                    whole.push_str(&document.name);
                }
                whole
            }
        };
        Ok(config.shell_words(&text))
    }

    /// Build arguments in effect, for a step's key and history.
    fn arguments(&self) -> Vec<String> {
        let args = self.state.args.iter().filter(|(name, _)| !PROXIES.contains(&name.as_str()));
        args.filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect()
    }

    fn run_environment(&self) -> Vec<String> {
        let mut env = BTreeMap::new();
        for name in PROXIES {
            if let Some(Some(value)) = self.job.options.args.get(name) {
                env.insert(name.to_owned(), value.clone());
            }
        }
        env.extend(self.state.args.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
        let own = |name: &str| self.state.config.env.iter().any(|pair| pair.split('=').next() == Some(name));
        env.retain(|name, _| !own(name));
        env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}
