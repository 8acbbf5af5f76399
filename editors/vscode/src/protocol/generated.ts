// Generated from docs/schema.json by `npm run generate`. Not to be edited.

/**
 * Where a task is in its life. The last four are ends.
 */
export type TaskState =
  'queued' | 'running' | 'stopping' | 'exited' | 'stopped' | 'timedOut' | 'lost';
/**
 * A moment: RFC 3339, UTC, with milliseconds.
 */
export type DateTime = string;
/**
 * Who may end a task.
 */
export type Actor = 'client' | 'agent' | 'deadline' | 'linger' | 'limit' | 'daemon' | 'dependency';
/**
 * What told an end to the owner of its queue.
 */
export type DeliveredBy = 'drain' | 'wait' | 'check';
/**
 * What a task is for that is not background work.
 */
export type TaskRole = 'step';
/**
 * How a task stands, of which a client has one icon and one colour each.
 */
export type Standing =
  'queued' | 'running' | 'stopping' | 'succeeded' | 'failed' | 'stopped' | 'timedOut' | 'lost';
/**
 * Result of `task/check`.
 */
export type CheckResult = OneTask | TaskList;
/**
 * What a notification tells.
 */
export type NotificationKind = 'exited' | 'matched' | 'stalled';
/**
 * How bytes are written as a JSON string.
 */
export type Encoding = 'utf8' | 'base64';
/**
 * A piece of a timeline. No two have one key.
 */
export type Piece =
  | {
      type: 'lane';
      /**
       * `agent`, `queue`, or the id of a task.
       */
      key: string;
      kind: LaneKind;
      /**
       * What it is called.
       */
      label: string;
      look?: Look;
      /**
       * Its task.
       */
      taskId?: string;
    }
  | {
      type: 'segment';
      /**
       * Its key.
       */
      key: string;
      /**
       * The key of its lane.
       */
      lane: string;
      kind: SegmentKind;
      look: Look;
      from: DateTime;
      to?: DateTime;
      /**
       * Which of those side by side, from 0.
       */
      row: number;
      /**
       * What it is called.
       */
      label: string;
      /**
       * What else is known of it, a line each.
       */
      says: string[];
      /**
       * Its task.
       */
      taskId?: string;
      /**
       * Its model call.
       */
      call?: number;
    }
  | {
      type: 'mark';
      /**
       * Its key.
       */
      key: string;
      /**
       * The key of its lane.
       */
      lane: string;
      kind: MarkKind;
      at: DateTime;
      /**
       * What it is called.
       */
      label: string;
      /**
       * What else is known of it, a line each.
       */
      says: string[];
      /**
       * Its model call.
       */
      call?: number;
    }
  | {
      type: 'arrow';
      /**
       * Its key.
       */
      key: string;
      /**
       * The key of the lane it leaves.
       */
      from: string;
      /**
       * The key of the lane it points to.
       */
      to: string;
      at: DateTime;
      /**
       * The task.
       */
      taskId: string;
    }
  | {
      type: 'gap';
      /**
       * Its key.
       */
      key: string;
      from: DateTime;
      to: DateTime;
      /**
       * Its length in words.
       */
      label: string;
    };
/**
 * What a lane shows.
 */
export type LaneKind = 'agent' | 'queue' | 'task';
/**
 * How a piece is drawn: what it is, or for a task that has ended, what ended it.
 */
export type Look =
  | 'turn'
  | 'call'
  | 'tool'
  | 'asks'
  | 'queued'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'stopped'
  | 'stoppedByAgent'
  | 'timedOut'
  | 'limited'
  | 'skipped'
  | 'lost'
  | 'result'
  | 'enters';
/**
 * What a stretch of time is.
 */
export type SegmentKind = 'turn' | 'call' | 'tool' | 'asks' | 'line' | 'task' | 'result';
/**
 * What happened at a moment.
 */
export type MarkKind = 'enters' | 'compacted' | 'resumed';
/**
 * A unique identifier for a conversation session between a client and agent.
 */
export type SessionId = string;
/**
 * Unique identifier for a Session Mode.
 */
export type SessionModeId = string;
/**
 * A session configuration option selector and its current state.
 */
export type SessionConfigOption = {
  id: SessionConfigId;
  /**
   * Human-readable label for the option.
   */
  name: string;
  /**
   * Optional description for the Client to display to the user.
   */
  description?: string;
  category?: SessionConfigOptionCategory;
  _meta?: Meta;
} & SessionConfigOption1;
/**
 * Unique identifier for a session configuration option.
 */
export type SessionConfigId = string;
/**
 * Semantic category for a session configuration option.
 */
export type SessionConfigOptionCategory =
  'mode' | 'model' | 'model_config' | 'thought_level' | string;
export type SessionConfigOption1 =
  | (SessionConfigSelect & {
      type: 'select';
    })
  | (SessionConfigBoolean & {
      type: 'boolean';
    });
/**
 * Unique identifier for a session configuration option value.
 */
export type SessionConfigValueId = string;
/**
 * Possible values for a session configuration option.
 */
export type SessionConfigSelectOptions = SessionConfigSelectOption[] | SessionConfigSelectGroup[];
/**
 * Unique identifier for a session configuration option value group.
 */
export type SessionConfigGroupId = string;
/**
 * Reasons why an agent stops processing a prompt turn.
 */
export type StopReason = 'end_turn' | 'max_tokens' | 'max_turn_requests' | 'refusal' | 'cancelled';
/**
 * A fact about a session.
 */
export type TraceEvent = {
  /**
   * Its number, ascending within the session, from 1.
   */
  n: number;
  at: DateTime;
} & TraceEvent1;
export type TraceEvent1 =
  | {
      type: 'turn_started';
      /**
       * The turn.
       */
      turn: number;
      origin: TurnOrigin;
      /**
       * The beginning of the prompt.
       */
      title?: string;
    }
  | {
      type: 'call_started';
      /**
       * The turn.
       */
      turn: number;
      /**
       * The model call.
       */
      call: number;
    }
  | {
      type: 'call_ended';
      /**
       * The turn.
       */
      turn: number;
      /**
       * The model call.
       */
      call: number;
      /**
       * Why the model stopped.
       */
      stopReason?: string;
      /**
       * Why the call failed.
       */
      error?: string;
      /**
       * Tokens of the request.
       */
      inputTokens?: number;
      /**
       * Tokens of the answer.
       */
      outputTokens?: number;
      /**
       * Tokens of the request that came from the provider's cache.
       */
      cachedTokens?: number;
      /**
       * US dollars, where the price is known.
       */
      costUsd?: number;
    }
  | {
      type: 'tool_started';
      /**
       * The model call whose answer asked for it.
       */
      call: number;
      /**
       * The call of the tool.
       */
      toolCallId: string;
      /**
       * The tool.
       */
      name: string;
      /**
       * What a person is shown.
       */
      title: string;
    }
  | {
      type: 'tool_ended';
      /**
       * The call of the tool.
       */
      toolCallId: string;
      /**
       * It failed.
       */
      isError: boolean;
    }
  | {
      type: 'task_spawned';
      /**
       * The model call whose answer asked for it.
       */
      call: number;
      /**
       * The call of the tool.
       */
      toolCallId: string;
      /**
       * The task.
       */
      taskId: string;
      /**
       * The command.
       */
      command: string;
      /**
       * It began in the foreground.
       */
      moved: boolean;
    }
  | {
      type: 'delivered';
      /**
       * The model call whose request carries it.
       */
      call: number;
      /**
       * The task.
       */
      taskId: string;
      /**
       * Its number in the session's queue, where it came from there.
       */
      seq?: number;
      kind: NotificationKind;
      by: DeliveredBy;
    }
  | {
      type: 'turn_ended';
      /**
       * The turn.
       */
      turn: number;
      /**
       * Why.
       */
      stopReason: string;
      /**
       * What went wrong.
       */
      error?: string;
    }
  | {
      type: 'compacted';
      /**
       * The model call that wrote it.
       */
      call?: number;
    }
  | {
      type: 'resumed';
    };
/**
 * Who began a turn.
 */
export type TurnOrigin = 'prompt' | 'background';
/**
 * Whether a process has a session open.
 */
