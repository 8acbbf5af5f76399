// Generated from docs/schema.json by `npm run generate`. Not to be edited.

/**
 * Where a task is in its life. The last four are ends.
 */
export type TaskState = 'running' | 'stopping' | 'exited' | 'stopped' | 'timedOut' | 'lost';
/**
 * Who may end a task.
 */
export type Actor = 'client' | 'agent' | 'deadline' | 'linger' | 'limit' | 'daemon';
/**
 * A moment: RFC 3339, UTC, with milliseconds.
 */
export type DateTime = string;
/**
 * What told an end to the owner of its queue.
 */
export type DeliveredBy = 'drain' | 'wait' | 'check';
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
 * The codes of the contract, beyond JSON-RPC's and LSP's own.
 */
export type Code =
  | 'unknownTask'
  | 'spawnFailed'
  | 'limitReached'
  | 'notRunning'
  | 'storeUnavailable'
  | 'noModel'
  | 'permissionDenied'
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
}
/**
 * The leader's wait status. Both are null where nobody knows it.
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
 * Result of `task/remove`.
 */
export interface RemoveResult {
  /**
   * How many were removed.
   */
  removed: number;
}
/**
 * Parameters of `task/started`.
 */
export interface StartedPush {
  task: Task;
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
 * `capabilities.experimental.meanwhile` of the result.
 */
export interface Capability {
  /**
   * The version of the contract.
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
  limits: Limits;
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
   * Most rows or columns of a terminal.
   */
  ptySide: number;
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
  'task/write': { params: WriteParams; result: Empty };
  'task/subscribe': { params: SubscribeParams; result: Empty };
  'task/unsubscribe': { params: UnsubscribeParams; result: Empty };
  'task/remove': { params: RemoveParams; result: RemoveResult };
}

/** Every push of the server, by its method. */
export interface Pushes {
  'task/started': StartedPush;
  'task/output': OutputPush;
  'task/progress': ProgressPush;
  'task/notified': NotifiedPush;
  'task/exited': ExitedPush;
  'tasks/changed': Changed;
}

export const PROTOCOL_VERSION = 1;
