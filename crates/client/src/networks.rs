//! `/networks`

use cofferdam_api::Filters;
use cofferdam_api::models::{
    Network, NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse, NetworkDisconnectRequest,
    NetworkPruneResponse,
};

use crate::query::{Query, segment};
use crate::{Client, ClientError, Document};

impl Client {
    /// The networks.
    pub async fn list_networks(&self, filters: &Filters) -> Result<Vec<Network>, ClientError> {
        self.get("/networks").query(&Query::new().filters(filters)).answer().await
    }

    /// Everything about a network.
    pub async fn inspect_network(&self, name: &str) -> Result<Document<Network>, ClientError> {
        self.get(&format!("/networks/{}", segment(name))).document().await
    }

    /// Makes a network.
    pub async fn create_network(
        &self,
        request: &NetworkCreateRequest,
    ) -> Result<NetworkCreateResponse, ClientError> {
        self.post("/networks/create").json(request).answer().await
    }

    /// Removes a network that no container is in.
    pub async fn remove_network(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&format!("/networks/{}", segment(name))).nothing().await
    }

    /// Removes the networks that no container is in.
    pub async fn prune_networks(&self, filters: &Filters) -> Result<NetworkPruneResponse, ClientError> {
        self.post("/networks/prune").query(&Query::new().filters(filters)).answer().await
    }

    /// Attaches a container to a network.
    pub async fn connect_network(
        &self,
        name: &str,
        request: &NetworkConnectRequest,
    ) -> Result<(), ClientError> {
        self.post(&format!("/networks/{}/connect", segment(name))).json(request).nothing().await
    }

    /// Takes a container out of a network.
    pub async fn disconnect_network(
        &self,
        name: &str,
        request: &NetworkDisconnectRequest,
    ) -> Result<(), ClientError> {
        self.post(&format!("/networks/{}/disconnect", segment(name))).json(request).nothing().await
    }
}
