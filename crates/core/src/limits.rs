//! Every limit of the background manager, in one place.
//!
//! `initialize` reports them to clients; `docs/protocol.md` lists them for people.

use std::time::Duration;

/// Bytes of the beginning and end of an output in a notification (docs/protocol.md, "Objects").
pub const PREVIEW_BYTES: usize = 4_096;
/// Default bytes of output in `task/check` (docs/protocol.md, "Methods").
pub const CHECK_TAIL_BYTES: u64 = 4_096;
/// Maximum bytes of output in one reply; a request for more is cut to it, and the reply says where to read on.
pub const READ_BYTES_MAX: u64 = 4 << 20;
/// Default bytes of `task/read` (docs/protocol.md, "Methods").
pub const READ_BYTES: u64 = 65_536;
/// Maximum bytes of one `task/output` push: 64 KiB (docs/protocol.md, "Pushes"), less the up to 3 bytes of an
/// incomplete UTF-8 character held back from the push before.
pub const PUSH_BYTES: u64 = 65_536 - 3;
/// Minimum time between two `task/output` pushes of a task: 20 a second (docs/protocol.md, "Pushes").
pub const PUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Minimum time between two progress reports of a task: editors redraw at each of them.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Default number of tasks in a list by `task/check` (docs/protocol.md, "Methods").
pub const LIST_LIMIT: u32 = 100;
/// Maximum number of tasks in one list.
pub const LIST_LIMIT_MAX: u32 = 10_000;
/// Default number of notifications in a `task/drain` (docs/protocol.md, "Methods").
pub const DRAIN_MAX: u32 = 100;
/// Maximum number of notifications in one drain: at 4 096 bytes of preview each, about 8 MB.
pub const DRAIN_MAX_MAX: u32 = 1_000;
/// Default timeout of `task/wait` (docs/protocol.md, "Methods").
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait in a tool call from a host: hosts abandon a call after 60 s.
pub const TOOL_WAIT_MAX: Duration = Duration::from_secs(50);
/// How long a host's hook waits for tasks at the end of a turn: a minute less than the timeout that `meanwhile
/// setup` writes for it.
pub const HOOK_WAIT_MAX: Duration = Duration::from_secs(3_540);
/// Default time between the signal of a stop and SIGKILL (docs/protocol.md, "Methods").
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// Longest grace period of a stop: an hour. With a longer one, the stop would not stop the task.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(3_600);
/// Default time that a task outlives the last daemon of its workspace (docs/protocol.md, "Lifecycle").
pub const LINGER: Duration = Duration::from_secs(3_600);
/// Longest deadline, linger time or wait: a year, well within what the system calls' clocks accept.
pub const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Maximum number of tasks that run at once in one workspace.
pub const RUNNING_MAX: usize = 4_096;
/// Read-only calls of an agent that run at the same time. Further calls wait for all of these.
pub const LOOKS_AT_ONCE: usize = 8;
/// How many ended steps of agents' turns a workspace keeps, enough to show a day's work in a session. They are
/// counted apart from the tasks that `keep_count` limits.
pub const STEPS_KEPT: u32 = 500;
/// Maximum bytes of a command. The kernel accepts 128 KiB per argument (`MAX_ARG_STRLEN`, execve(2)).
pub const COMMAND_BYTES: usize = 128 * 1024 - 1;
/// Maximum bytes of all arguments, and of the whole environment; execve(2) allows a quarter of the stack limit.
pub const ARGUMENTS_BYTES: usize = 1 << 20;
/// Maximum number of rules in a confined task's plan. On a busy machine with two cores each took 5 µs of
/// processor time, on top of 1.4 ms for an empty plan and 0.8 ms for an unconfined spawn: 500 take 4 ms, 2 000
/// would take 11 ms. The agent asks a person before it runs a command that needs more.
pub const CONFINE_RULES_MAX: usize = 500;
/// Maximum number of entries of a workspace that are searched for files that may hold keys: a tenth of a second.
pub const CONFINE_WALK_MAX: usize = 100_000;
/// Maximum bytes of a label, a queue's name, a client token or a watch's id.
pub const NAME_BYTES: usize = 256;
/// Maximum number of watches of one task.
pub const WATCHES_MAX: usize = 16;
/// Maximum bytes of a watch's pattern.
pub const PATTERN_BYTES: usize = 1_024;
/// Default number of notifications that one watch makes.
pub const WATCH_LIMIT: u32 = 1;
/// Maximum number of notifications that one watch makes.
pub const WATCH_LIMIT_MAX: u32 = 1_000;
/// Maximum bytes of a matched line in a notification.
pub const MATCH_LINE_BYTES: usize = 1_024;
/// Maximum bytes of one `task/write`.
pub const WRITE_BYTES: usize = 8 << 20;
/// Maximum number of requests of one connection that wait for something external at once; a further one is refused with
/// -32000 and may be sent again (docs/protocol.md, "Guarantees", 8: no other request is refused for this
/// reason).
pub const WAITING_REQUESTS_MAX: usize = 1_024;
/// Maximum number of tasks that one task may wait for. Its shim watches each of them.
pub const AFTER_MAX: usize = 64;
/// Maximum number of ids in one `task/wait` or `task/remove`.
pub const IDS_MAX: usize = 10_000;
/// Free bytes that the state directory's disk must have for a spawn: room for the records and ledger entries of
/// the running tasks.
pub const FREE_MIN: u64 = 256 << 10;
/// Maximum rows or columns of a terminal (`struct winsize` has 16 bits; no screen has more than this).
pub const PTY_SIDE_MAX: u16 = 4_096;
/// How long a prompt of the Agent Client Protocol is held open for background tasks: half of the hour that a
/// task may run with no daemon attached, and longer than the builds that a person waits for.
pub const PROMPT_HOLD: Duration = Duration::from_secs(1_800);
/// Most MCP servers of one session.
pub const SERVERS_MAX: usize = 32;
/// How long an MCP server may take until its tools are known: a program that is downloaded first takes some 20
/// s.
pub const SERVER_START: Duration = Duration::from_secs(30);
/// How long a call of an MCP server's tool may take. A person may cancel it earlier.
pub const SERVER_CALL: Duration = Duration::from_secs(600);
/// How long an MCP server may take to list its tools again after they changed: a model call waits for the list.
pub const SERVER_LIST_AGAIN: Duration = Duration::from_secs(10);
/// Maximum bytes of one message from an MCP server: enough for an image of 3 MB, and parsed in some 20 ms.
pub const SERVER_MESSAGE_BYTES: usize = 4 << 20;
/// Maximum number of tools of all MCP servers of a session: OpenAI accepts 128 in a request, and the agent's own are a
/// dozen.
pub const SERVER_TOOLS: usize = 112;
/// Maximum bytes of the names, descriptions and schemas of all these tools. Every request to the model carries
/// them; at four bytes a token they fill a quarter of a window of 200 000 tokens.
pub const SERVER_LIST_BYTES: usize = 192 << 10;
/// Maximum bytes of the description of an MCP server's tool: OpenAI accepts this many characters.
pub const SERVER_DESCRIPTION_BYTES: usize = 1_024;
/// Maximum bytes of one image of a prompt, in Base64: Anthropic's limit.
pub const IMAGE_BYTES: usize = 5 << 20;
/// Maximum number of images of one prompt.
pub const IMAGES_MAX: usize = 20;
/// Maximum bytes of the images of one conversation since its last summary: each request carries all of them, and
/// Anthropic accepts 32 MB.
pub const IMAGES_BYTES: usize = 20 << 20;
