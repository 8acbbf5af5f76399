// A session as a person reads it: the daemon's pushes reduced to entries, in order. Pure, and the same
// code in the extension and in its webview, so that a rebuilt view starts from a copy and then applies
// the same events.

import type { Card, Diff, Piece, Timeline, Watched } from '../protocol/generated';
import type {
  PermissionRequest,
  RetryingPush,
  SessionUpdate,
  ToolCall,
  ToolCallUpdate,
  ToolContent,
  ToolStatus,
  TurnPush,
} from '../protocol/session';
import { blockText, changeOf, own } from '../protocol/session';
import { NOTHING, place } from './timeline';

export type Entry =
  | { kind: 'user'; text: string }
  /** A prompt whose turn has not started, because another turn runs. */
  | { kind: 'waiting'; text: string }
  | { kind: 'agent'; text: string; call: number | undefined }
  | { kind: 'thought'; text: string; call: number | undefined }
  | { kind: 'background'; says: string | undefined; cards: Card[] }
  | { kind: 'notice'; text: string }
  | { kind: 'error'; text: string }
  | { kind: 'turn'; text: string }
  | { kind: 'plan'; steps: { content: string; status: string }[] }
  | {
      kind: 'tool';
      id: string;
      title: string;
      tool: string;
      status: ToolStatus;
      input: string;
      output: string;
      diffs: Diff[];
      taskId: string | undefined;
      /** The card of its command, if the agent waited for its end. */
      card?: Card;
      background: boolean;
      /** The kernel confines the command. */
      confined: boolean;
    };

export interface Permission {
  /** Given by this extension; identifies the open request. */
  key: number;
  request: PermissionRequest;
}

/** A prompt from this window; `key` tells two prompts of the same text apart. */
export interface Prompt {
  key: number;
  text: string;
}

export interface SessionModel {
  id: string;
  title: string | undefined;
  entries: Entry[];
  /** Prompts whose turns have not started, in order. */
  sent: Prompt[];
  /** A turn runs. */
  running: boolean;
  retry: string | undefined;
  permissions: Permission[];
  usage: string | undefined;
  timeline: Timeline;
  /** Set if another process has or had the session; `free` if a prompt from here can continue it. */
  held: { says: string; free: boolean } | undefined;
}

export type SessionEvent =
  | { type: 'update'; update: SessionUpdate }
  | { type: 'turn'; push: TurnPush }
  | { type: 'retrying'; push: RetryingPush }
  | { type: 'timeline'; timeline: Timeline }
  | { type: 'pieces'; pieces: Piece[] }
  /** A prompt sent from this window; the daemon does not echo it. */
  | { type: 'prompted'; prompt: Prompt }
  /** A prompt was refused, and no turn started; or its turn failed, and no push said so. */
  | { type: 'refused'; prompt: Prompt; error: string }
  | { type: 'permission'; permission: Permission }
  | { type: 'permissionOver'; key: number }
  | { type: 'held'; held: SessionModel['held'] }
  | { type: 'watched'; watched: Watched };

export function emptySession(id: string): SessionModel {
  return {
    id,
    title: undefined,
    entries: [],
    sent: [],
    running: false,
    retry: undefined,
    permissions: [],
    usage: undefined,
    timeline: NOTHING,
    held: undefined,
  };
}

/** Whether the agent works, or is about to. */
export function works(session: SessionModel | undefined): boolean {
  return session !== undefined && (session.running || session.sent.length > 0);
}

/** Applies one event to the model, in place. */
export function reduce(model: SessionModel, event: SessionEvent): void {
  switch (event.type) {
    case 'update':
      update(model, event.update);
      return;
    case 'turn':
      turn(model, event.push);
      return;
    case 'retrying':
      model.entries = model.entries.filter(
        (entry) =>
          (entry.kind !== 'agent' && entry.kind !== 'thought') || entry.call !== event.push.call,
      );
      model.retry = event.push.says;
      return;
    case 'timeline':
      model.timeline = event.timeline;
      return;
    case 'pieces':
      model.timeline = place(model.timeline, event.pieces);
      return;
    case 'prompted':
      model.sent.push(event.prompt);
      return;
    case 'refused': {
      const { key, text } = event.prompt;
      const waits = model.sent.some((one) => one.key === key);
      if (waits) model.entries.push({ kind: 'user', text });
      model.sent = model.sent.filter((one) => one.key !== key);
      model.entries.push({ kind: 'error', text: event.error });
      return;
    }
    case 'permission':
      model.permissions.push(event.permission);
      asked(model, event.permission.request);
      return;
    case 'permissionOver':
      model.permissions = model.permissions.filter(({ key }) => key !== event.key);
      return;
    case 'held':
      model.held = event.held;
      return;
    case 'watched':
      model.held = {
        says: event.watched.says,
        free: event.watched.holder === 'closed' || event.watched.holder === 'gone',
      };
      model.running &&= event.watched.holder === 'open';
      return;
  }
}

