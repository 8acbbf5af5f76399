// Generated from docs/schema.json by `npm run generate`. Not to be edited.

/**
 * The stage that a task has reached. In the last four it has ended.
 */
export type TaskState =
  'queued' | 'running' | 'stopping' | 'exited' | 'stopped' | 'timedOut' | 'lost';
/**
 * A point in time: RFC 3339, UTC, with milliseconds.
 */
export type DateTime = string;
/**
 * The kinds of actors that can end a task.
 */
export type Actor =
  'client' | 'agent' | 'deadline' | 'linger' | 'limit' | 'daemon' | 'dependency' | 'engine';
/**
 * The operation that notified the owner of a queue of an end.
 */
export type DeliveredBy = 'drain' | 'wait' | 'check';
/**
 * What a task is for, if it is not background work.
 */
export type TaskRole = 'step';
/**
 * The status of a task for display; a client has one icon and one colour for each.
 */
export type Standing =
  'queued' | 'running' | 'stopping' | 'succeeded' | 'failed' | 'stopped' | 'timedOut' | 'lost';
/**
 * How urgent a notice to a person is.
 */
export type NoticeLevel = 'info' | 'warning' | 'error';
/**
 * Result of `task/check`.
 */
export type CheckResult = OneTask | TaskList;
/**
 * The kind of event that a notification reports.
 */
export type NotificationKind = 'exited' | 'matched' | 'stalled';
/**
 * How bytes are encoded as a JSON string.
 */
export type Encoding = 'utf8' | 'base64';
/**
 * A piece of a timeline. Its key is unique in the timeline.
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
       * The title of the lane.
       */
      label: string;
      look?: Look;
      /**
       * The id of its task; left out for a lane that is not a task's.
       */
      taskId?: string;
    }
  | {
      type: 'segment';
      /**
       * Identifies the piece.
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
       * Which of several parallel rows of the lane it is drawn in, from 0.
       */
      row: number;
      /**
       * The title of the segment.
       */
      label: string;
      /**
       * Further details, one line each.
       */
      says: string[];
      /**
       * The id of the task that it shows, if any.
       */
      taskId?: string;
      /**
       * The number of the model call that it belongs to, if any.
       */
      call?: number;
    }
  | {
      type: 'mark';
      /**
       * Identifies the piece.
       */
      key: string;
      /**
       * The key of its lane.
       */
      lane: string;
      kind: MarkKind;
      at: DateTime;
      /**
       * The title of the mark.
       */
      label: string;
      /**
       * Further details, one line each.
       */
      says: string[];
      /**
       * The number of the model call that it belongs to, if any.
       */
      call?: number;
    }
  | {
      type: 'arrow';
      /**
       * Identifies the piece.
       */
      key: string;
      /**
       * The key of the lane where the arrow starts.
       */
      from: string;
      /**
       * The key of the lane where the arrow ends.
       */
      to: string;
      at: DateTime;
      /**
       * The id of the task that it belongs to.
       */
      taskId: string;
    }
  | {
      type: 'gap';
      /**
       * Identifies the piece.
       */
      key: string;
      from: DateTime;
      to: DateTime;
      /**
       * Its length in words, such as `2 h`.
       */
      label: string;
    };
/**
 * The kinds of lanes.
 */
export type LaneKind = 'agent' | 'queue' | 'task';
/**
 * How a piece is drawn: by what it is or, for a task that has ended, by how it ended.
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
 * What happens in a segment.
 */
