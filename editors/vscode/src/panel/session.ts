// A session as a person reads it: the daemon's pushes folded into entries, in order. Pure, and the
// same code in the extension and in its webview, so that a view that was thrown away is rebuilt from
// one copy and then follows by the same steps.

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
  /** Sent, and not begun with: another turn runs. */
  | { kind: 'waiting'; text: string }
  | { kind: 'agent'; text: string; call: number | undefined }
  | { kind: 'thought'; text: string; call: number | undefined }
  | { kind: 'background'; cards: Card[]; call: number | undefined }
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
      /** Its command, which was waited for to its end. */
      card?: Card;
      background: boolean;
      /** The kernel holds what it can do. */
      confined: boolean;
    };

export interface Permission {
  /** Ours: names the request among those open. */
  key: number;
  request: PermissionRequest;
}

export interface SessionModel {
  id: string;
  title: string | undefined;
  entries: Entry[];
  /** What a person sent and the agent has not begun with, in order. */
  waiting: string[];
  /** The last one shown was sent to an idle agent, whose turn will begin with it. */
  early: boolean;
  /** A turn runs. */
  busy: boolean;
  /** Turns of prompts whose end was told and whose prompt is not answered yet: another may run by then. */
  over: number;
  retry: string | undefined;
  permissions: Permission[];
  usage: string | undefined;
  timeline: Timeline;
  /** Another process has it, or had it, and whether a prompt from here can go on with it. */
  held: { says: string; free: boolean } | undefined;
}

export type SessionEvent =
  | { type: 'update'; update: SessionUpdate }
  | { type: 'turn'; push: TurnPush }
  | { type: 'retrying'; push: RetryingPush }
  | { type: 'timeline'; timeline: Timeline }
  | { type: 'pieces'; pieces: Piece[] }
  /** What a person sent from here; the daemon does not echo it. */
  | { type: 'prompted'; text: string }
  | { type: 'answered'; text?: string; error: string | undefined }
  | { type: 'permission'; permission: Permission }
  | { type: 'permissionOver'; key: number }
  | { type: 'held'; held: SessionModel['held'] }
  | { type: 'watched'; watched: Watched };

export function emptySession(id: string): SessionModel {
  return {
    id,
    title: undefined,
    entries: [],
    waiting: [],
    early: false,
    busy: false,
    over: 0,
    retry: undefined,
    permissions: [],
    usage: undefined,
    timeline: NOTHING,
    held: undefined,
  };
}

/** Takes one event in. Changes the model it is given. */
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
      model.waiting.push(event.text);
      if (!model.busy) begin(model);
      model.early ||= !model.busy;
      model.busy = true;
      return;
    case 'answered':
      // One that was refused never began.
      if (event.error !== undefined && model.waiting[0] === event.text) begin(model);
      else if (model.over > 0) {
        model.over -= 1;
        return;
      }
      ended(model, undefined, event.error);
      return;
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
      model.held = holderOf(event.watched);
      model.busy &&= event.watched.holder === 'open';
      return;
  }
}

function holderOf({ holder, pid, asks: [asked] }: Watched): SessionModel['held'] {
  switch (holder) {
    case 'open':
      return {
        says: asked
          ? `Process ${pid} is asked, and to be answered there: may the agent ${asked.question}?`
          : `Process ${pid} has this session open: what is said there is shown here.`,
        free: false,
      };
    case 'deleted':
      return { says: 'The session was deleted in another process.', free: false };
    case 'closed':
    case 'gone':
      return { says: 'Free again: the next prompt goes on with it here.', free: true };
  }
}

function update(model: SessionModel, update: SessionUpdate): void {
  switch (update.sessionUpdate) {
    case 'user_message_chunk': {
      const { origin, cards = [], call, shown } = own(update);
      const text = shown ?? blockText(update.content);
      if (origin === 'background') model.entries.push({ kind: 'background', cards, call });
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
    // The protocol has them; this daemon does not say them.
    case 'available_commands_update':
    case 'current_mode_update':
    case 'config_option_update':
    case 'notice':
    case 'compaction_update':
    case 'compaction_summary_chunk':
      return;
  }
}

/** Chunks of one voice, in one model call, are one entry. */
function append(
  model: SessionModel,
  said: Extract<Entry, { kind: 'user' | 'agent' | 'thought' }>,
): void {
  const last = model.entries.at(-1);
  const call = (entry: Entry) => ('call' in entry ? entry.call : undefined);
  if (last?.kind === said.kind && call(last) === call(said)) last.text += said.text;
  else model.entries.push(said);
}

/** A change is shown as what it is, in the place of the arguments of its call. */
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
    // Of a command the text is for the model.
    entry.output =
      background || entry.background
        ? ''
        : (card?.output ?? call.content.map(contentText).filter(Boolean).join('\n'));
    const diffs = call.content.flatMap((part) => (part.type === 'diff' ? [part] : []));
    // Of one that was refused the change that was asked about stays.
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

/** Arguments as a person reads them, without those that the words before them have. */
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
  if (push.state === 'started') {
    model.busy = true;
    if (push.origin === 'background') {
      model.entries.push({ kind: 'turn', text: 'Woken by a background result' });
    } else if (model.early) model.early = false;
    else begin(model);
    return;
  }
  if (push.origin === 'prompt') model.over += 1;
  ended(model, push.says, push.error);
}

/** The turn of the prompt that waited longest. */
function begin(model: SessionModel): void {
  const text = model.waiting.shift();
  if (text === undefined) return;
  model.entries.push({ kind: 'user', text });
}

function ended(model: SessionModel, says: string | undefined, error: string | undefined) {
  model.busy = false;
  model.early = false;
  model.retry = undefined;
  model.permissions = [];
  const last = model.entries.at(-1);
  if (error !== undefined) {
    if (last?.kind !== 'error' || last.text !== error) {
      model.entries.push({ kind: 'error', text: error });
    }
    return;
  }
  if (says !== undefined && (last?.kind !== 'turn' || last.text !== says)) {
    model.entries.push({ kind: 'turn', text: says });
  }
}