export type Holder = 'open' | 'closed' | 'gone' | 'deleted';
/**
 * Different types of updates that can be sent during session processing.
 */
export type SessionUpdate =
  | (ContentChunk & {
      sessionUpdate: 'user_message_chunk';
    })
  | (ContentChunk & {
      sessionUpdate: 'agent_message_chunk';
    })
  | (ContentChunk & {
      sessionUpdate: 'agent_thought_chunk';
    })
  | (ToolCall & {
      sessionUpdate: 'tool_call';
    })
  | (ToolCallUpdate & {
      sessionUpdate: 'tool_call_update';
    })
  | (Plan & {
      sessionUpdate: 'plan';
    })
  | (AvailableCommandsUpdate & {
      sessionUpdate: 'available_commands_update';
    })
  | (CurrentModeUpdate & {
      sessionUpdate: 'current_mode_update';
    })
  | (ConfigOptionUpdate & {
      sessionUpdate: 'config_option_update';
    })
  | (SessionInfoUpdate & {
      sessionUpdate: 'session_info_update';
    })
  | (UsageUpdate & {
      sessionUpdate: 'usage_update';
    })
  | (Notice & {
      sessionUpdate: 'notice';
    })
  | (CompactionUpdate & {
      sessionUpdate: 'compaction_update';
    })
  | (CompactionSummaryChunk & {
      sessionUpdate: 'compaction_summary_chunk';
    });
/**
 * Content blocks represent displayable information in the Agent Client Protocol.
 */
export type ContentBlock =
  | (TextContent & {
      type: 'text';
    })
  | (ImageContent & {
      type: 'image';
    })
  | (AudioContent & {
      type: 'audio';
    })
  | (ResourceLink & {
      type: 'resource_link';
    })
  | (EmbeddedResource & {
      type: 'resource';
    });
/**
 * The sender or recipient of messages and data in a conversation.
 */
export type Role = 'assistant' | 'user';
/**
 * Resource content that can be embedded in a message.
 */
export type EmbeddedResourceResource = TextResourceContents | BlobResourceContents;
/**
 * Unique identifier for a message within a session.
 */
export type MessageId = string;
/**
 * Unique identifier for a tool call within a session.
 */
export type ToolCallId = string;
/**
 * Categories of tools that can be invoked.
 */
export type ToolKind =
  | 'read'
  | 'edit'
  | 'delete'
  | 'move'
  | 'search'
  | 'execute'
  | 'think'
  | 'fetch'
  | 'switch_mode'
  | 'other';
/**
 * Execution status of a tool call.
 */
export type ToolCallStatus = 'pending' | 'in_progress' | 'completed' | 'failed';
/**
 * Content produced by a tool call.
 */
export type ToolCallContent =
  | (Content & {
      type: 'content';
    })
  | (Diff & {
      type: 'diff';
    })
  | (Terminal & {
      type: 'terminal';
    });
/**
 * Typed identifier used for terminal values on the wire.
 */
export type TerminalId = string;
/**
 * Priority levels for plan entries.
 */
export type PlanEntryPriority = 'high' | 'medium' | 'low';
/**
 * Status of a plan entry in the execution flow.
 */
export type PlanEntryStatus = 'pending' | 'in_progress' | 'completed';
/**
 * The input specification for a command.
 */
export type AvailableCommandInput = UnstructuredCommandInput;
/**
 * Severity hint for a session notice.
 */
export type NoticeSeverity = 'info' | 'warning' | 'error' | string;
/**
 * Unique identifier for a context compaction within a session.
 */
export type CompactionId = string;
/**
 * Lifecycle state of a context compaction.
 */
export type CompactionStatus = 'in_progress' | 'completed' | 'failed' | 'cancelled' | string;
/**
 * What a turn did.
 */
export type TurnState = 'started' | 'ended';
/**
 * Unique identifier for a permission option.
 */
export type PermissionOptionId = string;
/**
 * The type of permission option being presented to the user.
 */
export type PermissionOptionKind = 'allow_once' | 'allow_always' | 'reject_once' | 'reject_always';
/**
 * How far a task is confined.
 */
export type ConfineMode = 'look' | 'work';
/**
 * Who says what no person said.
 */
export type OwnOrigin = 'background' | 'notice';
/**
 * The codes of the protocol, beyond JSON-RPC's and LSP's own.
 */
export type Code =
  | 'unknownTask'
  | 'spawnFailed'
  | 'limitReached'
  | 'notRunning'
  | 'storeUnavailable'
  | 'noModel'
  | 'permissionDenied'
  | 'modelFailed'
  | 'cannotConfine'
  | 'invalidParams'
  | 'serverOverloaded';
/**
 * What to run: a line for `/bin/sh -c`, or a program with its arguments, executed as is.
 */
export type CommandParam = string | [string, ...string[]];
/**
 * Where a task's standard input comes from.
 */
export type StdinParam = 'null' | 'pipe';
/**
 * What becomes of a task where one that it is to follow fails.
 */
export type OnFailureParam = 'run' | 'skip';
/**
 * A progress token of the Language Server Protocol: an integer or a string.
 */
export type ProgressToken = number | string;
/**
 * How drained notifications are acknowledged.
 */
export type AckMode = 'auto' | 'manual';
/**
 * When a wait is over.
 */
export type WaitMode = 'any' | 'all';
/**
 * A signal: by its name, with or without `SIG`, or by its number.
 */
export type SignalParam = string | number;
/**
 * Which of a task's processes get a signal.
 */
export type RecipientParam = 'group' | 'leader';
/**
 * Configuration for connecting to an MCP (Model Context Protocol) server.
 */
export type McpServer =
  | (McpServerHttp & {
      type: 'http';
    })
  | (McpServerSse & {
      type: 'sse';
    })
  | McpServerStdio;
export type SetSessionConfigOptionRequest =
  | {
      type: 'boolean';
      /**
       * The boolean value.
       */
      value: boolean;
    }
  | {
      value: SessionConfigValueId;
    };
/**
 * The outcome of a permission request.
 */
export type RequestPermissionOutcome =
  | {
      outcome: 'cancelled';
    }
  | (SelectedPermissionOutcome & {
      outcome: 'selected';
    });
/**
 * A state of a task that came after the first release.
 */
export type NewState = 'queued' | 'unknown';
/**
 * What a client that asks for it is told.
 */
export type NewKind = 'began' | 'timeline' | 'unknown';

/**
 * Additional metadata; nothing may be assumed of its values.
 */
export interface Meta {
  [k: string]: unknown | undefined;
}
/**
 * A result that shows one task: of `task/spawn` and `task/stop`.
 */
export interface TaskResult {
  task: Task;
}
/**
 * One background command, as it stands at a moment.
 */
export interface Task {
  /**
   * 8 lowercase hex digits, unique in the store.
   */
  id: string;
  /**
   * The workspace it belongs to, an absolute path.
   */
  workspace: string;
  /**
   * Where its notifications go, fixed at spawn.
   */
  queue: string;
  /**
   * What its owner calls it.
   */
  label?: string;
  /**
   * The command as given; an argv is shown shell-quoted.
   */
  command: string;
  /**
   * The directory it was started in.
   */
  cwd: string;
  /**
   * The leader; also its process group.
   */
  pid?: number;
  state: TaskState;
  queued?: Queued;
  exit?: Exit;
  cause?: Cause;
  createdAt: DateTime;
  endedAt?: DateTime;
  /**
   * How long it ran, on the monotonic clock.
   */
  durationMs?: number;
  /**
   * How long it may run.
   */
  deadlineMs?: number;
  output: Output;
  progress?: Progress;
  /**
   * Descendants that were alive after the leader ended.
   */
  survivors?: Survivor[];
  delivered?: Delivered;
  /**
   * Its spawn said that it is a server.
   */
  service?: boolean;
  /**
   * The TCP ports its processes listen on, ascending, as of the last look.
   */
  ports?: number[];
  /**
   * It serves: such a port has stood for 300 ms, or a watch matched.
   */
  ready?: boolean;
  /**
   * It reads its terminal or its input, and has been silent for 15 s.
   */
  waitsForInput?: boolean;
  /**
   * A session of an agent started it: its queue is the session's.
   */
  agent?: boolean;
  role?: TaskRole;
  /**
   * The place where it runs, if that is not this machine. `cwd` and `pid` are the place's.
   */
  on?: string;
  contact?: Contact;
  shown: Shown;
}
/**
 * What a task waits for.
 */
