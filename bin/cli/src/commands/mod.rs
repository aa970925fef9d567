//! The verbs: one file per family, each with its arguments and what it does. [`execute`] runs one.

pub mod attach;
mod body;
pub mod cmdlet;
pub mod commit;
pub mod completion;
pub mod compute;
pub mod cp;
pub mod create;
pub mod df;
pub mod diff;
mod each;
pub mod events;
pub mod exec;
pub mod export;
pub mod history;
pub mod image_prune;
pub mod images;
pub mod import;
pub mod info;
pub mod inspect;
pub mod install;
pub mod lifecycle;
mod limits;
pub mod load;
pub mod logs;
pub mod network;
mod options;
pub mod policy;
pub mod port;
pub mod prune;
pub mod ps;
pub mod pull;
pub mod pwsh;
pub mod rmi;
pub mod run;
pub mod save;
pub mod start;
pub mod stats;
pub mod system_prune;
pub mod tag;
pub mod template;
pub mod top;
pub mod update;
pub mod version;
pub mod volume;
pub mod wait;

use crate::args::{
    Cli, Command, ComputeGroup, ContainerGroup, ContainerVerb, ImageGroup, ImageVerb, NetworkGroup,
    PolicyGroup, SystemGroup, SystemVerb, TemplateGroup, VolumeGroup,
};
use crate::session::Session;
use crate::{doctor, report};

/// A command's exit code, or why it has none of its own.
pub type Outcome = anyhow::Result<i32>;

/// Runs a command to its end, reports its failure, and gives the exit code.
pub fn execute(cli: Cli) -> i32 {
    // What needs neither a daemon nor a runtime.
    match &cli.command {
        Command::Completion(arguments) => return finish(arguments.run(), ""),
        Command::KvmProbe => return doctor::kvm_probe(),
        _ => {}
    }
    let verb = match &cli.command {
        Command::Container(ContainerVerb::Run(_))
        | Command::Containers(ContainerGroup::Verb(ContainerVerb::Run(_))) => "run",
        _ => "",
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return finish(Err(error.into()), verb),
    };
    let outcome = runtime.block_on(async {
        let session = match Session::open(&cli).await {
            Ok(session) => session,
            Err(error) if verb == "run" => return Err(report::BeforeStart::plain(error)),
            Err(error) => return Err(error),
        };
        dispatch(cli.command, &session).await.map_err(|error| session.explain(error))
    });
    let code = finish(outcome, verb);
    // A thread may wait for the keyboard for ever.
    runtime.shutdown_background();
    code
}

fn finish(outcome: Outcome, verb: &str) -> i32 {
    outcome.unwrap_or_else(|error| report::report(&error, verb))
}

async fn dispatch(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Container(verb) => container(verb, session).await,
        Command::Image(verb) => image(verb, session).await,
        Command::System(verb) => system(verb, session).await,
        Command::Ps(arguments) | Command::Containers(ContainerGroup::Ls(arguments)) => {
            arguments.run(session).await
        }
        Command::Images(arguments) | Command::ImageGroup(ImageGroup::Ls(arguments)) => {
            arguments.run(session).await
        }
        Command::Rmi(arguments) | Command::ImageGroup(ImageGroup::Rm(arguments)) => {
            arguments.run(session).await
        }
        Command::Inspect(arguments) => arguments.run(session).await,
        Command::Containers(ContainerGroup::Verb(verb)) => container(verb, session).await,
        Command::Containers(ContainerGroup::Inspect(arguments)) => arguments.run(session).await,
        Command::Containers(ContainerGroup::Prune(arguments)) => arguments.run(session).await,
        Command::ImageGroup(ImageGroup::Verb(verb)) => image(verb, session).await,
        Command::ImageGroup(ImageGroup::Inspect(arguments)) => arguments.run(session).await,
        Command::ImageGroup(ImageGroup::Prune(arguments)) => arguments.run(session).await,
        Command::ImageGroup(ImageGroup::Install(arguments)) => arguments.run(session).await,
        Command::SystemGroup(SystemGroup::Verb(verb)) => system(verb, session).await,
        Command::SystemGroup(SystemGroup::Df(arguments)) => arguments.run(session).await,
        Command::SystemGroup(SystemGroup::Prune(arguments)) => arguments.run(session).await,
        Command::Compute(ComputeGroup::Ls(arguments)) => arguments.run(session).await,
        Command::Compute(ComputeGroup::Stop(arguments)) => arguments.run(session).await,
        Command::Compute(ComputeGroup::Inspect(arguments)) => arguments.run(session).await,
        Command::Policy(PolicyGroup::Ls(arguments)) => arguments.run(session).await,
        Command::Policy(PolicyGroup::Test(arguments)) => arguments.run(session).await,
        Command::Network(group) => network(group, session).await,
        Command::Template(TemplateGroup::Ls(arguments)) => arguments.run(session).await,
        Command::Template(TemplateGroup::Rm(arguments)) => arguments.run(session).await,
        Command::Template(TemplateGroup::Build(arguments)) => arguments.run(session).await,
        Command::Volume(VolumeGroup::Create(arguments)) => arguments.run(session).await,
        Command::Volume(VolumeGroup::Inspect(arguments)) => arguments.run(session).await,
        Command::Volume(VolumeGroup::Ls(arguments)) => arguments.run(session).await,
        Command::Volume(VolumeGroup::Prune(arguments)) => arguments.run(session).await,
        Command::Volume(VolumeGroup::Rm(arguments)) => arguments.run(session).await,
        Command::Cmdlet(arguments) => arguments.run(session).await,
        Command::Pwsh(arguments) => arguments.run(session).await,
        Command::Version(arguments) => arguments.run(session).await,
        Command::Doctor(arguments) => arguments.run(session).await,
        Command::Completion(arguments) => arguments.run(),
        Command::KvmProbe => Ok(doctor::kvm_probe()),
    }
}

