// The agent's half of the protocol: ACP v1 shapes, with what is particular to this daemon under
// `_meta.meanwhile`, and the trace that the timeline is drawn from.

export interface ContentBlock {
  type: string;
  text?: string;
  uri?: string;
  name?: string;
  resource?: { uri: string; text?: string; mimeType?: string };
}

export type ToolStatus = 'pending' | 'in_progress' | 'completed' | 'failed';

export type ToolContent =
  | { type: 'content'; content: ContentBlock }
  | { type: 'diff'; path: string; oldText?: string | null; newText: string }
  | { type: 'terminal'; terminalId: string };

export interface Meta {
  meanwhile?: {
    origin?: 'background' | 'notice';
    taskIds?: string[];
    call?: number;
    taskId?: string;
    background?: boolean;
    model?: string;
  };
}

export interface ToolCall {
  toolCallId: string;
  title?: string | null;
  kind?: string | null;
  status?: ToolStatus | null;
  rawInput?: unknown;
  rawOutput?: unknown;
  content?: ToolContent[] | null;
  locations?: { path: string; line?: number | null }[] | null;
  _meta?: Meta | null;
}

export type SessionUpdate =
  | {
      sessionUpdate: 'user_message_chunk' | 'agent_message_chunk' | 'agent_thought_chunk';
      content: ContentBlock;
      _meta?: Meta | null;
    }
  | ({ sessionUpdate: 'tool_call' | 'tool_call_update' } & ToolCall)
  | { sessionUpdate: 'plan'; entries: { content: string; status: string }[] }
  | {
      sessionUpdate: 'usage_update';
      used?: number;
      size?: number;
      cost?: { amount: number } | null;
    }
  | { sessionUpdate: 'session_info_update'; title?: string | null };

export interface UpdatePush {
  sessionId: string;
  update: SessionUpdate;
}

export interface TurnPush {
  sessionId: string;
  turn: number;
  state: 'started' | 'ended';
  origin: 'prompt' | 'background';
  stopReason?: string;
  error?: string;
}

export interface RetryingPush {
  sessionId: string;
  attempt: number;
  delayMs: number;
  message: string;
}

export interface TracedPush {
  sessionId: string;
  event: TraceEvent;
}

export interface PermissionOption {
  optionId: string;
  name: string;
  kind: 'allow_once' | 'allow_always' | 'reject_once' | 'reject_always';
}

export interface PermissionRequest {
  sessionId: string;
  toolCall: ToolCall;
  options: PermissionOption[];
}

export type PermissionAnswer = {
  outcome: { outcome: 'selected'; optionId: string } | { outcome: 'cancelled' };
};

export interface SessionInfo {
  sessionId: string;
  cwd: string;
  title?: string | null;
  updatedAt?: string | null;
}

export type TraceEvent = { n: number; at: string } & (
  | { type: 'turn_started'; turn: number; origin: 'prompt' | 'background'; title?: string }
  | { type: 'call_started'; turn: number; call: number }
  | {
      type: 'call_ended';
      turn: number;
      call: number;
      stopReason?: string;
      error?: string;
      inputTokens?: number;
      outputTokens?: number;
      cachedTokens?: number;
      costUsd?: number;
    }
  | { type: 'tool_started'; call: number; toolCallId: string; name: string; title: string }
  | { type: 'tool_ended'; toolCallId: string; isError: boolean }
  | {
      type: 'task_spawned';
      call: number;
      toolCallId: string;
      taskId: string;
      command: string;
      moved: boolean;
    }
  | {
      type: 'delivered';
      call: number;
      taskId: string;
      seq?: number;
      kind: 'exited' | 'matched' | 'stalled';
      by: 'drain' | 'check' | 'wait';
    }
  | { type: 'turn_ended'; turn: number; stopReason: string; error?: string }
  | { type: 'compacted'; call?: number }
  | { type: 'resumed' }
);

export interface TraceTask {
  taskId: string;
  command: string;
  toolCallId?: string;
  spawnedInCall?: number;
  spawnedAt: string;
  endedAt?: string;
  queuedAt?: string;
  seq?: number;
  state: string;
  exit?: { code: number | null; signal: string | null };
  cause?: { actor: string; message: string };
  deliveredInCall?: number;
  deliveredBy?: string;
}

export interface TraceResult {
  sessionId: string;
  events: TraceEvent[];
  tasks: TraceTask[];
  next: number;
}