export interface Queued {
  since: DateTime;
  reason: QueuedReason;
  /**
   * Its place among those that wait for the slot, from 1.
   */
  position?: number;
  /**
   * About how long it still waits, in milliseconds, by how long commands took before.
   */
  leftMs?: number;
}
/**
 * What there is to wait for.
 */
export interface QueuedReason {
  /**
   * The slot.
   */
  slot?: string;
  /**
   * The task right ahead, which holds the slot or waits for it. It may be another workspace's.
   */
  behind?: string;
  /**
   * That one's label, or else its command, on one line and shortened.
   */
  title?: string;
  /**
   * Tasks that end first.
   */
  after?: string[];
  /**
   * The place that is to take it.
   */
  place?: string;
}
/**
 * The leader's wait status. Both are null where it is not known.
 */
export interface Exit {
  /**
   * The exit code, if it exited.
   */
  code: number | null;
  /**
   * The signal's name (`SIGKILL`), if a signal ended it.
   */
  signal: string | null;
}
/**
 * Who ended a task, and why.
 */
export interface Cause {
  actor: Actor;
  /**
   * Why, for people.
   */
  message: string;
}
/**
 * How much a task has written, in bytes.
 */
export interface Output {
  /**
   * Bytes written so far.
   */
  total: number;
  /**
   * Bytes of these that are no longer kept.
   */
  dropped: number;
}
/**
 * How far a task says it is.
 */
export interface Progress {
  /**
   * 0 to 100.
   */
  percent?: number;
  /**
   * The last line that spoke of progress.
   */
  message?: string;
}
/**
 * A descendant alive after its task's leader ended.
 */
export interface Survivor {
  /**
   * Its process id.
   */
  pid: number;
  /**
   * Its command line, cut to 200 bytes.
   */
  command: string;
}
/**
 * When and how an end reached the owner of its queue.
 */
export interface Delivered {
  at: DateTime;
  by: DeliveredBy;
  /**
   * The agent's turn that saw it.
   */
  turn?: number;
}
/**
 * That a place cannot be reached.
 */
export interface Contact {
  lostSince: DateTime;
  /**
   * Why, in the words of the program that is to reach it.
   */
  reason: string;
  /**
   * A person has to sign in, or to accept a key: `meanwhile place connect NAME`.
   */
  needsYou?: boolean;
}
/**
 * A task in words, so that every client tells the same: what is shown, and nothing to decide.
 */
export interface Shown {
  /**
   * Its label, else its command, on one line of at most 240 bytes, without control characters.
   */
  title: string;
  outcome: Standing;
  /**
   * How it stands: `running`, `queued, 2nd for build`, `exit 1`, `stopped by client`.
   */
  stands: string;
  /**
   * Its end as the rest of a sentence that begins with the title: `exited 1 after 4.0s`.
   */
  ended?: string;
  /**
   * How long it ran, once it has ended: `1m 32s`.
   */
  took?: string;
}
/**
 * One task and the end of its output.
 */
export interface OneTask {
  task: Task;
  tail: TailText;
}
/**
 * The end of an output, as text; bytes that are not UTF-8 show as U+FFFD.
 */
export interface TailText {
  /**
   * The text.
   */
  text: string;
  /**
   * Where it starts in the output.
   */
  offset: number;
}
/**
 * Tasks: running first, then newest.
 */
export interface TaskList {
  /**
   * The tasks.
   */
  tasks: Task[];
}
/**
 * Result of `task/drain`.
 */
export interface DrainResult {
  /**
   * Oldest first.
   */
  notifications: Notification[];
  /**
   * How many are left in the queue.
   */
  remaining: number;
}
/**
 * Something the owner of a queue is told, once.
 */
export interface Notification {
  /**
   * Gapless and ascending within its queue, from 1.
   */
  seq: number;
  /**
   * The queue.
   */
  queue: string;
  kind: NotificationKind;
  at: DateTime;
  task: Task;
  preview: Preview;
  match?: Match;
}
/**
 * The two ends of an output.
 */
export interface Preview {
  /**
   * The beginning.
   */
  head: string;
  /**
   * The end.
   */
  tail: string;
  /**
   * Bytes between the two that are left out.
   */
  omitted: number;
}
/**
 * A line that a watch matched.
 */
export interface Match {
  /**
   * The watch, as named at spawn.
   */
  id: string;
  /**
   * The line, cut to 1 024 bytes.
   */
  line: string;
  /**
   * Where the line starts in the output.
   */
  offset: number;
}
/**
 * Result of `task/ack`.
 */
export interface AckResult {
  /**
   * How many were acknowledged now.
   */
  acked: number;
}
/**
 * Result of `task/wait`.
 */
export interface WaitResult {
  /**
   * The tasks waited for, as they stand now, ended or not.
   */
  tasks: Task[];
  /**
   * The time was up before the wait was over.
   */
  timedOut: boolean;
}
/**
 * Result of `task/read`.
 */
export interface ReadResult {
  /**
   * The output.
   */
  data: string;
  encoding: Encoding;
  /**
   * Where `data` starts.
   */
  offset: number;
  /**
   * Where to read on.
   */
  nextOffset: number;
  /**
   * The task has ended and nothing comes after `nextOffset`.
   */
  eof: boolean;
  gap?: Gap;
}
/**
 * Output that was not retained: the bytes from `from` up to, not with, `to`.
 */
export interface Gap {
  /**
   * The first byte that is missing.
   */
  from: number;
  /**
   * The first byte that is there again.
   */
  to: number;
}
/**
 * A result that says nothing but that it worked.
 */
export interface Empty {}
/**
 * A timeline, whole.
 */
export interface Timeline {
  /**
   * Its pieces. Lanes stand in this order.
   */
  pieces: Piece[];
  /**
   * What each look means, in order. A legend has those that are there.
   */
  legend: LegendEntry[];
  /**
   * How many lanes of old tasks are left out.
   */
  leftOut: number;
  /**
   * Nothing has run in the workspace: this is what `meanwhile demo` did on another day.
   */
  recorded?: boolean;
}
/**
 * What a look means.
 */
export interface LegendEntry {
  look: Look;
  /**
   * In words.
   */
  label: string;
}
/**
 * Result of `task/remove`.
 */
export interface RemoveResult {
  /**
   * How many were removed.
   */
  removed: number;
}
/**
 * The places that are set up.
 */
export interface PlaceList {
  /**
   * By their names.
   */
  places: PlaceInfo[];
}
/**
 * A place where tasks run.
 */
export interface PlaceInfo {
  /**
   * Its name.
   */
  name: string;
  /**
   * The version of `meanwhile` there, once it has answered.
   */
  version?: string;
  contact?: Contact;
}
/**
 * Response from creating a new session.
 */
export interface NewSessionResponse {
  sessionId: SessionId;
  modes?: SessionModeState;
  /**
   * Initial session configuration options if supported by the Agent.
   */
  configOptions?: SessionConfigOption[];
  _meta?: Meta;
}
/**
 * The set of modes and the one currently active.
 */
export interface SessionModeState {
  currentModeId: SessionModeId;
  /**
   * The set of modes that the Agent can operate in
   */
  availableModes: SessionMode[];
  _meta?: Meta;
}
/**
 * A mode the agent can operate in.
 */
export interface SessionMode {
  id: SessionModeId;
  /**
   * Human-readable name shown for this protocol object.
   */
  name: string;
  /**
   * Optional human-readable details shown with this protocol object.
   */
  description?: string;
  _meta?: Meta;
}
/**
 * A single-value selector (dropdown) session configuration option payload.
 */
export interface SessionConfigSelect {
  currentValue: SessionConfigValueId;
  options: SessionConfigSelectOptions;
}
/**
 * A possible value for a session configuration option.
 */
export interface SessionConfigSelectOption {
  value: SessionConfigValueId;
  /**
   * Human-readable label for this option value.
   */
  name: string;
  /**
   * Optional description for this option value.
   */
  description?: string;
  _meta?: Meta;
}
/**
 * A group of possible values for a session configuration option.
 */