async fn container(verb: ContainerVerb, session: &Session) -> Outcome {
    match verb {
        ContainerVerb::Run(arguments) => arguments.run(session).await,
        ContainerVerb::Create(arguments) => arguments.run(session).await,
        ContainerVerb::Start(arguments) => arguments.run(session).await,
        ContainerVerb::Attach(arguments) => arguments.run(session).await,
        ContainerVerb::Exec(arguments) => arguments.run(session).await,
        ContainerVerb::Commit(arguments) => arguments.run(session).await,
        ContainerVerb::Cp(arguments) => arguments.run(session).await,
        ContainerVerb::Diff(arguments) => arguments.run(session).await,
        ContainerVerb::Export(arguments) => arguments.run(session).await,
        ContainerVerb::Logs(arguments) => arguments.run(session).await,
        ContainerVerb::Top(arguments) => arguments.run(session).await,
        ContainerVerb::Stats(arguments) => arguments.run(session).await,
        ContainerVerb::Port(arguments) => arguments.run(session).await,
        ContainerVerb::Wait(arguments) => arguments.run(session).await,
        ContainerVerb::Stop(arguments) => arguments.run(session).await,
        ContainerVerb::Restart(arguments) => arguments.run(session).await,
        ContainerVerb::Kill(arguments) => arguments.run(session).await,
        ContainerVerb::Pause(arguments) => arguments.run(session).await,
        ContainerVerb::Unpause(arguments) => arguments.run(session).await,
        ContainerVerb::Rename(arguments) => arguments.run(session).await,
        ContainerVerb::Update(arguments) => arguments.run(session).await,
        ContainerVerb::Rm(arguments) => arguments.run(session).await,
    }
}

async fn image(verb: ImageVerb, session: &Session) -> Outcome {
    match verb {
        ImageVerb::Pull(arguments) => arguments.run(session).await,
        ImageVerb::Load(arguments) => arguments.run(session).await,
        ImageVerb::Save(arguments) => arguments.run(session).await,
        ImageVerb::Import(arguments) => arguments.run(session).await,
        ImageVerb::Tag(arguments) => arguments.run(session).await,
        ImageVerb::History(arguments) => arguments.run(session).await,
    }
}

async fn network(group: NetworkGroup, session: &Session) -> Outcome {
    match group {
        NetworkGroup::Create(arguments) => arguments.run(session).await,
        NetworkGroup::Ls(arguments) => arguments.run(session).await,
        NetworkGroup::Inspect(arguments) => arguments.run(session).await,
        NetworkGroup::Rm(arguments) => arguments.run(session).await,
        NetworkGroup::Prune(arguments) => arguments.run(session).await,
        NetworkGroup::Connect(arguments) => arguments.run(session).await,
        NetworkGroup::Disconnect(arguments) => arguments.run(session).await,
    }
}

async fn system(verb: SystemVerb, session: &Session) -> Outcome {
    match verb {
        SystemVerb::Info(arguments) => arguments.run(session).await,
        SystemVerb::Events(arguments) => arguments.run(session).await,
    }
}