export type SegmentKind = 'turn' | 'call' | 'tool' | 'asks' | 'line' | 'task' | 'result';
/**
 * What happened at a mark.
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
 * An event in a session's trace.
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
       * The number of the turn.
       */
      turn: number;
      origin: TurnOrigin;
      /**
       * The first line of the prompt, shortened.
       */
      title?: string;
    }
  | {
      type: 'call_started';
      /**
       * The number of the turn.
       */
      turn: number;
      /**
       * The number of the model call.
       */
      call: number;
    }
  | {
      type: 'call_ended';
      /**
       * The number of the turn.
       */
      turn: number;
      /**
       * The number of the model call.
       */
      call: number;
      /**
       * Why the model stopped; left out if the call failed.
       */
      stopReason?: string;
      /**
       * Why the call failed; left out if it succeeded.
       */
      error?: string;
      /**
       * The number of tokens in the request.
       */
      inputTokens?: number;
      /**
       * The number of tokens in the answer.
       */
      outputTokens?: number;
      /**
       * The number of the request's tokens that came from the provider's cache.
       */
      cachedTokens?: number;
      /**
       * The cost in US dollars; left out if the price is unknown.
       */
      costUsd?: number;
    }
  | {
      type: 'tool_started';
      /**
       * The number of the model call whose answer requested it.
       */
      call: number;
      /**
       * The id of the tool call.
       */
      toolCallId: string;
      /**
       * The name of the tool.
       */
      name: string;
      /**
       * The title that is shown to people.
       */
      title: string;
    }
  | {
      type: 'tool_ended';
      /**
       * The id of the tool call.
       */
      toolCallId: string;
      /**
       * Whether it failed.
       */
      isError: boolean;
    }
  | {
      type: 'task_spawned';
      /**
       * The number of the model call whose answer requested it.
       */
      call: number;
      /**
       * The id of the tool call.
       */
      toolCallId: string;
      /**
       * The id of the task.
       */
      taskId: string;
      /**
       * The command, as text.
       */
      command: string;
      /**
       * True if it started in the foreground.
       */
      moved: boolean;
    }
  | {
      type: 'delivered';
      /**
       * The number of the model call whose request contains it.
       */
      call: number;
      /**
       * The id of the task.
       */
      taskId: string;
      /**
       * Its number in the session's queue; left out if it did not come from the queue.
       */
      seq?: number;
      kind: NotificationKind;
      by: DeliveredBy;
    }
  | {
      type: 'turn_ended';
      /**
       * The number of the turn.
       */
      turn: number;
      /**
       * Why the turn ended.
       */
      stopReason: string;
      /**
       * What went wrong; left out if nothing did.
       */
      error?: string;
    }
  | {
      type: 'compacted';
      /**
       * The number of the model call that wrote the summary.
       */
      call?: number;
    }
  | {
      type: 'resumed';
    };
/**
 * What started a turn.
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
 * Whether a turn started or ended.
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
 * How a task is confined.
 */
export type ConfineMode = 'look' | 'work';
/**
 * The author of a user message that a person did not write.
 */
export type OwnOrigin = 'background' | 'notice';
/**
 * The error codes that the protocol adds to those of JSON-RPC and LSP.
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
 * What to run: a line for `/bin/sh -c`, or a program with its arguments, executed directly.
 */
export type CommandParam = string | [string, ...string[]];
/**
 * Where a task's standard input comes from.
 */
export type StdinParam = 'null' | 'pipe';
/**
 * What to do with a task if one that it runs after fails.
 */
export type OnFailureParam = 'run' | 'skip';
/**
 * A progress token of the Language Server Protocol: an integer or a string.
 */
export type ProgressToken = number | string;
/**
 * Who acknowledges drained notifications.
 */
export type AckMode = 'auto' | 'manual';
/**
 * Which of the tasks have to end before a wait returns.
 */
export type WaitMode = 'any' | 'all';
/**
 * A signal, by name, with or without `SIG`, or by number.
 */
export type SignalParam = string | number;
/**
 * Which of a task's processes receive a signal.
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
 * A state of a task that was added after version 0.1.0.
 */
export type NewState = 'queued' | 'unknown';
/**
 * The pushes that a client has to ask for.
 */
export type NewKind = 'began' | 'timeline' | 'state' | 'unknown';

/**
 * Additional metadata; nothing may be assumed of its values.
 */
export interface Meta {
  [k: string]: unknown | undefined;
}
/**
 * A result with one task: of `task/spawn`, `task/stop` and `task/restart`.
 */
export interface TaskResult {
  task: Task;
}
/**
 * The state of one background command at one point in time.
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
   * The queue that its notifications go to, fixed at spawn.
   */
  queue: string;
  /**
   * A name that its owner chose for it.
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
   * The process id of the leader, which is also its process group id.
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
   * How long it may run, from its start; left out if it has no deadline.
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
   * True if its spawn declared it to be a server, which is not expected to end.
   */
  service?: boolean;
  /**
   * The TCP ports that its processes listen on, ascending, as of the last check.
   */
  ports?: number[];
  /**
   * True if it is ready to serve: one of these ports has been open for 300 ms, or a watch matched.
   */
  ready?: boolean;
  /**
   * True if it reads its terminal or standard input and has written nothing for 15 s.
   */
  waitsForInput?: boolean;
  /**
   * True if an agent session started it; its queue is the session's.
   */
  agent?: boolean;
  role?: TaskRole;
  /**
   * The place where it runs; left out for this machine. `cwd` and `pid` are valid at that place.
   */
  on?: string;
  contact?: Contact;
  place?: TaskPlace;
  /**
   * How its sources at that place differ from those here, if they were compared and do.
   */
  warning?: string;
  shown: Shown;
}
/**
 * What a task waits for, and since when.
 */
