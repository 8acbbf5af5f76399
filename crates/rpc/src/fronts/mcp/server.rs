//! Handles the requests that rmcp's service receives.

use std::sync::Arc;

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ContentBlock,
    CreateTaskResult, CustomRequest, CustomResult, ErrorCode, ErrorData, GetTaskParams,
    GetTaskResult, Implementation, JsonObject, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer};

use super::bridge::Afters;
use super::place::{self, Places};
use super::run::{self, Done};
use super::tools::{Call, INSTRUCTIONS, Tool};
use super::{sandbox, tasks};

/// The maximum number of characters of a name that an error quotes.
const NAME_CHARS: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Server {
    places: Arc<Places>,
}

impl Server {
    pub(super) fn new(places: Arc<Places>) -> Self {
        Self { places }
    }
}

type Context = RequestContext<RoleServer>;

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder().enable_tools().enable_tasks().build();
        let experimental = [(sandbox::STATE.to_owned(), JsonObject::new())];
        capabilities.experimental = Some(experimental.into_iter().collect());
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("meanwhile", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        let places = &self.places.options.store.places;
        let tools = Tool::ALL.into_iter().map(|tool| tool.listed(places));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        mut context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = Tool::named(&request.name) else {
            let name: String = request.name.chars().take(NAME_CHARS).collect();
            let message = format!("there is no tool `{name}`; tools/list names them");
            return Err(ErrorData::invalid_params(message, None));
        };
        if let Some(session) = request.arguments.as_mut().and_then(|it| it.remove(place::SESSION)) {
            context.meta.insert(place::SESSION.to_owned(), session);
        }
        let call = match Call::read(tool, request.arguments) {
            Ok(call) => call,
            // The model reads a tool's result, but only the host reads an error of the protocol.
            Err(error) => return Ok(failed(error.to_string())),
        };
        let after = Afters::of(&context.extensions);
        let wants_task = context.client_capabilities().is_some_and(|it| it.supports_tasks());
        let work = run::call(&self.places, call, Some(&context.meta), &after, wants_task);
        tokio::select! {
            biased;
            () = context.ct.cancelled() => Ok(failed("cancelled".to_owned())),
            done = work => Ok(match done {
                Ok(Done::Text(text)) => {
                    CallToolResult::success(vec![ContentBlock::text(text)]).into()
                }
                Ok(Done::Task(task)) => CreateTaskResult::new(tasks::seed(&task)).into(),
                Err(why) => {
                    // The notifications taken for this reply are not delivered with it, so give them back.
                    after.give_back();
                    failed(why)
                }
            }),
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: Context,
    ) -> Result<CustomResult, ErrorData> {
        let name: String = request.method.chars().take(NAME_CHARS).collect();
        let message = format!("there is no method `{name}`");
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None))
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: Context,
    ) -> Result<GetTaskResult, ErrorData> {
        let after = Afters::of(&context.extensions);
        tasks::get(&self.places, &context.meta, &request.task_id, &after)
            .await
            .map(GetTaskResult::new)
    }

    async fn update_task(&self, request: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        tasks::update(&self.places, &request.task_id).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: Context,
    ) -> Result<(), ErrorData> {
        tasks::cancel(&self.places, &context.meta, &request.task_id).await
    }
}

/// The result of a call that failed.
fn failed(why: String) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(why)]).into()
}