export interface SessionConfigSelectGroup {
  group: SessionConfigGroupId;
  /**
   * Human-readable label for this group.
   */
  name: string;
  /**
   * The set of option values in this group.
   */
  options: SessionConfigSelectOption[];
  _meta?: Meta;
}
/**
 * A boolean on/off toggle session configuration option payload.
 */
export interface SessionConfigBoolean {
  /**
   * The current value of the boolean option.
   */
  currentValue: boolean;
}
/**
 * Response from loading an existing session.
 */
export interface LoadSessionResponse {
  modes?: SessionModeState;
  /**
   * Initial session configuration options if supported by the Agent.
   */
  configOptions?: SessionConfigOption[];
  _meta?: Meta;
}
/**
 * Response from resuming an existing session.
 */
export interface ResumeSessionResponse {
  modes?: SessionModeState;
  /**
   * Initial session configuration options if supported by the Agent.
   */
  configOptions?: SessionConfigOption[];
  _meta?: Meta;
}
/**
 * Response from listing sessions.
 */
export interface ListSessionsResponse {
  /**
   * Array of session information objects
   */
  sessions: SessionInfo[];
  /**
   * Opaque cursor token. If present, pass this in the next request's cursor parameter
   * to fetch the next page. If absent, there are no more results.
   */
  nextCursor?: string;
  _meta?: Meta;
}
/**
 * Information about a session returned by session/list
 */
export interface SessionInfo {
  sessionId: SessionId;
  /**
   * The working directory for this session. Must be an absolute path.
   */
  cwd: string;
  /**
   * Additional workspace roots reported for this session. Each path must be absolute.
   */
  additionalDirectories?: string[];
  /**
   * Human-readable title for the session
   */
  title?: string;
  /**
   * ISO 8601 timestamp of last activity
   */
  updatedAt?: string;
  _meta?: Meta;
}
/**
 * Response from processing a user prompt.
 */
export interface PromptResponse {
  stopReason: StopReason;
  _meta?: Meta;
}
/**
 * Response from closing a session.
 */
export interface CloseSessionResponse {
  _meta?: Meta;
}
/**
 * Response from deleting a session.
 */
export interface DeleteSessionResponse {
  _meta?: Meta;
}
/**
 * Response to `session/set_config_option` method.
 */
export interface SetSessionConfigOptionResponse {
  /**
   * The full set of configuration options and their current values.
   */
  configOptions: SessionConfigOption[];
  _meta?: Meta;
}
/**
 * Response to `session/set_mode` method.
 */
export interface SetSessionModeResponse {
  _meta?: Meta;
}
/**
 * Result of `session/trace`.
 */
export interface TraceResult {
  /**
   * The session.
   */
  sessionId: string;
  /**
   * What happened, oldest first.
   */
  events: TraceEvent[];
  /**
   * Every task of the session, oldest first.
   */
  tasks: TraceTask[];
  /**
   * What to ask for with `after` next.
   */
  next: number;
  timeline?: Timeline;
}
/**
 * The way of one task through a session. Its bar is `spawnedAt` to `endedAt`; its result waits in
 * the queue from `queuedAt` to the start of the model call `deliveredInCall`.
 */
export interface TraceTask {
  /**
   * The task.
   */
  taskId: string;
  /**
   * The command.
   */
  command: string;
  /**
   * The call of the tool that started it.
   */
  toolCallId?: string;
  /**
   * The model call whose answer asked for it.
   */
  spawnedInCall?: number;
  spawnedAt: DateTime;
  endedAt?: DateTime;
  queuedAt?: DateTime;
  /**
   * The number of its end in the session's queue.
   */
  seq?: number;
  state: TaskState;
  exit?: Exit;
  cause?: Cause;
  /**
   * The model call whose request carried its end.
   */
  deliveredInCall?: number;
  deliveredBy?: DeliveredBy;
  shown: Shown;
}
/**
 * Result of `session/watch`, and parameters of `session/watched`: how a session that is watched stands.
 */
export interface Watched {
  /**
   * The session.
   */
  sessionId: string;
  holder: Holder;
  /**
   * That process, or the one that had it open and ended without closing it.
   */
  pid?: number;
  /**
   * What a person is asked there, oldest first: it can be answered there alone.
   */
  asks: OpenQuestion[];
}
/**
 * A question that a person is asked by another process.
 */
export interface OpenQuestion {
  /**
   * The call of a tool.
   */
  toolCallId: string;
  /**
   * What is asked, after "may the agent": `edit src/main.rs`.
   */
  question: string;
  /**
   * Why it is asked.
   */
  why: string;
}
/**
 * Parameters of `task/started`.
 */
export interface StartedPush {
  task: Task;
}
/**
 * Parameters of `task/began`.
 */
export interface BeganPush {
  task: Task;
  /**
   * How long it waited, in milliseconds.
   */
  waitedMs: number;
}
/**
 * Parameters of `task/output`.
 */
export interface OutputPush {
  /**
   * The task.
   */
  id: string;
  /**
   * Where `data` starts; a jump means that output was skipped, and `task/read` has it.
   */
  offset: number;
  /**
   * The output.
   */
  data: string;
  encoding: Encoding;
}
/**
 * Parameters of `task/progress`.
 */
export interface ProgressPush {
  /**
   * The task.
   */
  id: string;
  /**
   * 0 to 100.
   */
  percent?: number;
  /**
   * The last line that spoke of progress.
   */
  message?: string;
}
/**
 * Parameters of `task/listening`.
 */
export interface ListeningPush {
  /**
   * The task.
   */
  id: string;
  /**
   * The TCP ports its processes listen on, ascending.
   */
  ports: number[];
  /**
   * It serves: such a port has stood for 300 ms, or a watch matched.
   */
  ready: boolean;
}
/**
 * Parameters of `task/notified`: kinds `matched` and `stalled`.
 */
export interface NotifiedPush {
  notification: Notification;
}
/**
 * Parameters of `task/exited`: kind `exited`.
 */
export interface ExitedPush {
  notification: Notification;
}
/**
 * Parameters of `tasks/changed`: a full snapshot that replaces the one before.
 */
export interface Changed {
  /**
   * The tasks that run in the workspace.
   */
  running: string[];
  /**
   * How many notifications wait in each queue that has any.
   */
  undelivered: {
    [k: string]: number | undefined;
  };
}
/**
 * Notification containing a session update from the agent.
 */
export interface SessionNotification {
  sessionId: SessionId;
  update: SessionUpdate;
  _meta?: Meta;
}
/**
 * A streamed item of content
 */
export interface ContentChunk {
  content: ContentBlock;
  messageId?: MessageId;
  _meta?: Meta;
}
/**
 * Text provided to or from an LLM.
 */
export interface TextContent {
  /**
   * Optional annotations that help clients decide how to display or route this content.
   */
  annotations?: Annotations | null;
  /**
   * Text payload carried by this content block.
   */
  text: string;
  _meta?: Meta | null;
}
/**
 * Optional annotations for the client. The client can use annotations to inform how objects are used or displayed
 */
export interface Annotations {
  /**
   * Intended recipients for this content, such as the user or assistant.
   */
  audience?: Role[] | null;
  /**
   * Timestamp indicating when the underlying resource was last modified.
   */
  lastModified?: string | null;
  /**
   * Relative importance of this content when clients choose what to surface.
   */
  priority?: number | null;
  _meta?: Meta | null;
}
/**
 * An image provided to or from an LLM.
 */
export interface ImageContent {
  /**
   * Optional annotations that help clients decide how to display or route this content.
   */
  annotations?: Annotations | null;
  /**
   * Base64-encoded media payload.
   */
  data: string;
  /**
   * MIME type describing the encoded media payload.
   */
  mimeType: string;
  /**
   * URI associated with this resource or media payload.
   */
  uri?: string | null;
  _meta?: Meta | null;
}
/**
 * Audio provided to or from an LLM.
 */
export interface AudioContent {
  /**
   * Optional annotations that help clients decide how to display or route this content.
   */
  annotations?: Annotations | null;
  /**
   * Base64-encoded media payload.
   */
  data: string;
  /**
   * MIME type describing the encoded media payload.
   */
  mimeType: string;
  _meta?: Meta | null;
}
/**
 * A resource that the server is capable of reading, included in a prompt or tool call result.
 */