export interface Queued {
  since: DateTime;
  reason: QueuedReason;
  /**
   * Its position among the tasks that wait for the slot, from 1.
   */
  position?: number;
  /**
   * The estimated remaining wait in milliseconds, from how long these commands took before. Left out if unknown.
   */
  leftMs?: number;
}
/**
 * What a task waits for: a slot, other tasks, or a place.
 */
export interface QueuedReason {
  /**
   * The name of the slot that it waits for.
   */
  slot?: string;
  /**
   * The id of the task directly ahead, which holds the slot or waits for it; possibly of another workspace.
   */
  behind?: string;
  /**
   * The label of that task, or else its command, on one line and shortened.
   */
  title?: string;
  /**
   * The ids of the tasks that must end first.
   */
  after?: string[];
  /**
   * The place that has not accepted the task, or has accepted and not started it yet.
   */
  place?: string;
  /**
   * Why the task waits there, as the place or its batch system says.
   */
  why?: string;
}
/**
 * The leader's wait status. Both are null if it is unknown.
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
   * The reason, as a text for people.
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
 * The progress that a task reports.
 */
export interface Progress {
  /**
   * Percent, from 0 to 100; left out if the task reports none.
   */
  percent?: number;
  /**
   * The last line that reported progress.
   */
  message?: string;
}
/**
 * A descendant that was alive after its task's leader ended.
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
 * When and how the owner of the queue was notified of an end.
 */
export interface Delivered {
  at: DateTime;
  by: DeliveredBy;
  /**
   * The number of the agent's turn that received it.
   */
  turn?: number;
}
/**
 * Describes why a place cannot be reached.
 */
export interface Contact {
  lostSince: DateTime;
  /**
   * The reason, in the words of the program that connects to the place.
   */
  reason: string;
  /**
   * True if a person has to sign in or accept a key: `meanwhile place connect NAME`.
   */
  needsYou?: boolean;
}
/**
 * The job of a task at a batch system.
 */
export interface TaskPlace {
  /**
   * The name of the batch system: `slurm`.
   */
  engine: string;
  /**
   * The id of the job, once it was submitted.
   */
  job?: string;
  /**
   * The node on which the job runs, once it has one.
   */
  node?: string;
}
/**
 * Texts about a task for people, worded by the server so that every client shows the same.
 */
export interface Shown {
  /**
   * Its label, else its command, on one line of at most 240 bytes, without control characters.
   */
  title: string;
  outcome: Standing;
  /**
   * Its status in a few words: `running`, `queued, 2nd for build`, `exit 1`, `stopped by client`.
   */
  stands: string;
  /**
   * Its end, as the rest of a sentence that starts with the title: `exited 1 after 4.0s`. Left out until it has
   * ended.
   */
  ended?: string;
  /**
   * How long it ran, such as `1m 32s`. Left out until it has ended.
   */
  took?: string;
  /**
   * Its place in a list: lists are sorted by this text, ascending.
   */
  order: string;
  notice?: NoticeLevel;
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
   * The output as text.
   */
  text: string;
  /**
   * The offset in the output at which `text` starts.
   */
  offset: number;
}
/**
 * A list of tasks: running ones first, then the newest.
 */
export interface TaskList {
  /**
   * The tasks in their current states.
   */
  tasks: Task[];
}
/**
 * Result of `task/drain`.
 */
export interface DrainResult {
  /**
   * The notifications, oldest first.
   */
  notifications: Notification[];
  /**
   * How many notifications remain in the queue.
   */
  remaining: number;
}
/**
 * An event that is reported to the owner of a queue once.
 */
export interface Notification {
  /**
   * Its number in its queue: ascending from 1, without gaps.
   */
  seq: number;
  /**
   * The name of the queue.
   */
  queue: string;
  kind: NotificationKind;
  at: DateTime;
  task: Task;
  preview: Preview;
  match?: Match;
}
/**
 * The start and the end of an output.
 */
export interface Preview {
  /**
   * The start of the output, as text.
   */
  head: string;
  /**
   * The end of the output, as text.
   */
  tail: string;
  /**
   * How many bytes between the two are left out.
   */
  omitted: number;
}
/**
 * A line that a watch matched.
 */
export interface Match {
  /**
   * The id of the watch, as given at spawn.
   */
  id: string;
  /**
   * The line, truncated to 1 024 bytes.
   */
  line: string;
  /**
   * The offset in the output at which the line starts.
   */
  offset: number;
}
/**
 * Result of `task/ack`.
 */
