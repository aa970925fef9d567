//! containerd's Task service. Versions 2 (containerd 1.6, 1.7) and 3 (containerd 2) have the same messages: one
//! implementation is registered under both names.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_model::WindowSize;
use cofferdam_runtime::Exit;
use containerd_shim_protos::api::{
    CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse, DeleteRequest,
    DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest, PidsResponse,
    ProcessInfo, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest, StartResponse, StateRequest,
    StateResponse, Status, UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::shim_async::{Task, create_task};
use ttrpc::asynchronous::{Service, TtrpcContext};
use ttrpc::{Code, get_status};

use crate::container::{Container, Refusal};
use crate::process::Phase;

/// The name that the generated code knows, and the older one.
const TASK_V3: &str = "containerd.task.v3.Task";
const TASK_V2: &str = "containerd.task.v2.Task";

struct TaskService {
    container: Arc<Container>,
}

/// The service under both names.
pub fn services(container: &Arc<Container>) -> HashMap<String, Service> {
    let service = || create_task(Arc::new(TaskService { container: Arc::clone(container) }));
    let mut services = service();
    services.extend(service().into_iter().map(|(name, service)| (name.replace(TASK_V3, TASK_V2), service)));
    services
}

/// A refusal as gRPC status codes say it.
pub fn rpc_error(refusal: &Refusal) -> ttrpc::Error {
    let code = match refusal {
        Refusal::NotFound(_) => Code::NOT_FOUND,
        Refusal::AlreadyExists(_) => Code::ALREADY_EXISTS,
        Refusal::Precondition(_) => Code::FAILED_PRECONDITION,
        Refusal::Setup(_) | Refusal::Runtime(_) => Code::UNKNOWN,
    };
    ttrpc::Error::RpcStatus(get_status(code, refusal))
}

fn invalid(what: impl std::fmt::Display) -> ttrpc::Error {
    ttrpc::Error::RpcStatus(get_status(Code::INVALID_ARGUMENT, what))
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn timestamp(exit: Exit) -> MessageField<Timestamp> {
    MessageField::some(Timestamp {
        seconds: exit.at_nanos.div_euclid(1_000_000_000),
        nanos: i32::try_from(exit.at_nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
        ..Timestamp::default()
    })
}

impl TaskService {
    /// The container, when the request means it.
    fn of(&self, id: &str) -> ttrpc::Result<&Container> {
        if id == self.container.spec.id.as_str() {
            return Ok(&self.container);
        }
        Err(rpc_error(&Refusal::NotFound(format!("no such container: {id}"))))
    }
}

#[async_trait]
impl Task for TaskService {
    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        let container = self.of(&request.id)?;
        let status = container.status(&request.exec_id).map_err(|refusal| rpc_error(&refusal))?;
        let word = match status.phase {
            Phase::New | Phase::Starting => Status::CREATED,
            Phase::Running if status.paused => Status::PAUSED,
            Phase::Running => Status::RUNNING,
            Phase::Ended => Status::STOPPED,
        };
        Ok(StateResponse {
            id: request.id,
            exec_id: request.exec_id,
            bundle: container.directory.display().to_string(),
            pid: unsigned(status.pid),
            status: word.into(),
            terminal: status.terminal,
            exit_status: status.exit.map_or(0, |exit| unsigned(exit.code)),
            exited_at: status.exit.map_or_else(MessageField::none, timestamp),
            ..StateResponse::default()
        })
    }

    async fn create(
        &self,
        _: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> ttrpc::Result<CreateTaskResponse> {
        let pid = self.of(&request.id)?.create().await.map_err(|refusal| rpc_error(&refusal))?;
        Ok(CreateTaskResponse { pid: unsigned(pid), ..CreateTaskResponse::default() })
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        let started = self.of(&request.id)?.start(&request.exec_id).await;
        let pid = started.map_err(|refusal| rpc_error(&refusal))?;
        Ok(StartResponse { pid: unsigned(pid), ..StartResponse::default() })
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        let program = String::from_utf8(request.spec.value.clone()).map_err(invalid)?;
        let stdin = !request.stdin.is_empty();
        let container = self.of(&request.id)?;
        container
            .exec(&request.exec_id, program, request.terminal, stdin)
            .map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }

    async fn delete(&self, _: &TtrpcContext, request: DeleteRequest) -> ttrpc::Result<DeleteResponse> {
        let deleted = self.of(&request.id)?.delete(&request.exec_id).await;
        let (pid, exit) = deleted.map_err(|refusal| rpc_error(&refusal))?;
        Ok(DeleteResponse {
            pid: unsigned(pid),
            exit_status: unsigned(exit.code),
            exited_at: timestamp(exit),
            ..DeleteResponse::default()
        })
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        let signal = i32::try_from(request.signal).map_err(invalid)?;
        let killed = self.of(&request.id)?.kill(&request.exec_id, signal, request.all).await;
        killed.map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let exit =
            self.of(&request.id)?.wait(&request.exec_id).await.map_err(|refusal| rpc_error(&refusal))?;
        Ok(WaitResponse {
            exit_status: unsigned(exit.code),
            exited_at: timestamp(exit),
            ..WaitResponse::default()
        })
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        let processes = self.of(&request.id)?.processes().await.map_err(|refusal| rpc_error(&refusal))?;
        let processes = processes
            .iter()
            .map(|process| ProcessInfo { pid: unsigned(process.pid), ..ProcessInfo::default() })
            .collect();
        Ok(PidsResponse { processes, ..PidsResponse::default() })
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        self.of(&request.id)?.set_paused(true).await.map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        self.of(&request.id)?.set_paused(false).await.map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let limits = serde_json::from_slice(&request.resources.value).map_err(invalid)?;
        self.of(&request.id)?.limit(&limits).await.map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> ttrpc::Result<Empty> {
        let size = WindowSize {
            height: u16::try_from(request.height).map_err(invalid)?,
            width: u16::try_from(request.width).map_err(invalid)?,
        };
        let resized = self.of(&request.id)?.resize(&request.exec_id, size).await;
        resized.map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        let container = self.of(&request.id)?;
        if request.stdin {
            container.close_input(&request.exec_id).await.map_err(|refusal| rpc_error(&refusal))?;
        }
        Ok(Empty::new())
    }

    async fn connect(&self, _: &TtrpcContext, request: ConnectRequest) -> ttrpc::Result<ConnectResponse> {
        let task = self.of(&request.id)?.status("").map_err(|refusal| rpc_error(&refusal))?;
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: unsigned(task.pid),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ConnectResponse::default()
        })
    }

    async fn shutdown(&self, _: &TtrpcContext, request: ShutdownRequest) -> ttrpc::Result<Empty> {
        let container = self.of(&request.id)?;
        container.request_shutdown(request.now).await.map_err(|refusal| rpc_error(&refusal))?;
        Ok(Empty::new())
    }
}