function update(model: SessionModel, update: SessionUpdate): void {
  switch (update.sessionUpdate) {
    case 'user_message_chunk': {
      const { origin, says, cards = [], shown } = own(update);
      const text = shown ?? blockText(update.content);
      if (origin === 'background') model.entries.push({ kind: 'background', says, cards });
      else if (origin === 'notice') model.entries.push({ kind: 'notice', text });
      else append(model, { kind: 'user', text });
      return;
    }
    case 'agent_message_chunk':
    case 'agent_thought_chunk': {
      model.retry = undefined;
      const kind = update.sessionUpdate === 'agent_message_chunk' ? 'agent' : 'thought';
      append(model, { kind, text: blockText(update.content), call: own(update).call });
      return;
    }
    case 'tool_call':
    case 'tool_call_update':
      model.retry = undefined;
      tool(model, update);
      return;
    case 'plan': {
      const steps = update.entries.map(({ content, status }) => ({ content, status }));
      const last = model.entries.findLast((entry) => entry.kind === 'plan');
      if (last) last.steps = steps;
      else model.entries.push({ kind: 'plan', steps });
      return;
    }
    case 'usage_update':
      model.usage = own(update).says;
      return;
    case 'session_info_update':
      if (update.title) model.title = update.title;
      return;
    // The protocol has these; this daemon does not send them.
    case 'available_commands_update':
    case 'current_mode_update':
    case 'config_option_update':
    case 'notice':
    case 'compaction_update':
    case 'compaction_summary_chunk':
      return;
  }
}

/** Joins chunks of one kind and one model call into one entry. */
function append(
  model: SessionModel,
  said: Extract<Entry, { kind: 'user' | 'agent' | 'thought' }>,
): void {
  const last = model.entries.at(-1);
  const call = (entry: Entry) => ('call' in entry ? entry.call : undefined);
  if (last?.kind === said.kind && call(last) === call(said)) last.text += said.text;
  else model.entries.push(said);
}

/** Shows a proposed change as a diff, instead of the arguments of its call. */
function asked(model: SessionModel, request: PermissionRequest): void {
  const id = request.toolCall.toolCallId;
  const entry = model.entries.findLast((one) => one.kind === 'tool' && one.id === id);
  const change = changeOf(request);
  if (entry?.kind === 'tool' && change) entry.diffs = [change];
}

function tool(model: SessionModel, call: ToolCall | ToolCallUpdate): void {
  const { taskId, background, confined, card } = own(call);
  let entry = model.entries.findLast(
    (entry) => entry.kind === 'tool' && entry.id === call.toolCallId,
  );
  if (entry?.kind !== 'tool') {
    entry = {
      kind: 'tool',
      id: call.toolCallId,
      title: call.toolCallId,
      tool: 'other',
      status: 'pending',
      input: '',
      output: '',
      diffs: [],
      taskId: undefined,
      background: false,
      confined: false,
    };
    model.entries.push(entry);
  }
  if (call.title) entry.title = call.title;
  if (call.kind) entry.tool = call.kind;
  if (call.status) entry.status = call.status;
  if (call.rawInput !== undefined) entry.input = shown(call.rawInput, entry.title);
  if (call.content) {
    // The text of a command's result is for the model; people see the card's output.
    entry.output =
      background || entry.background
        ? ''
        : (card?.output ?? call.content.map(contentText).filter(Boolean).join('\n'));
    const diffs = call.content.flatMap((part) => (part.type === 'diff' ? [part] : []));
    // A refused change has no diff here: keep the proposed one.
    if (diffs.length > 0) entry.diffs = diffs;
    const terminal = call.content.find((part) => part.type === 'terminal');
    if (terminal) entry.taskId = terminal.terminalId;
  }
  if (taskId !== undefined) entry.taskId = taskId;
  if (card) entry.card = card;
  if (background) entry.background = true;
  if (confined !== undefined) entry.confined = true;
}

function contentText(part: ToolContent): string {
  switch (part.type) {
    case 'content':
      return blockText(part.content);
    case 'diff':
    case 'terminal':
      return '';
  }
}

/** The arguments as text for a person, without those that `before` already contains. */
export function shown(input: unknown, before: string): string {
  if (input === null || typeof input !== 'object') return String(input ?? '');
  const entries = Object.entries(input);
  return entries
    .map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)])
    .filter(([, text]) => !before.includes(text ?? ''))
    .map(([key, text]) => (entries.length > 1 ? `${key}: ${text}` : text))
    .join('\n');
}

function turn(model: SessionModel, push: TurnPush): void {
  model.running = push.state === 'started';
  if (push.prompt !== undefined) {
    model.sent.shift();
    model.entries.push({ kind: 'user', text: push.prompt });
  }
  if (model.running) return;
  model.retry = undefined;
  model.permissions = [];
  if (push.error !== undefined) model.entries.push({ kind: 'error', text: push.error });
  if (push.says !== undefined) model.entries.push({ kind: 'turn', text: push.says });
}