export interface AckResult {
  /**
   * How many notifications this request acknowledged.
   */
  acked: number;
}
/**
 * Result of `task/wait`.
 */
export interface WaitResult {
  /**
   * The tasks waited for, in their current states, ended or not.
   */
  tasks: Task[];
  /**
   * True if the timeout passed first.
   */
  timedOut: boolean;
}
/**
 * Result of `task/read`.
 */
export interface ReadResult {
  /**
   * The output, encoded as `encoding` says.
   */
  data: string;
  encoding: Encoding;
  /**
   * The offset in the output at which `data` starts.
   */
  offset: number;
  /**
   * The offset to continue reading from.
   */
  nextOffset: number;
  /**
   * True if the task has ended and no output follows `nextOffset`.
   */
  eof: boolean;
  gap?: Gap;
}
/**
 * Output that was not retained: the bytes from `from` to `to`, without the byte at `to`.
 */
export interface Gap {
  /**
   * The offset of the first missing byte.
   */
  from: number;
  /**
   * The offset of the first byte that is available again.
   */
  to: number;
}
/**
 * A result without members: the request succeeded.
 */
export interface Empty {}
/**
 * A complete timeline.
 */
export interface Timeline {
  /**
   * The pieces of the timeline. Lanes are drawn in this order.
   */
  pieces: Piece[];
  /**
   * What each look in this timeline means, in the order of display.
   */
  legend: LegendEntry[];
  /**
   * The number of lanes that are left out because their tasks are old.
   */
  leftOut: number;
  /**
   * True if no task has run in the workspace: the pieces are a recording of `meanwhile demo`.
   */
  recorded?: boolean;
}
/**
 * The meaning of one look.
 */
export interface LegendEntry {
  look: Look;
  /**
   * What the look means, in words.
   */
  label: string;
}
/**
 * Result of `task/remove`.
 */
export interface RemoveResult {
  /**
   * How many tasks were removed.
   */
  removed: number;
}
/**
 * The configured places.
 */
export interface PlaceList {
  /**
   * The places, sorted by name.
   */
  places: PlaceInfo[];
}
/**
 * A machine on which tasks can run.
 */
export interface PlaceInfo {
  /**
   * The name of the place.
   */
  name: string;
  /**
   * The version of `meanwhile` there; left out until the place has answered.
   */
  version?: string;
  contact?: Contact;
}
/**
 * The state of a Git working tree.
 */
export interface SourcesResult {
  /**
   * The commit that is checked out; left out if there is none yet.
   */
  head?: string;
  /**
   * A checksum of the files that differ from this commit, with those that are new and not ignored; left out if none
   * differs.
   */
  changes?: string;
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
   * The id of the session.
   */
  sessionId: string;
  /**
   * The events, oldest first.
   */
  events: TraceEvent[];
  /**
   * All tasks of the session, oldest first.
   */
  tasks: TraceTask[];
  /**
   * The value for `after` in the next request.
   */
  next: number;
  timeline?: Timeline;
}
/**
 * The history of one task in a session. Draw its bar from `spawnedAt` to `endedAt`; its result waits in the queue
 * from `queuedAt` until the model call `deliveredInCall` starts.
 */
export interface TraceTask {
  /**
   * The id of the task.
   */
  taskId: string;
  /**
   * The command, as text.
   */
  command: string;
  /**
   * The id of the tool call that started it.
   */
  toolCallId?: string;
  /**
   * The number of the model call whose answer requested it.
   */
  spawnedInCall?: number;
  spawnedAt: DateTime;
  endedAt?: DateTime;
  queuedAt?: DateTime;
  /**
   * The number of that notification in the session's queue.
   */
  seq?: number;
  state: TaskState;
  exit?: Exit;
  cause?: Cause;
  /**
   * The number of the model call whose request contains its end.
   */
  deliveredInCall?: number;
  deliveredBy?: DeliveredBy;
  shown: Shown;
}
/**
 * Result of `session/watch`, and parameters of `session/watched`: the state of a watched session.
 */
export interface Watched {
  /**
   * The id of the session.
   */
  sessionId: string;
  holder: Holder;
  /**
   * The process id of that process, or of the one that ended without closing the session.
   */
  pid?: number;
  /**
   * The open questions to the person there, oldest first; only that process can take the answers.
   */
  asks: OpenQuestion[];
  /**
   * All of this as text for people.
   */
  says: string;
}
/**
 * A question that another process asks a person.
 */