export interface ResourceLink {
  /**
   * Optional annotations that help clients decide how to display or route this content.
   */
  annotations?: Annotations | null;
  /**
   * Optional human-readable details shown with this protocol object.
   */
  description?: string | null;
  /**
   * MIME type describing the encoded media payload.
   */
  mimeType?: string | null;
  /**
   * Human-readable name shown for this protocol object.
   */
  name: string;
  /**
   * Optional size of the linked resource in bytes, if known.
   */
  size?: number | null;
  /**
   * Optional display title for end-user UI.
   */
  title?: string | null;
  /**
   * URI associated with this resource or media payload.
   */
  uri: string;
  _meta?: Meta | null;
}
/**
 * The contents of a resource, embedded into a prompt or tool call result.
 */
export interface EmbeddedResource {
  /**
   * Optional annotations that help clients decide how to display or route this content.
   */
  annotations?: Annotations | null;
  resource: EmbeddedResourceResource;
  _meta?: Meta | null;
}
/**
 * Text-based resource contents.
 */
export interface TextResourceContents {
  /**
   * MIME type describing the encoded media payload.
   */
  mimeType?: string | null;
  /**
   * Text payload carried by this content block.
   */
  text: string;
  /**
   * URI associated with this resource or media payload.
   */
  uri: string;
  _meta?: Meta | null;
}
/**
 * Binary resource contents.
 */
export interface BlobResourceContents {
  /**
   * Base64-encoded bytes for a binary resource payload.
   */
  blob: string;
  /**
   * MIME type describing the encoded media payload.
   */
  mimeType?: string | null;
  /**
   * URI associated with this resource or media payload.
   */
  uri: string;
  _meta?: Meta | null;
}
/**
 * Represents a tool call that the language model has requested.
 */
export interface ToolCall {
  toolCallId: ToolCallId;
  /**
   * Human-readable title describing what the tool is doing.
   */
  title: string;
  /**
   * Programmatic name of the tool being invoked.
   */
  name?: string;
  kind?: ToolKind;
  status?: ToolCallStatus;
  /**
   * Content produced by the tool call.
   */
  content?: ToolCallContent[];
  /**
   * File locations affected by this tool call.
   * Enables "follow-along" features in clients.
   */
  locations?: ToolCallLocation[];
  /**
   * Raw input parameters sent to the tool.
   */
  rawInput?: {
    [k: string]: unknown | undefined;
  };
  /**
   * Raw output returned by the tool.
   */
  rawOutput?: {
    [k: string]: unknown | undefined;
  };
  _meta?: Meta;
}
/**
 * Standard content block (text, images, resources).
 */
export interface Content {
  content: ContentBlock;
  _meta?: Meta;
}
/**
 * A diff representing file modifications.
 */
export interface Diff {
  /**
   * The absolute file path being modified.
   */
  path: string;
  /**
   * The original content (omitted or `null` for new files).
   */
  oldText?: string;
  /**
   * The new content after modification.
   */
  newText: string;
  _meta?: Meta;
}
/**
 * Embed a terminal created with `terminal/create` by its id.
 */
export interface Terminal {
  terminalId: TerminalId;
  _meta?: Meta;
}
/**
 * A file location being accessed or modified by a tool.
 */
export interface ToolCallLocation {
  /**
   * The absolute file path being accessed or modified.
   */
  path: string;
  /**
   * Optional 1-based line number within the file.
   */
  line?: number;
  _meta?: Meta;
}
/**
 * An update to an existing tool call.
 */
export interface ToolCallUpdate {
  toolCallId: ToolCallId;
  kind?: ToolKind;
  status?: ToolCallStatus;
  /**
   * Update the human-readable title.
   */
  title?: string;
  /**
   * Update the programmatic name of the tool being invoked.
   */
  name?: string;
  /**
   * Replace the content collection.
   */
  content?: ToolCallContent[];
  /**
   * Replace the locations collection.
   */
  locations?: ToolCallLocation[];
  /**
   * Update the raw input.
   */
  rawInput?: {
    [k: string]: unknown | undefined;
  };
  /**
   * Update the raw output.
   */
  rawOutput?: {
    [k: string]: unknown | undefined;
  };
  _meta?: Meta;
}
/**
 * An execution plan for accomplishing complex tasks.
 */
export interface Plan {
  /**
   * The list of tasks to be accomplished.
   */
  entries: PlanEntry[];
  _meta?: Meta;
}
/**
 * A single entry in the execution plan.
 */
export interface PlanEntry {
  /**
   * Human-readable description of what this task aims to accomplish.
   */
  content: string;
  priority: PlanEntryPriority;
  status: PlanEntryStatus;
  _meta?: Meta;
}
/**
 * Available commands are ready or have changed
 */
export interface AvailableCommandsUpdate {
  /**
   * Commands the agent can execute
   */
  availableCommands: AvailableCommand[];
  _meta?: Meta;
}
/**
 * Information about a command.
 */
export interface AvailableCommand {
  /**
   * Command name (e.g., `create_plan`, `research_codebase`).
   */
  name: string;
  /**
   * Human-readable description of what the command does.
   */
  description: string;
  input?: AvailableCommandInput;
  _meta?: Meta;
}
/**
 * All text that was typed after the command name is provided as input.
 */
export interface UnstructuredCommandInput {
  /**
   * A hint to display when the input hasn't been provided yet
   */
  hint: string;
  _meta?: Meta;
}
/**
 * The current mode of the session has changed
 */
export interface CurrentModeUpdate {
  currentModeId: SessionModeId;
  _meta?: Meta;
}
/**
 * Session configuration options have been updated.
 */
export interface ConfigOptionUpdate {
  /**
   * The full set of configuration options and their current values.
   */
  configOptions: SessionConfigOption[];
  _meta?: Meta;
}
/**
 * Update to session metadata. All fields are optional to support partial updates.
 */
export interface SessionInfoUpdate {
  /**
   * Human-readable title for the session. Set to null to clear.
   */
  title?: string;
  /**
   * ISO 8601 timestamp of last activity. Set to null to clear.
   */
  updatedAt?: string;
  _meta?: Meta;
}
/**
 * Context window and cost update for a session.
 */
export interface UsageUpdate {
  /**
   * Tokens currently in context.
   */
  used: number;
  /**
   * Total context window size in tokens.
   */
  size: number;
  cost?: Cost;
  _meta?: Meta;
}
/**
 * Cost information for a session.
 */
export interface Cost {
  /**
   * Total cumulative cost for session.
   */
  amount: number;
  /**
   * Unit of `amount`: an ISO 4217 currency code (e.g., "USD", "EUR") for money, or another
   * unit such as "credits".
   */
  currency: string;
  _meta?: Meta;
}
/**
 * Fire-and-forget information for the user.
 */
export interface Notice {
  severity: NoticeSeverity;
  /**
   * Required non-empty plain-text title that can stand alone.
   */
  title: string;
  /**
   * Optional plain-text detail or guidance.
   */
  description?: string;
  _meta?: Meta;
}
/**
 * A context compaction upsert. The first notification fixes the compaction's
 * timeline position. Later updates with the same ID patch that entity in place.
 * Agents MUST only send this update when the Client advertised
 * the `session.compaction` Client capability.
 */
export interface CompactionUpdate {
  compactionId: CompactionId;
  status: CompactionStatus;
  /**
   * Complete replacement user-displayable summary content for the compaction.
   */
  summary?: ContentBlock[];
  /**
   * Human-readable error details for the compaction.
   */
  error?: string;
  _meta?: Meta;
}
/**
 * A content block appended to a compaction's summary. A first-seen ID creates
 * an in-progress compaction. Chunks append in receive order.
 * Agents MUST only send this update when the Client advertised
 * the `session.compaction` Client capability.
 */
export interface CompactionSummaryChunk {
  compactionId: CompactionId;
  content: ContentBlock;
  _meta?: Meta;
}
/**
 * Parameters of `session/turn`: a turn began or ended.
 */
export interface TurnPush {
  /**
   * The session.
   */
  sessionId: string;
  /**
   * The turn, counted in the session from 1.
   */
  turn: number;
  state: TurnState;
  origin: TurnOrigin;
  stopReason?: StopReason;
  /**
   * What went wrong, and what to do.
   */
  error?: string;
  /**
   * Its end in a sentence for people, where that is not the ordinary one; not with `error`.
   */
  says?: string;
}
/**
 * Parameters of `session/retrying`: a model call failed and is made again. What it streamed so far
 * is void.
 */
