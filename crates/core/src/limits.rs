//! Every limit of the background manager, in one place.
//!
//! `initialize` shows them to clients; `docs/protocol.md` lists them for people.

use std::time::Duration;

/// Bytes of the two ends of an output in a notification (docs/protocol.md, "Objects").
pub const PREVIEW_BYTES: usize = 4_096;
/// Bytes of output `task/check` shows unless told (docs/protocol.md, "Methods").
pub const CHECK_TAIL_BYTES: u64 = 4_096;
/// Most bytes of output in one reply; a larger wish is cut to it and the reply says how far it went.
pub const READ_BYTES_MAX: u64 = 4 << 20;
/// Bytes `task/read` returns unless told (docs/protocol.md, "Methods").
pub const READ_BYTES: u64 = 65_536;
/// Most bytes of one `task/output` push: 64 KiB (docs/protocol.md, "Pushes"), less the 3 bytes of a
/// character's beginning that the push before may have held back.
pub const PUSH_BYTES: u64 = 65_536 - 3;
/// Shortest time between two `task/output` pushes of a task: 20 a second (docs/protocol.md, "Pushes").
pub const PUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest time between two progress reports of a task. Editors redraw at each.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Tasks `task/check` lists unless told (docs/protocol.md, "Methods").
pub const LIST_LIMIT: u32 = 100;
/// Most tasks one list returns.
pub const LIST_LIMIT_MAX: u32 = 10_000;
/// Notifications `task/drain` returns unless told (docs/protocol.md, "Methods").
pub const DRAIN_MAX: u32 = 100;
/// Most notifications one drain returns: at 4 096 bytes of preview each, about 8 MB.
pub const DRAIN_MAX_MAX: u32 = 1_000;
/// How long `task/wait` waits unless told (docs/protocol.md, "Methods").
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a tool call of a host waits at most: hosts give a call up after 60 s.
pub const TOOL_WAIT_MAX: Duration = Duration::from_secs(50);
/// How long a host's hook waits for tasks at the end of a turn: a minute less than the time-out that
/// `meanwhile setup` writes for it.
pub const HOOK_WAIT_MAX: Duration = Duration::from_secs(3_540);
/// How long a stopped tree has between the signal and SIGKILL unless told (docs/protocol.md, "Methods").
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// Longest grace: an hour. A longer one does not stop a task.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(3_600);
/// How long a task outlives the last daemon of its workspace unless told (docs/protocol.md, "Lifecycle").
pub const LINGER: Duration = Duration::from_secs(3_600);
/// Longest deadline, linger or wait: a year, well inside every clock the system calls take.
pub const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Tasks running at once in one workspace.
pub const RUNNING_MAX: usize = 4_096;
/// Calls of an agent that look and run at the same time. Those beyond wait for all of these.
pub const LOOKS_AT_ONCE: usize = 8;
/// Ended steps of agents' turns that a workspace keeps: what a session shows of a day's work. They are
/// counted apart from the tasks that `keep_count` keeps.
pub const STEPS_KEPT: u32 = 500;
/// Bytes of a command. The kernel takes 128 KiB an argument (`MAX_ARG_STRLEN`, execve(2)).
pub const COMMAND_BYTES: usize = 128 * 1024 - 1;
/// Bytes of all arguments and of the whole environment; execve(2) allows a quarter of the stack.
pub const ARGUMENTS_BYTES: usize = 1 << 20;
/// Rules of a confined task's plan. On a busy machine with two cores each took 5 µs of processor time, beside
/// 1.4 ms for a plan with none and 0.8 ms for a bare spawn: 500 are 4 ms, 2 000 would be 11 ms. A command that
/// needs more is asked about.
pub const CONFINE_RULES_MAX: usize = 500;
/// Entries of a workspace that are looked at for files that may hold keys: a tenth of a second.
pub const CONFINE_WALK_MAX: usize = 100_000;
/// Bytes of a label, a queue's name, a client token or a watch's id.
pub const NAME_BYTES: usize = 256;
/// Watches of one task.
pub const WATCHES_MAX: usize = 16;
/// Bytes of a watch's pattern.
pub const PATTERN_BYTES: usize = 1_024;
/// Notifications one watch makes unless told.
pub const WATCH_LIMIT: u32 = 1;
/// Most notifications one watch makes.
pub const WATCH_LIMIT_MAX: u32 = 1_000;
/// Bytes of a matched line that are told.
pub const MATCH_LINE_BYTES: usize = 1_024;
/// Bytes of one `task/write`.
pub const WRITE_BYTES: usize = 8 << 20;
/// Requests of one connection that wait at once for something outside; one more is refused with
/// -32000 and may be sent again (docs/protocol.md, "Guarantees", 8: none of the others is).
pub const WAITING_REQUESTS_MAX: usize = 1_024;
/// Tasks that one task is to follow. Its supervisor looks at each.
pub const AFTER_MAX: usize = 64;
/// Ids in one `task/wait` or `task/remove`.
pub const IDS_MAX: usize = 10_000;
/// Free bytes on the disk of the state directory without which no task is spawned: room for the
/// records and ledger entries of the tasks that run.
pub const FREE_MIN: u64 = 256 << 10;
/// Rows and columns of a terminal (`struct winsize` has 16 bits; no screen has more than this).
pub const PTY_SIDE_MAX: u16 = 4_096;
/// How long a prompt of the Agent Client Protocol is held open for background tasks: half of the hour that a
/// task may run with no daemon attached, and longer than builds that a person waits for.
pub const PROMPT_HOLD: Duration = Duration::from_secs(1_800);
/// MCP servers of one session.
pub const SERVERS_MAX: usize = 32;
/// How long an MCP server may take until its tools are known: programs that are downloaded first take some 20 s.
pub const SERVER_START: Duration = Duration::from_secs(30);
/// How long a call of an MCP server's tool may take. A person may cancel it before.
pub const SERVER_CALL: Duration = Duration::from_secs(600);
/// How long an MCP server may take to list its tools again that have changed: a model call waits for that.
pub const SERVER_LIST_AGAIN: Duration = Duration::from_secs(10);
/// Bytes of one message of an MCP server: an image of 3 MB, and some 20 ms to read it.
pub const SERVER_MESSAGE_BYTES: usize = 4 << 20;
/// Tools of all MCP servers of a session: OpenAI takes 128 in a request, of which the agent's own are a dozen.
pub const SERVER_TOOLS: usize = 112;
/// Bytes of the names, descriptions and schemas of all of them: every request to the model carries them, and a quarter
/// of a window of 200 000 tokens is for the work that is left.
pub const SERVER_LIST_BYTES: usize = 192 << 10;
/// Bytes of the description of an MCP server's tool: no more characters than OpenAI takes.
pub const SERVER_DESCRIPTION_BYTES: usize = 1_024;
/// Bytes of one image of a prompt in Base64: what Anthropic takes.
pub const IMAGE_BYTES: usize = 5 << 20;
/// Images of one prompt.
pub const IMAGES_MAX: usize = 20;
/// Bytes of the images of one conversation, since its last summary: each request carries all of them, and
/// Anthropic takes 32 MB.
pub const IMAGES_BYTES: usize = 20 << 20;