export interface OpenQuestion {
  /**
   * The id of the tool call.
   */
  toolCallId: string;
  /**
   * The question, without "may the agent": `edit src/main.rs`.
   */
  question: string;
  /**
   * The reason for the question.
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
   * The id of the task.
   */
  id: string;
  /**
   * The offset of `data` in the output. A jump means that output was skipped; `task/read` returns it.
   */
  offset: number;
  /**
   * The output, encoded as `encoding` says.
   */
  data: string;
  encoding: Encoding;
}
/**
 * Parameters of `task/progress`.
 */
export interface ProgressPush {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * Percent, from 0 to 100; left out if the task reports none.
   */
  percent?: number;
  /**
   * The last line that reported progress.
   */
  message?: string;
}
/**
 * Parameters of `task/listening`.
 */
export interface ListeningPush {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * The TCP ports its processes listen on, ascending.
   */
  ports: number[];
  /**
   * True if it is ready to serve: one of these ports has been open for 300 ms, or a watch matched.
   */
  ready: boolean;
}
/**
 * Parameters of `task/state`.
 */
export interface StatePush {
  task: Task;
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
 * Parameters of `tasks/changed`: a complete snapshot that replaces the previous one.
 */
export interface Changed {
  /**
   * The ids of the running tasks of the workspace.
   */
  running: string[];
  /**
   * The number of notifications in each queue that is not empty.
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
 * Parameters of `session/turn`: a turn started or ended.
 */
export interface TurnPush {
  /**
   * The id of the session.
   */
  sessionId: string;
  /**
   * The number of the turn in the session from 1.
   */
  turn: number;
  state: TurnState;
  origin: TurnOrigin;
  /**
   * The text of the prompt that it starts with, for the client that sent it: show it here, where its turn starts.
   */
  prompt?: string;
  stopReason?: StopReason;
  /**
   * What went wrong, and what to do about it.
   */
  error?: string;
  /**
   * A sentence about its end for people, if that is unusual; left out with `error`.
   */
  says?: string;
}
/**
 * Parameters of `session/retrying`: a model call failed and will be repeated. Discard what it has streamed so far.
 */
export interface RetryingPush {
  /**
   * The id of the session.
   */
  sessionId: string;
  /**
   * The number of the next attempt.
   */
  attempt: number;
  /**
   * The number of the model call whose answer to discard: every `agent_message_chunk` and `agent_thought_chunk`
   * with this number, and nothing else.
   */
  call?: number;
  /**
   * The time until the next attempt, in milliseconds.
   */
  delayMs: number;
  /**
   * What went wrong.
   */
  message: string;
  /**
   * All of this in one line for people.
   */
  says: string;
}
/**
 * Parameters of `session/traced`: a new event in the trace.
 */
export interface TracedPush {
  /**
   * The id of the session.
   */
  sessionId: string;
  event: TraceEvent;
}
/**
 * Parameters of `session/timeline`: pieces that are new or replace those with the same key.
 */
export interface TimelinePush {
  /**
   * The id of the session.
   */
  sessionId: string;
  /**
   * The pieces. New lanes are drawn after the existing ones.
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
 * `capabilities.experimental.meanwhile` in the result of `initialize`.
 */
export interface Capability {
  /**
   * The version of the protocol.
   */
  protocolVersion: number;
  /**
   * The methods the server supports.
   */
  methods: string[];
  /**
   * The notifications that the server may send.
   */
  notifications: string[];
  /**
   * What was added after version 0.1.0: parameters as `method.parameter`, which a server without this feature
   * refuses, and members of objects as `Object.member`.
   */
  features: string[];
  /**
   * The modes in which `task/spawn` can confine a task on this machine. Empty if it cannot.
   */
  confine: ConfineMode[];
  limits: Limits;
  /**
   * The environment variables that hold keys of models. A task gets one only if its spawn names it, so a client
   * that passes its own environment leaves these out.
   */
  secretVariables: string[];
  /**
   * The name of the store that this server uses; only for a client that sent its name (`client`).
   */
  store?: string;
  stateMoved?: StateMoved;
}
/**
 * The limits, in bytes, milliseconds or items.
 */
export interface Limits {
  /**
   * The maximum number of bytes of one message, in either direction.
   */
  messageBytes: number;
  /**
   * The maximum number of requests that wait at the same time.
   */
  waitingRequests: number;
  /**
   * The maximum number of tasks that run at the same time in one workspace.
   */
  runningTasks: number;
  /**
   * The maximum number of bytes of a command, and of one argument of an argv.
   */
  commandBytes: number;
  /**
   * The maximum number of bytes of all arguments together, and of the given environment.
   */
  argumentsBytes: number;
  /**
   * The maximum number of bytes of a label, a queue's name, a client token or a watch's id.
   */
  nameBytes: number;
  /**
   * The maximum number of watches of one task.
   */
  watches: number;
  /**
   * The maximum number of bytes of a watch's pattern.
   */
  patternBytes: number;
  /**
   * The maximum number of notifications of one watch.
   */
  watchLimit: number;
  /**
   * The maximum number of bytes of the two ends of an output in a notification.
   */
  previewBytes: number;
  /**
   * The maximum number of bytes of a matched line.
   */
  matchLineBytes: number;
  /**
   * The maximum number of bytes of output in one reply.
   */
  readBytes: number;
  /**
   * The maximum number of bytes of one `task/output`.
   */
  pushBytes: number;
  /**
   * Shortest time between two `task/output` of a task, in milliseconds.
   */
  pushIntervalMs: number;
  /**
   * Shortest time between two progress reports of a task, in milliseconds.
   */
  progressIntervalMs: number;
  /**
   * The maximum number of tasks in one `task/check`.
   */
  list: number;
  /**
   * The maximum number of notifications in one `task/drain`.
   */
  drain: number;
  /**
   * The maximum number of ids in one request.
   */
  ids: number;
  /**
   * The maximum number of bytes of one `task/write`.
   */
  writeBytes: number;
  /**
   * Longest grace period of a stop, in milliseconds.
   */
  stopGraceMs: number;
  /**
   * Longest deadline, linger time or wait, in milliseconds.
   */
  timeMs: number;
  /**
   * The maximum number of tasks that one task runs after.
   */
  after: number;
  /**
   * The maximum number of rows or columns of a terminal.
   */
  ptySide: number;
}
/**
 * Where the state is kept, if not in the usual directory.
 */
export interface StateMoved {
  /**
   * The directory that holds the state.
   */
  path: string;
  /**
   * The usual directory.
   */
  from: string;
  /**
   * The file system type of the usual directory, such as `nfs`.
   */
  fileSystem: string;
}
/**
 * What the project adds to a `session/update`, in `_meta.meanwhile`.
 */
export interface Own {
  origin?: OwnOrigin;
  /**
   * The number of the model call whose answer this is part of, or whose request contains it.
   */
  call?: number;
  /**
   * The ids of the tasks whose results the message contains.
   */
  taskIds?: string[];
  /**
   * These results for people; show them instead of the message, which is worded for a model.
   */
  cards?: Card[];
  /**
   * A notice for people; show it instead of the message.
   */
  shown?: string;
  /**
   * In a usage update, and above the cards of results: the text to show to people.
   */
  says?: string;
  /**
   * The id of the task that runs the tool call's command.
   */
  taskId?: string;
  card?: Card;
  /**
   * True if that command runs in the background. The tool call's text is only for the model.
   */
  background?: boolean;
  /**
   * The confinement that the kernel enforces on the command.
   */
  confined?: string;
}
/**
 * A result of a background task, to be shown to people where it enters a conversation.
 */
export interface Card {
  /**
   * The id of the task.
   */
  taskId: string;
  kind: NotificationKind;
  /**
   * The title of the task.
   */
  title: string;
  /**
   * Its command on one line; left out if the title is the command.
   */
  command?: string;
  outcome?: Standing;
  /**
   * How it ended, or what happened, such as `exited 3 after 2.0s`.
   */
  says: string;
  /**
   * How its result came into the conversation, such as `ended during call 2, entered call 3, waited 786 ms`.
   */
  way?: string;
  /**
   * The part of its output that the model was shown.
   */
  output: string;
}
/**
 * What the project adds to a `session/request_permission`, in `_meta.meanwhile`.
 */
export interface OwnQuestion {
  /**
   * The id of the request, which `$/cancelRequest` names: some client libraries do not expose it.
   */
  request?: string;
  /**
   * The question, without "may the agent": `edit src/main.rs`.
   */
  question: string;
  /**
   * What a line diff of the proposed change does not show, one line each.
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
   * The directory to run it in, relative to the workspace; default the workspace itself.
   */
  cwd?: string | null;
  /**
   * Environment variables to set, or to remove with null, in the environment inherited from the server.
   */
  env?: {
    [k: string]: string | null | undefined;
  };
  /**
   * A name for people.
   */
  label?: string | null;
  /**
   * The queue that its notifications go to; default the connection's queue.
   */
  queue?: string | null;
  /**
   * How long it may run, in milliseconds from its start; default without limit.
   */
  deadlineMs?: number | null;
  /**
   * Where its standard input comes from; default `null`. Cannot be combined with `pty`.
   */
  stdin?: StdinParam | null;
  /**
   * The size of a terminal to run it in, which is its standard input, output and error.
   */
  pty?: PtyParam | null;
  /**
   * Patterns to match its output against; each matching line makes a notification.
   */
  watch?: WatchParam[];
  /**
   * Makes the request idempotent: the same token in the same workspace returns the existing task.
   */
  clientToken?: string | null;
  /**
   * True if it is a server, which is not expected to end; default false.
   */
  service?: boolean;
  /**
   * How to confine it; default not at all.
   */
  confine?: ConfineMode | null;
  /**
   * Whether a confined task may use the network; only with `work`. Default false.
   */
  network?: boolean;
  /**
   * The name of the slot that it takes; default the slot whose rules match its command.
   */
  slot?: string | null;
  /**
   * The ids of tasks of the workspace that must end first.
   *
   * @maxItems 64
   */
  after?: string[];
  /**
   * What to do if one of them ends other than with code 0; default `skip`.
   */
  onFailure?: OnFailureParam | null;
  /**
   * How long it may wait for its turn, in milliseconds; default without limit.
   */
  queueDeadlineMs?: number | null;
  /**
   * The place where it runs; default this machine.
   */
  on?: string | null;
  /**
   * What it asks the batch system of that place for; only with `on`.
   */
  resources?: ResourcesParam | null;
  /**
   * The token for the `$/progress` notifications about the task.
   */
  workDoneToken?: ProgressToken | null;
}
/**
 * The size of a terminal, in characters.
 */
export interface PtyParam {
  /**
   * The number of rows.
   */
  rows: number;
  /**
   * The number of columns.
   */
  cols: number;
}
/**
 * A pattern to match the output against.
 */
export interface WatchParam {
  /**
   * Its name in the notification; default its index in the list, from 0.
   */
  id?: string | null;
  /**
   * The regular expression, matched against each line.
   */
  pattern: string;
  /**
   * The maximum number of notifications that it makes; default 1.
   */
  limit?: number | null;
}
/**
 * The resources that a task requests from a batch system. The system's defaults apply to what is left out.
 */
export interface ResourcesParam {
  /**
   * The number of processors.
   */
  cpus?: number | null;
  /**
   * The amount of memory, in bytes.
   */
  memory?: number | null;
  /**
   * The number of graphics processors.
   */
  gpus?: number | null;
  /**
   * How long it may run, in milliseconds.
   */
  time?: number | null;
  /**
   * The partition of the cluster.
   */
  partition?: string | null;
  /**
   * Further options of the batch system, such as `--qos=high`.
   */
  extra?: string[];
}
/**
 * Parameters of `task/check`.
 */
export interface CheckParams {
  /**
   * The task to show; without it, the result lists tasks.
   */
  id?: string | null;
  /**
   * With `id`: how many bytes of the end of the output to return; default 4 096.
   */
  tailBytes?: number | null;
  /**
   * Without `id`: list only tasks in this state.
   */
  state?: TaskState | null;
  /**
   * Without `id`: the maximum number of tasks to list; default 100.
   */
  limit?: number | null;
  /**
   * Without `id`: whether to include the foreground steps of agents' turns; default false.
   */
  steps?: boolean | null;
}
/**
 * Parameters of `task/drain`.
 */
export interface DrainParams {
  /**
   * The queue to drain; default the connection's queue.
   */
  queue?: string | null;
  /**
   * The maximum number of notifications to return; default 100.
   */
  max?: number | null;
  /**
   * Who acknowledges the notifications; default `auto`.
   */
  ack?: AckMode | null;
}
/**
 * Parameters of `task/ack`.
 */
export interface AckParams {
  /**
   * The queue; default the connection's queue.
   */
  queue?: string | null;
  /**
   * The highest `seq` that the client has processed.
   */
  through: number;
}
/**
 * Parameters of `task/wait`: either `ids` or `queue`; default the connection's queue.
 */
export interface WaitParams {
  /**
   * The ids of the tasks to wait for.
   */
  ids?: string[] | null;
  /**
   * The queue whose tasks to wait for.
   */
  queue?: string | null;
  /**
   * Which of the tasks have to end; default `any`.
   */
  mode?: WaitMode | null;
  /**
   * The longest time to wait, in milliseconds; default 30 000.
   */
  timeoutMs?: number | null;
}
/**
 * Parameters of `task/read`.
 */
export interface ReadParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * The offset of the first byte to return; default 0.
   */
  offset?: number | null;
  /**
   * The maximum number of bytes to return; default 65 536.
   */
  limit?: number | null;
  /**
   * How to encode `data`; default `utf8`.
   */
  encoding?: Encoding | null;
}
/**
 * Parameters of `task/stop`.
 */
export interface StopParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * The name of the signal to send first; default `SIGTERM`.
   */
  signal?: string | null;
  /**
   * How long the process tree has before SIGKILL, in milliseconds; default 2 000.
   */
  graceMs?: number | null;
}
/**
 * Parameters of `task/restart`.
 */
export interface RestartParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * Environment variables to set, or to remove with null, in the environment that the task was started with.
   */
  env?: {
    [k: string]: string | null | undefined;
  };
  /**
   * How long the process tree of a running task has before SIGKILL, in milliseconds; default 2 000.
   */
  graceMs?: number | null;
}
/**
 * Parameters of `task/signal`.
 */
