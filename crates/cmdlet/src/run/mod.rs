//! What cmdlets do: [`Engine::execute`] runs one for one set of bound parameters, by calls to the daemon.

mod compute;
mod containers;
mod host;
mod images;
mod limits;
mod networks;
mod objects;
pub mod processes;
mod resolve;

pub use host::choose_processes;

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_client::{Client, ClientError};

use crate::table::Impact;
use crate::{Bound, Failure, Value};

/// What cmdlets need of the program around them.
#[async_trait]
pub trait Services: Send + Sync {
    /// The images that can be made without a registry: name and description.
    fn built_in(&self) -> Vec<(String, String)>;
    /// Makes one and loads it.
    async fn install(&self, client: &Client, name: &str) -> Result<(), String>;
    /// Pulls an image, with the user's credentials.
    async fn pull(&self, client: &Client, image: &str) -> Result<(), String>;
}

/// Whom cmdlets ask.
pub trait Ui: Send + Sync {
    /// Shows a line that is nobody's output.
    fn say(&mut self, text: &str);
    /// Asks whether to do something; `Err` where nobody can be asked.
    fn ask(&mut self, action: &str, target: &str) -> Result<bool, Failure>;
    /// Whether things are only to be said (`$WhatIfPreference`).
    fn only_says(&self) -> bool;
}

/// What a cmdlet has given.
#[derive(Debug, Default)]
pub struct Output {
    /// Objects.
    pub objects: Vec<Value>,
    /// What went wrong on the way; a terminating one is the last.
    pub errors: Vec<Failure>,
    /// Warnings of the daemon.
    pub warnings: Vec<String>,
}

/// The daemon, as cmdlets reach it.
pub struct Engine {
    client: Arc<Client>,
    services: Box<dyn Services>,
}

/// One run of a cmdlet.
pub(crate) struct Run<'a> {
    pub client: Arc<Client>,
    pub services: &'a dyn Services,
    pub bound: &'a Bound,
    pub ui: &'a mut dyn Ui,
    pub output: Output,
}

/// A cmdlet's end, when it is not the ordinary one.
pub(crate) type Done = Result<(), Failure>;

impl Engine {
    /// Of the daemon that `client` reaches.
    #[must_use]
    pub fn new(client: &Client, services: Box<dyn Services>) -> Self {
        Self { client: Arc::new(Client::new(client.host().clone()).for_cmdlets()), services }
    }

    /// The daemon.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Runs a cmdlet. Sessions are the console's: `Enter-PSSession`, `Exit-PSSession` and `Invoke-Command` fail here.
    pub async fn execute(&self, bound: &Bound, ui: &mut dyn Ui) -> Output {
        let client = match self.client_of(bound).await {
            Ok(client) => client,
            Err(failure) => return Output { errors: vec![failure], ..Output::default() },
        };
        let services = self.services.as_ref();
        let mut run = Run { client, services, bound, ui, output: Output::default() };
        if let Err(failure) = run.dispatch().await {
            run.output.errors.push(failure);
        }
        run.output
    }

    /// The daemon that `-ComputerName` or `-CimSession` names.
    async fn client_of(&self, bound: &Bound) -> Result<Arc<Client>, Failure> {
        let named = bound.text("ComputerName").or_else(|| bound.text("CimSession"));
        let Some(named) = named.filter(|name| name != "." && !name.eq_ignore_ascii_case("localhost")) else {
            return Ok(Arc::clone(&self.client));
        };
        let selected = Client::select(Some(&named), |name| std::env::var(name).ok()).await;
        let selected = selected.map_err(|error| Failure::daemon(&error, &named))?;
        Ok(Arc::new(selected.client.for_cmdlets()))
    }
}

impl Run<'_> {
    async fn dispatch(&mut self) -> Done {
        match self.bound.cmdlet.name {
            "New-Container" => self.new_container().await,
            "Get-Container" => self.get_container().await,
            "Set-Container" => self.set_container().await,
            "Start-Container" => self.start_container().await,
            "Stop-Container" => self.stop_container().await,
            "Remove-Container" => self.remove_container().await,
            "Get-ContainerHost" => self.get_container_host().await,
            "Get-ContainerImage" => self.get_container_image().await,
            "New-ContainerImage" => self.new_container_image().await,
            "Remove-ContainerImage" => self.remove_container_image().await,
            "Export-ContainerImage" => self.export_container_image().await,
            "Import-ContainerImage" => self.import_container_image().await,
            "Test-ContainerImage" => self.test_container_image().await,
            "Find-ContainerImage" => self.find_container_image(),
            "Install-ContainerImage" => self.install_container_image().await,
            "Save-ContainerImage" => self.save_container_image().await,
            "Move-ContainerImageRepository" => self.move_container_image_repository().await,
            "Add-ContainerNetworkAdapter" => self.add_adapter().await,
            "Set-ContainerNetworkAdapter" => self.set_adapter().await,
            "Get-ContainerNetworkAdapter" => self.get_adapter().await,
            "Remove-ContainerNetworkAdapter" | "Disconnect-ContainerNetworkAdapter" => {
                self.remove_adapter().await
            }
            "Connect-ContainerNetworkAdapter" => self.connect_adapter().await,
            "New-VMSwitch" => self.new_switch().await,
            "Get-VMSwitch" => self.get_switch().await,
            "New-NetNat" => self.new_nat().await,
            "Add-NetNatStaticMapping" => self.add_mapping().await,
            "Get-NetNatStaticMapping" => self.get_mapping().await,
            "Get-ContainerSharedFolder" => self.get_shared_folder().await,
            "Add-ContainerSharedFolder" | "Set-ContainerSharedFolder" | "Remove-ContainerSharedFolder" => {
                self.change_shared_folder().await
            }
            "Set-ContainerMemory" => self.set_memory().await,
            "Set-ContainerProcessor" => self.set_processor().await,
            "Set-ContainerStorage" => self.set_storage().await,
            "Get-ComputeProcess" => self.get_compute_process().await,
            "Stop-ComputeProcess" => self.stop_compute_process().await,
            "Get-Process" => self.get_process(),
            name => Err(Failure::binding(
                "NotHere",
                format!("{name} needs a session: it is run by the console, `cofferdam pwsh`."),
            )),
        }
    }

    /// PowerShell's `ShouldProcess`: whether to do it at all.
    fn should_process(&mut self, target: &str) -> Result<bool, Failure> {
        let name = self.bound.cmdlet.name;
        if self.bound.flag("WhatIf") || (self.bound.choice("WhatIf").is_none() && self.ui.only_says()) {
            self.ui.say(&format!("What if: Performing the operation \"{name}\" on target \"{target}\"."));
            return Ok(false);
        }
        let grave = self.bound.cmdlet.process == Some(Impact::High) && !self.bound.flag("Force");
        if self.bound.choice("Confirm").unwrap_or(grave) {
            return self.ui.ask(name, target);
        }
        Ok(true)
    }

    /// Takes an error of one object of several, so that the others go on; one that concerns all ends the cmdlet.
    fn report(&mut self, failure: Failure) -> Done {
        if failure.terminating {
            return Err(failure);
        }
        self.output.errors.push(failure);
        Ok(())
    }

    /// The value of a call, or nothing when it was refused, which is reported.
    fn take<T>(&mut self, result: Result<T, ClientError>, target: &str) -> Result<Option<T>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.report(Failure::daemon(&error, target)).map(|()| None),
        }
    }
}