export interface RetryingPush {
  /**
   * The session.
   */
  sessionId: string;
  /**
   * The number of the coming attempt.
   */
  attempt: number;
  /**
   * The model call whose answer is void: each `agent_message_chunk` and `agent_thought_chunk` that names
   * it, and nothing else.
   */
  call?: number;
  /**
   * How long until then.
   */
  delayMs: number;
  /**
   * What went wrong.
   */
  message: string;
  /**
   * All of it in a line for people.
   */
  says: string;
}
/**
 * Parameters of `session/traced`: a fact for the timeline, as it happens.
 */
export interface TracedPush {
  /**
   * The session.
   */
  sessionId: string;
  event: TraceEvent;
}
/**
 * Parameters of `session/timeline`: pieces that are new, or take the place of those of their keys.
 */
export interface TimelinePush {
  /**
   * The session.
   */
  sessionId: string;
  /**
   * The pieces. New lanes stand after those that are there.
   */
  pieces: Piece[];
}
/**
 * Request for user permission to execute a tool call.
 */
export interface RequestPermissionRequest {
  sessionId: SessionId;
  toolCall: ToolCallUpdate;
  /**
   * Available permission options for the user to choose from.
   */
  options: PermissionOption[];
  _meta?: Meta;
}
/**
 * An option presented to the user when requesting permission.
 */
export interface PermissionOption {
  optionId: PermissionOptionId;
  /**
   * Human-readable label to display to the user.
   */
  name: string;
  kind: PermissionOptionKind;
  _meta?: Meta;
}
/**
 * `capabilities.experimental.meanwhile` of the result.
 */
export interface Capability {
  /**
   * The version of the protocol.
   */
  protocolVersion: number;
  /**
   * The methods the server answers.
   */
  methods: string[];
  /**
   * The pushes the server sends.
   */
  notifications: string[];
  /**
   * What came after version 0.1.0: parameters as `method.parameter`, which a server that lacks one
   * refuses, and members of objects as `Object.member`.
   */
  features: string[];
  /**
   * How far `task/spawn` can confine a task on this machine. Empty: not at all.
   */
  confine: ConfineMode[];
  limits: Limits;
  /**
   * The environment variables that hold a key of a model. A task is given one only if its spawn
   * names it, so a client that passes its own environment on leaves these out.
   */
  secretVariables: string[];
  /**
   * What the store is called that this server works on; only for a client that gave its name (`client`).
   */
  store?: string;
  stateMoved?: StateMoved;
}
/**
 * The limits, in bytes, milliseconds or items.
 */
export interface Limits {
  /**
   * Bytes of one message in either direction.
   */
  messageBytes: number;
  /**
   * Requests that wait, at once.
   */
  waitingRequests: number;
  /**
   * Tasks running at once in one workspace.
   */
  runningTasks: number;
  /**
   * Bytes of a command, and of one argument of an argv.
   */
  commandBytes: number;
  /**
   * Bytes of all arguments and of the environment given.
   */
  argumentsBytes: number;
  /**
   * Bytes of a label, a queue's name, a client token or a watch's id.
   */
  nameBytes: number;
  /**
   * Watches of one task.
   */
  watches: number;
  /**
   * Bytes of a watch's pattern.
   */
  patternBytes: number;
  /**
   * Most notifications one watch makes.
   */
  watchLimit: number;
  /**
   * Bytes of both ends of an output in a notification.
   */
  previewBytes: number;
  /**
   * Bytes of a matched line.
   */
  matchLineBytes: number;
  /**
   * Most bytes of output in one reply.
   */
  readBytes: number;
  /**
   * Most bytes of one `task/output`.
   */
  pushBytes: number;
  /**
   * Shortest time between two `task/output` of a task.
   */
  pushIntervalMs: number;
  /**
   * Shortest time between two progress reports of a task.
   */
  progressIntervalMs: number;
  /**
   * Most tasks one `task/check` lists.
   */
  list: number;
  /**
   * Most notifications one `task/drain` returns.
   */
  drain: number;
  /**
   * Most ids in one request.
   */
  ids: number;
  /**
   * Bytes of one `task/write`.
   */
  writeBytes: number;
  /**
   * Longest grace of a stop.
   */
  stopGraceMs: number;
  /**
   * Longest deadline, linger time or wait.
   */
  timeMs: number;
  /**
   * Tasks that one task follows.
   */
  after: number;
  /**
   * Most rows or columns of a terminal.
   */
  ptySide: number;
}
/**
 * The state is kept elsewhere than usual.
 */
export interface StateMoved {
  /**
   * The directory it is in.
   */
  path: string;
  /**
   * The usual one.
   */
  from: string;
  /**
   * The file system of the usual one, as `nfs`.
   */
  fileSystem: string;
}
/**
 * What is ours in a `session/update`: its `_meta.meanwhile`.
 */
export interface Own {
  origin?: OwnOrigin;
  /**
   * The model call whose answer it is a part of, or whose request carries it.
   */
  call?: number;
  /**
   * The tasks of the results in a message.
   */
  taskIds?: string[];
  /**
   * These results as people are shown them, in the place of the message, whose words are a model's.
   */
  cards?: Card[];
  /**
   * A notice as people are shown it, in the place of the message.
   */
  shown?: string;
  /**
   * Of a usage: what people are shown.
   */
  says?: string;
  /**
   * The task that runs a tool's command.
   */
  taskId?: string;
  card?: Card;
  /**
   * That command is in the background. The text of its call is for the model alone.
   */
  background?: boolean;
  /**
   * How far the kernel confines it.
   */
  confined?: string;
}
/**
 * A result of a background task, as people are shown it where it enters a conversation.
 */
export interface Card {
  /**
   * The task.
   */
  taskId: string;
  kind: NotificationKind;
  /**
   * What the task is called.
   */
  title: string;
  /**
   * Its command, where it is called otherwise; on one line.
   */
  command?: string;
  outcome?: Standing;
  /**
   * How it ended, or what else happened: `exited 3 after 2.0s`.
   */
  says: string;
  /**
   * How its end came into the conversation: `ended during call 2, entered call 3, waited 786 ms`.
   */
  way?: string;
  /**
   * What of its output the model was shown.
   */
  output: string;
}
/**
 * What is ours in a `session/request_permission`: its `_meta.meanwhile`.
 */
export interface OwnQuestion {
  /**
   * The id of the request, which `$/cancelRequest` names: some libraries do not tell it.
   */
  request?: string;
  /**
   * What is asked, after "may the agent": `edit src/main.rs`.
   */
  question: string;
  /**
   * What a diff by lines does not show of the change that is asked about, a line each.
   */
  unseen?: string[];
}
/**
 * The `data` of an error.
 */
export interface ErrorData {
  kind: Code;
  /**
   * The system's error number, errno(3); with `spawnFailed`.
   */
  errno?: number;
  /**
   * The name of the limit; with `limitReached` and `serverOverloaded`.
   */
  limit?: string;
  /**
   * The parameter, as a path (`watch[0].pattern`); with `invalidParams`.
   */
  field?: string;
  /**
   * Whether the same request may succeed later, unchanged.
   */
  retryable?: boolean;
}
/**
 * Parameters of `task/spawn`.
 */