export interface SignalParams {
  /**
   * The id of the task.
   */
  id: string;
  signal: SignalParam;
  /**
   * Which processes receive it; default `group`.
   */
  to?: RecipientParam | null;
}
/**
 * Parameters of `task/resize`.
 */
export interface ResizeParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * The number of rows.
   */
  rows: number;
  /**
   * The number of columns.
   */
  cols: number;
}
/**
 * Parameters of `task/write`.
 */
export interface WriteParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * The input to write, encoded as `encoding` says; may be empty with `eof`.
   */
  data: string;
  /**
   * How `data` is encoded; default `utf8`.
   */
  encoding?: Encoding | null;
  /**
   * Whether to close the task's standard input afterwards; default false.
   */
  eof?: boolean | null;
}
/**
 * Parameters of `task/subscribe`.
 */
export interface SubscribeParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * The offset of the first byte to send; default the current end of the output.
   */
  offset?: number | null;
}
/**
 * Parameters of `task/unsubscribe`. `offset` is accepted for symmetry and ignored.
 */
export interface UnsubscribeParams {
  /**
   * The id of the task.
   */
  id: string;
  /**
   * Accepted for symmetry with `task/subscribe`, and ignored.
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
   * The ids of tasks to remove; running ones are kept.
   */
  ids?: string[] | null;
  /**
   * Removes tasks that ended before this time, RFC 3339.
   */
  endedBefore?: string | null;
}
/**
 * The parameters of `place/list`.
 */
export interface PlaceListParams {}
/**
 * The parameters of `workspace/sources`.
 */
export interface SourcesParams {
  /**
   * A directory of the working tree, absolute or relative to the workspace; default the workspace.
   */
  cwd?: string | null;
}
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
   * The id of the session, open or not.
   */
  sessionId: string;
  /**
   * Return only events after this number; default 0, all.
   */
  after?: number | null;
  /**
   * Whether to return lanes to draw instead of events and tasks; default false.
   */
  timeline?: boolean | null;
}
/**
 * Parameters of `session/watch` and `session/unwatch`.
 */
export interface WatchSessionParams {
  /**
   * The id of a session of the workspace that is not open on this connection.
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
 * `initializationOptions`. Unknown members are ignored, because editors put their own settings here.
 */
export interface InitializationOptions {
  /**
   * The queue for every request that does not name one; default `default`.
   */
  queue?: string | null;
  /**
   * How many milliseconds a task outlives the last daemon of its workspace; null: without limit. Default an hour.
   */
  lingerMs?: number | null;
  /**
   * The states newer than version 0.1.0 that the client knows: `queued`. The server sends no others.
   */
  states?: NewState[];
  /**
   * The optional pushes that the client wants: `began`, `timeline`, `state`.
   */
  notify?: NewKind[];
  /**
   * How often the client sends something, in milliseconds: after four times as long without a message the server
   * assumes that the client is gone, and exits. Default: no such check.
   */
  heartbeatMs?: number | null;
  /**
   * A name that identifies the client, of letters, digits, `-` or `_`: a server that remains from an earlier
   * connection of this client exits. Default none.
   */
  client?: string | null;
  /**
   * Which model to use, and the keys for it: `MEANWHILE_MODEL` and the variables of vendors; they take precedence
   * over the environment and the settings file. Kept in memory for this connection, and never shown.
   */
  secrets?: {
    [k: string]: string | undefined;
  };
}
/**
 * What the project adds to the response to `session/request_permission`, in `_meta.meanwhile`.
 */
export interface OwnAnswer {
  /**
   * The text that the person accepts, if it differs from the proposed one.
   */
  edit?: OwnEdit | null;
}
/**
 * A text that a person allows instead of the proposed one.
 */
export interface OwnEdit {
  /**
   * The complete new text of the file.
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
  'workspace/sources': { params: SourcesParams; result: SourcesResult };
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
  'task/state': StatePush;
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