export interface SpawnParams {
  command: CommandParam;
  /**
   * The program that reads a `command` that is a string, as `SHELL -c LINE`; default `/bin/sh`.
   */
  shell?: string | null;
  /**
   * Where; relative to the workspace, default the workspace itself.
   */
  cwd?: string | null;
  /**
   * What to set, or with null to take out, of the environment inherited from the server.
   */
  env?: {
    [k: string]: string | null | undefined;
  };
  /**
   * What its owner calls it.
   */
  label?: string | null;
  /**
   * Where its notifications go; default the connection's queue.
   */
  queue?: string | null;
  /**
   * How long it may run; default for ever.
   */
  deadlineMs?: number | null;
  /**
   * Where its standard input comes from; default `null`. Not together with `pty`.
   */
  stdin?: StdinParam | null;
  /**
   * A terminal of this size for standard input, output and error.
   */
  pty?: PtyParam | null;
  /**
   * Patterns that make a notification of each line they match.
   */
  watch?: WatchParam[];
  /**
   * The same token in the same workspace returns the task already made.
   */
  clientToken?: string | null;
  /**
   * It is a server, which is not expected to end; default false.
   */
  service?: boolean;
  /**
   * How far it is confined; default not at all.
   */
  confine?: ConfineMode | null;
  /**
   * Whether it has the network although it is confined; only with `work`. Default false.
   */
  network?: boolean;
  /**
   * The slot it takes; default the one whose rules fit its command.
   */
  slot?: string | null;
  /**
   * Tasks of the workspace that are to end first.
   *
   * @maxItems 64
   */
  after?: string[];
  /**
   * What becomes of it where one of them ends otherwise than with code 0; default `skip`.
   */
  onFailure?: OnFailureParam | null;
  /**
   * How long it may wait for its turn; default for ever.
   */
  queueDeadlineMs?: number | null;
  /**
   * The place where it runs; default here.
   */
  on?: string | null;
  /**
   * The token of the `$/progress` that follows the task.
   */
  workDoneToken?: ProgressToken | null;
}
/**
 * The size of a terminal.
 */
export interface PtyParam {
  /**
   * Rows.
   */
  rows: number;
  /**
   * Columns.
   */
  cols: number;
}
/**
 * A pattern to watch the output for.
 */
export interface WatchParam {
  /**
   * Its name in the notification; default its place in the list, from 0.
   */
  id?: string | null;
  /**
   * A regular expression, matched line by line.
   */
  pattern: string;
  /**
   * How many notifications at most; default 1.
   */
  limit?: number | null;
}
/**
 * Parameters of `task/check`.
 */
export interface CheckParams {
  /**
   * The task to show; without it, tasks are listed.
   */
  id?: string | null;
  /**
   * Bytes of the end of the output to show with `id`; default 4 096.
   */
  tailBytes?: number | null;
  /**
   * Without `id`: only tasks in this state.
   */
  state?: TaskState | null;
  /**
   * Without `id`: how many at most; default 100.
   */
  limit?: number | null;
  /**
   * Without `id`: list the steps of agents' turns, too; default false.
   */
  steps?: boolean | null;
}
/**
 * Parameters of `task/drain`.
 */
export interface DrainParams {
  /**
   * The queue; default the connection's.
   */
  queue?: string | null;
  /**
   * How many at most; default 100.
   */
  max?: number | null;
  /**
   * Who acknowledges; default `auto`.
   */
  ack?: AckMode | null;
}
/**
 * Parameters of `task/ack`.
 */
export interface AckParams {
  /**
   * The queue; default the connection's.
   */
  queue?: string | null;
  /**
   * The highest `seq` that was taken in.
   */
  through: number;
}
/**
 * Parameters of `task/wait`: either `ids` or `queue`; neither waits on the connection's queue.
 */
export interface WaitParams {
  /**
   * The tasks to wait for.
   */
  ids?: string[] | null;
  /**
   * Wait for the tasks of this queue.
   */
  queue?: string | null;
  /**
   * When the wait is over; default `any`.
   */
  mode?: WaitMode | null;
  /**
   * How long at most; default 30 000.
   */
  timeoutMs?: number | null;
}
/**
 * Parameters of `task/read`.
 */
export interface ReadParams {
  /**
   * The task.
   */
  id: string;
  /**
   * Where to begin; default 0.
   */
  offset?: number | null;
  /**
   * How many bytes at most; default 65 536.
   */
  limit?: number | null;
  /**
   * How to write the bytes; default `utf8`.
   */
  encoding?: Encoding | null;
}
/**
 * Parameters of `task/stop`.
 */
export interface StopParams {
  /**
   * The task.
   */
  id: string;
  /**
   * The signal to begin with, by name; default `SIGTERM`.
   */
  signal?: string | null;
  /**
   * How long the tree has before SIGKILL; default 2 000.
   */
  graceMs?: number | null;
}
/**
 * Parameters of `task/restart`.
 */
export interface RestartParams {
  /**
   * The task.
   */
  id: string;
  /**
   * What to set, or with null to take out, of the environment it was started in.
   */
  env?: {
    [k: string]: string | null | undefined;
  };
  /**
   * How long the tree of one that runs has before SIGKILL; default 2 000.
   */
  graceMs?: number | null;
}
/**
 * Parameters of `task/signal`.
 */
export interface SignalParams {
  /**
   * The task.
   */
  id: string;
  signal: SignalParam;
  /**
   * Who gets it; default `group`.
   */
  to?: RecipientParam | null;
}
/**
 * Parameters of `task/resize`.
 */
export interface ResizeParams {
  /**
   * The task.
   */
  id: string;
  /**
   * Rows.
   */
  rows: number;
  /**
   * Columns.
   */
  cols: number;
}
/**
 * Parameters of `task/write`.
 */
export interface WriteParams {
  /**
   * The task.
   */
  id: string;
  /**
   * What to write; may be empty with `eof`.
   */
  data: string;
  /**
   * How `data` is to be read; default `utf8`.
   */
  encoding?: Encoding | null;
  /**
   * Close the task's standard input afterwards.
   */
  eof?: boolean | null;
}
/**
 * Parameters of `task/subscribe`.
 */
export interface SubscribeParams {
  /**
   * The task.
   */
  id: string;
  /**
   * Where to begin; default what is written from now on.
   */
  offset?: number | null;
}
/**
 * Parameters of `task/unsubscribe`. `offset` is accepted for symmetry and means nothing.
 */
export interface UnsubscribeParams {
  /**
   * The task.
   */
  id: string;
  /**
   * Means nothing here.
   */
  offset?: number | null;
}
/**
 * Parameters of `task/timeline`.
 */
export interface TimelineParams {}
/**
 * Parameters of `task/remove`: `ids`, `endedBefore`, or both.
 */
export interface RemoveParams {
  /**
   * These tasks; one that runs is left.
   */
  ids?: string[] | null;
  /**
   * Tasks that ended before this moment, RFC 3339.
   */
  endedBefore?: string | null;
}
/**
 * The parameters of `place/list`.
 */
export interface PlaceListParams {}
/**
 * Request parameters for creating a new session.
 */
export interface NewSessionRequest {
  /**
   * The working directory for this session. Must be an absolute path.
   */
  cwd: string;
  /**
   * Additional workspace roots for this session. Each path must be absolute.
   */
  additionalDirectories?: string[];
  /**
   * List of MCP (Model Context Protocol) servers the agent should connect to.
   */
  mcpServers: McpServer[];
  _meta?: Meta | null;
}
/**
 * HTTP transport configuration for MCP.
 */
export interface McpServerHttp {
  /**
   * Human-readable name identifying this MCP server.
   */
  name: string;
  /**
   * URL to the MCP server.
   */
  url: string;
  /**
   * HTTP headers to set when making requests to the MCP server.
   */
  headers: HttpHeader[];
  _meta?: Meta | null;
}
/**
 * An HTTP header to set when making requests to the MCP server.
 */
export interface HttpHeader {
  /**
   * The name of the HTTP header.
   */
  name: string;
  /**
   * The value to set for the HTTP header.
   */
  value: string;
  _meta?: Meta | null;
}
/**
 * SSE transport configuration for MCP.
 */
export interface McpServerSse {
  /**
   * Human-readable name identifying this MCP server.
   */
  name: string;
  /**
   * URL to the MCP server.
   */
  url: string;
  /**
   * HTTP headers to set when making requests to the MCP server.
   */
  headers: HttpHeader[];
  _meta?: Meta | null;
}
/**
 * Stdio transport configuration for MCP.
 */
export interface McpServerStdio {
  /**
   * Human-readable name identifying this MCP server.
   */
  name: string;
  /**
   * Absolute path to the MCP server executable.
   */
  command: string;
  /**
   * Command-line arguments to pass to the MCP server.
   */
  args: string[];
  /**
   * Environment variables to set when launching the MCP server.
   */
  env: EnvVariable[];
  _meta?: Meta | null;
}
/**
 * An environment variable to set when launching an MCP server.
 */
export interface EnvVariable {
  /**
   * The name of the environment variable.
   */
  name: string;
  /**
   * The value to set for the environment variable.
   */
  value: string;
  _meta?: Meta | null;
}
/**
 * Request parameters for loading an existing session.
 */
export interface LoadSessionRequest {
  /**
   * List of MCP servers to connect to for this session.
   */
  mcpServers: McpServer[];
  /**
   * The working directory for this session. Must be an absolute path.
   */
  cwd: string;
  /**
   * Additional workspace roots to activate for this session. Each path must be absolute.
   */
  additionalDirectories?: string[];
  sessionId: SessionId;
  _meta?: Meta | null;
}
/**
 * Request parameters for resuming an existing session.
 */
export interface ResumeSessionRequest {
  sessionId: SessionId;
  /**
   * The working directory for this session. Must be an absolute path.
   */
  cwd: string;
  /**
   * Additional workspace roots to activate for this session. Each path must be absolute.
   */
  additionalDirectories?: string[];
  /**
   * List of MCP servers to connect to for this session.
   */
  mcpServers?: McpServer[];
  _meta?: Meta | null;
}
/**
 * Request parameters for listing existing sessions.
 */
export interface ListSessionsRequest {
  /**
   * Filter sessions by working directory. Must be an absolute path.
   */
  cwd?: string | null;
  /**
   * Opaque cursor token from a previous response's nextCursor field for cursor-based pagination
   */
  cursor?: string | null;
  _meta?: Meta | null;
}
/**
 * Request parameters for sending a user prompt to the agent.
 */
export interface PromptRequest {
  sessionId: SessionId;
  /**
   * The blocks of content that compose the user's message.
   */
  prompt: ContentBlock[];
  _meta?: Meta | null;
}
/**
 * Notification to cancel ongoing operations for a session.
 */
export interface CancelNotification {
  sessionId: SessionId;
  _meta?: Meta | null;
}
/**
 * Request parameters for closing an active session.
 */
export interface CloseSessionRequest {
  sessionId: SessionId;
  _meta?: Meta | null;
}
/**
 * Request parameters for deleting an existing session from `session/list`.
 */
export interface DeleteSessionRequest {
  sessionId: SessionId;
  _meta?: Meta | null;
}
export interface SetSessionConfigOptionRequest1 {
  sessionId: SessionId;
  configId: SessionConfigId;
  _meta?: Meta | null;
}
/**
 * Request parameters for setting a session mode.
 */
export interface SetSessionModeRequest {
  sessionId: SessionId;
  modeId: SessionModeId;
  _meta?: Meta | null;
}
/**
 * Parameters of `session/trace`.
 */
export interface TraceParams {
  /**
   * The session, open or not.
   */
  sessionId: string;
  /**
   * Only events after this one; default 0, all.
   */
  after?: number | null;
  /**
   * Answers with lanes to be drawn in the place of events and tasks; default false.
   */
  timeline?: boolean | null;
}
/**
 * Parameters of `session/watch` and `session/unwatch`.
 */
export interface WatchSessionParams {
  /**
   * The session: one of the workspace that is not open on this connection.
   */
  sessionId: string;
}
/**
 * Response to a permission request.
 */
export interface RequestPermissionResponse {
  outcome: RequestPermissionOutcome;
  _meta?: Meta | null;
}
/**
 * The user selected one of the provided options.
 */
export interface SelectedPermissionOutcome {
  optionId: PermissionOptionId;
  _meta?: Meta | null;
}
/**
 * `initializationOptions`. Unknown members are left alone: editors put their own settings here.
 */
export interface InitializationOptions {
  /**
   * The queue of every request that names none; default `default`.
   */
  queue?: string | null;
  /**
   * How long a task outlives the last daemon of its workspace; null: for ever. Default an hour.
   */
  lingerMs?: number | null;
  /**
   * The states beyond those of version 0.1.0 that the client knows: `queued`. Others are not shown.
   */
  states?: NewState[];
  /**
   * What the client wants to be told beyond what every client is: `began`, `timeline`.
   */
  notify?: NewKind[];
  /**
   * How often the client says something, in milliseconds: after four times as long without a word the server
   * takes it for gone and ends. Default: silence means nothing.
   */
  heartbeatMs?: number | null;
  /**
   * The client's own name, letters, digits, `-` or `_`: a server that is left of an earlier connection of this
   * client ends. Default none.
   */
  client?: string | null;
  /**
   * Which model to ask, and with which keys: `MEANWHILE_MODEL` and the variables of vendors, before the
   * environment and the settings file. Kept in memory for this connection, and shown nowhere.
   */
  secrets?: {
    [k: string]: string | undefined;
  };
}
/**
 * What is ours in the answer to it: its `_meta.meanwhile`.
 */
export interface OwnAnswer {
  /**
   * What a person has left of the change that the question showed.
   */
  edit?: OwnEdit | null;
}
/**
 * A text that a person allows in the place of the one that was proposed.
 */
export interface OwnEdit {
  /**
   * The whole text of the file.
   */
  newText: string;
}

/** Every request, by its method. */
export interface Methods {
  'task/spawn': { params: SpawnParams; result: TaskResult };
  'task/check': { params: CheckParams; result: CheckResult };
  'task/drain': { params: DrainParams; result: DrainResult };
  'task/ack': { params: AckParams; result: AckResult };
  'task/wait': { params: WaitParams; result: WaitResult };
  'task/read': { params: ReadParams; result: ReadResult };
  'task/stop': { params: StopParams; result: TaskResult };
  'task/restart': { params: RestartParams; result: TaskResult };
  'task/signal': { params: SignalParams; result: Empty };
  'task/resize': { params: ResizeParams; result: Empty };
  'task/write': { params: WriteParams; result: Empty };
  'task/subscribe': { params: SubscribeParams; result: Empty };
  'task/unsubscribe': { params: UnsubscribeParams; result: Empty };
  'task/timeline': { params: TimelineParams; result: Timeline };
  'task/remove': { params: RemoveParams; result: RemoveResult };
  'place/list': { params: PlaceListParams; result: PlaceList };
  'session/new': { params: NewSessionRequest; result: NewSessionResponse };
  'session/load': { params: LoadSessionRequest; result: LoadSessionResponse };
  'session/resume': { params: ResumeSessionRequest; result: ResumeSessionResponse };
  'session/list': { params: ListSessionsRequest; result: ListSessionsResponse };
  'session/prompt': { params: PromptRequest; result: PromptResponse };
  'session/cancel': { params: CancelNotification; result: Empty };
  'session/close': { params: CloseSessionRequest; result: CloseSessionResponse };
  'session/delete': { params: DeleteSessionRequest; result: DeleteSessionResponse };
  'session/set_config_option': { params: SetSessionConfigOptionRequest; result: SetSessionConfigOptionResponse };
  'session/set_mode': { params: SetSessionModeRequest; result: SetSessionModeResponse };
  'session/trace': { params: TraceParams; result: TraceResult };
  'session/watch': { params: WatchSessionParams; result: Watched };
  'session/unwatch': { params: WatchSessionParams; result: Empty };
}

/** Every push of the server, by its method. */
export interface Pushes {
  'task/started': StartedPush;
  'task/began': BeganPush;
  'task/output': OutputPush;
  'task/progress': ProgressPush;
  'task/listening': ListeningPush;
  'task/notified': NotifiedPush;
  'task/exited': ExitedPush;
  'tasks/changed': Changed;
  'session/update': SessionNotification;
  'session/turn': TurnPush;
  'session/retrying': RetryingPush;
  'session/traced': TracedPush;
  'session/timeline': TimelinePush;
  'session/watched': Watched;
}

/** Every request of the server, by its method. */
export interface ServerRequests {
  'session/request_permission': { params: RequestPermissionRequest; result: RequestPermissionResponse };
}

/** The code of every error, by its name. */
export const ERRORS = {
  unknownTask: 1001,
  spawnFailed: 1002,
  limitReached: 1003,
  notRunning: 1004,
  storeUnavailable: 1005,
  noModel: 1006,
  permissionDenied: 1007,
  modelFailed: 1008,
  cannotConfine: 1009,
  invalidParams: -32602,
  serverOverloaded: -32000,
} as const;

export const PROTOCOL_VERSION = 1;
