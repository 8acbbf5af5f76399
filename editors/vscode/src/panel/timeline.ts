// Turns a session's trace, or a plain list of tasks, into lanes that can be drawn. Pure: the view
// draws what is here and decides nothing about time.
//
// A result's journey is what the picture is for: a task runs (bar), its result waits in the queue
// (thin segment), and enters the conversation at the start of a model call (drain point).

import type { Task } from '../protocol/generated';
import type { TraceEvent, TraceTask } from '../protocol/session';
import { elapsed, oneLine, outcome, title } from '../tasks/describe';
import { hasEnded } from '../tasks/store';

export type SpanKind = 'turn' | 'call' | 'tool' | 'task' | 'queue';
export type Look = 'running' | 'succeeded' | 'failed' | 'stopped' | 'neutral';

export interface Span {
  key: string;
  kind: SpanKind;
  from: number;
  /** Undefined: it goes on. */
  to: number | undefined;
  look: Look;
  /** What a screen reader and the hover say first. */
  name: string;
  details: string[];
}

export interface Mark {
  key: string;
  kind: 'call' | 'drain' | 'compacted' | 'resumed';
  at: number;
  name: string;
  details: string[];
  /** Drawn beside it, if there is room. */
  text: string;
}

export interface Lane {
  key: string;
  kind: 'agent' | 'task';
  name: string;
  taskId: string | undefined;
  look: Look;
  spans: Span[];
  marks: Mark[];
}

/** A line between two lanes: a call that began a task, a result that came back. */
export interface Link {
  key: string;
  kind: 'spawned' | 'delivered';
  fromLane: string;
  toLane: string;
  at: number;
}

export interface Timeline {
  lanes: Lane[];
  links: Link[];
  start: number;
  /** Undefined while something goes on. */
  end: number | undefined;
  /** How many lanes were left out. */
  omitted: number;
}

/** More lanes than anybody reads; the newest are shown. */
export const LANES_MAX = 200;
const AGENT = 'agent';

export function sessionTimeline(events: TraceEvent[], tasks: TraceTask[]): Timeline {
  const agent: Lane = {
    key: AGENT,
    kind: 'agent',
    name: 'Agent',
    taskId: undefined,
    look: 'neutral',
    spans: [],
    marks: [],
  };
  const spans = new Map<string, Span>();
  const callStart = new Map<number, number>();
  const delivered = new Map<number, { taskId: string; kind: string; by: string }[]>();
  const open = (span: Span) => {
    spans.set(span.key, span);
    agent.spans.push(span);
  };
  const close = (key: string, at: number, look: Look, details: string[]) => {
    const span = spans.get(key);
    if (!span || span.to !== undefined) return;
    span.to = at;
    span.look = look;
    span.details.push(...details, elapsed(at - span.from));
  };
  /** Nothing outlives the process that ran it: what was open when a session is resumed ended unseen. */
  const closeAll = (at: number) => {
    for (const span of spans.values()) {
      if (span.to === undefined) close(span.key, at, 'stopped', ['interrupted']);
    }
  };
  for (const event of events) {
    const at = Date.parse(event.at);
    switch (event.type) {
      case 'turn_started':
        open({
          key: `turn:${event.turn}`,
          kind: 'turn',
          from: at,
          to: undefined,
          look: 'running',
          name:
            event.origin === 'background'
              ? `Turn ${event.turn}, woken by a background result`
              : `Turn ${event.turn}: ${oneLine(event.title ?? 'prompt')}`,
          details: [],
        });
        break;
      case 'turn_ended':
        close(`turn:${event.turn}`, at, event.error ? 'failed' : 'succeeded', [
          event.error ?? event.stopReason.replaceAll('_', ' '),
        ]);
        break;
      case 'call_started':
        callStart.set(event.call, at);
        open({
          key: `call:${event.call}`,
          kind: 'call',
          from: at,
          to: undefined,
          look: 'running',
          name: `Model call ${event.call}`,
          details: [],
        });
        agent.marks.push({
          key: `tick:${event.call}`,
          kind: 'call',
          at,
          name: `Model call ${event.call} begins`,
          details: [],
          text: String(event.call),
        });
        break;
      case 'call_ended':
        close(
          `call:${event.call}`,
          at,
          event.error ? 'failed' : 'succeeded',
          [event.error, usage(event), event.stopReason?.replaceAll('_', ' ')].filter(
            (text) => typeof text === 'string',
          ),
        );
        break;
      case 'tool_started':
        open({
          key: `tool:${event.toolCallId}`,
          kind: 'tool',
          from: at,
          to: undefined,
          look: 'running',
          name: `Tool ${event.name}: ${oneLine(event.title)}`,
          details: [],
        });
        break;
      case 'tool_ended':
        close(`tool:${event.toolCallId}`, at, event.isError ? 'failed' : 'succeeded', []);
        break;
      case 'task_spawned':
        break;
      case 'delivered':
        delivered.set(event.call, [...(delivered.get(event.call) ?? []), event]);
        break;
      case 'compacted':
        agent.marks.push({
          key: `compacted:${event.n}`,
          kind: 'compacted',
          at,
          name: 'The conversation was compacted',
          details: [],
          text: '',
        });
        break;
      case 'resumed':
        closeAll(at);
        agent.marks.push({
          key: `resumed:${event.n}`,
          kind: 'resumed',
          at,
          name: 'The session was opened again',
          details: [],
          text: '',
        });
        break;
    }
  }
  const links: Link[] = [];
  const sorted = [...tasks].sort((a, b) => (a.spawnedAt < b.spawnedAt ? -1 : 1));
  const shown = sorted.slice(-LANES_MAX);
  const lanes = shown.map((task) => traceLane(task, callStart, links));
  const names = new Map(tasks.map((task) => [task.taskId, oneLine(task.command)]));
  for (const [call, results] of delivered) {
    const drained = results.filter((result) => result.by === 'drain');
    const at = callStart.get(call);
    if (at === undefined || drained.length === 0) continue;
    agent.marks.push({
      key: `drain:${call}`,
      kind: 'drain',
      at,
      name: `Drain point: model call ${call} took in ${drained.length} background ${drained.length === 1 ? 'result' : 'results'}`,
      details: drained.map(
        (result) => `${names.get(result.taskId) ?? result.taskId}, ${result.kind}`,
      ),
      text: '',
    });
  }
  return finish([agent, ...lanes], links, sorted.length - shown.length);
}

/** All tasks of a folder, of every client; the drain point is when their result was taken. */
export function taskTimeline(tasks: Task[]): Timeline {
  const sorted = [...tasks].sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  const running = sorted.filter((task) => !hasEnded(task));
  const room = Math.max(0, LANES_MAX - running.length);
  const ended = room === 0 ? [] : sorted.filter(hasEnded).slice(-room);
  const shown = [...ended, ...running.slice(-LANES_MAX)];
  const lanes = shown.map((task): Lane => {
    const from = Date.parse(task.createdAt);
    const to = task.endedAt === undefined ? undefined : Date.parse(task.endedAt);
    const lane = taskLane(task.id, title(task), task, { from, to, tookMs: task.durationMs });
    if (to !== undefined && task.delivered) {
      const taken = Date.parse(task.delivered.at);
      addQueue(lane, to, taken, task.queue);
      lane.marks.push({
        key: `drain:${task.id}`,
        kind: 'drain',
        at: taken,
        name: `Taken from the queue ${task.queue} by ${task.delivered.by}`,
        details: [],
        text: '',
      });
    }
    return lane;
  });
  return finish(lanes, [], tasks.length - shown.length);
}

function traceLane(task: TraceTask, callStart: Map<number, number>, links: Link[]): Lane {
  const from = Date.parse(task.spawnedAt);
  const to = task.endedAt === undefined ? undefined : Date.parse(task.endedAt);
  const lane = taskLane(
    task.taskId,
    oneLine(task.command),
    task,
    { from, to, tookMs: to === undefined ? undefined : to - from },
    task.spawnedInCall === undefined ? [] : [`began by model call ${task.spawnedInCall}`],
  );
  if (task.spawnedInCall !== undefined && callStart.has(task.spawnedInCall)) {
    links.push({
      key: `spawned:${task.taskId}`,
      kind: 'spawned',
      fromLane: AGENT,
      toLane: task.taskId,
      at: from,
    });
  }
  const queued = task.queuedAt === undefined ? to : Date.parse(task.queuedAt);
  const taken =
    task.deliveredInCall === undefined ? undefined : callStart.get(task.deliveredInCall);
  if (queued !== undefined && to !== undefined) {
    addQueue(lane, queued, taken, undefined);
    if (taken !== undefined) {
      lane.marks.push({
        key: `drain:${task.taskId}`,
        kind: 'drain',
        at: taken,
        name: `Entered the conversation at model call ${task.deliveredInCall}${task.deliveredBy && task.deliveredBy !== 'drain' ? `, by ${task.deliveredBy}` : ''}`,
        details: [],
        text: '',
      });
      links.push({
        key: `delivered:${task.taskId}`,
        kind: 'delivered',
        fromLane: task.taskId,
        toLane: AGENT,
        at: taken,
      });
    }
  }
  return lane;
}

/** The lane of one task, with its bar. */
function taskLane(
  id: string,
  name: string,
  task: Pick<Task, 'shown' | 'cause'>,
  when: { from: number; to: number | undefined; tookMs: number | undefined },
  more: string[] = [],
): Lane {
  const look = lookOf(task);
  const details = [
    task.shown.stands,
    ...(when.tookMs === undefined ? [] : [elapsed(when.tookMs)]),
    ...(task.cause ? [task.cause.message] : []),
    ...more,
  ];
  const { from, to } = when;
  return {
    key: id,
    kind: 'task',
    name,
    taskId: id,
    look,
    spans: [{ key: `task:${id}`, kind: 'task', from, to, look, name, details }],
    marks: [],
  };
}

function addQueue(lane: Lane, from: number, to: number | undefined, queue: string | undefined) {
  const where = queue === undefined ? 'in the queue' : `in the queue ${queue}`;
  lane.spans.push({
    key: `queue:${lane.key}`,
    kind: 'queue',
    from,
    to,
    look: 'neutral',
    name: to === undefined ? `Result waits ${where}` : `Result waited ${where}`,
    details: to === undefined ? [] : [elapsed(to - from)],
  });
}

function lookOf(task: Pick<Task, 'shown'>): Look {
  switch (outcome(task)) {
    case 'running':
    case 'waiting':
    case 'stopping':
      return 'running';
    case 'succeeded':
      return 'succeeded';
    case 'failed':
    case 'timedOut':
    case 'lost':
      return 'failed';
    case 'stopped':
      return 'stopped';
  }
}

type CallEnded = Extract<TraceEvent, { type: 'call_ended' }>;

function usage({ inputTokens, outputTokens, costUsd }: CallEnded): string | undefined {
  if (typeof inputTokens !== 'number' && typeof outputTokens !== 'number') return undefined;
  const cost = typeof costUsd === 'number' ? `, $${costUsd.toFixed(4)}` : '';
  return `${inputTokens ?? 0} tokens in, ${outputTokens ?? 0} out${cost}`;
}

function finish(lanes: Lane[], links: Link[], omitted: number): Timeline {
  let start = Number.POSITIVE_INFINITY;
  let end = 0;
  let open = false;
  for (const lane of lanes) {
    for (const span of lane.spans) {
      start = Math.min(start, span.from);
      end = Math.max(end, span.to ?? span.from);
      // A result that waits for an agent that sleeps may wait for days: no reason to go on drawing.
      open ||= span.to === undefined && span.kind !== 'queue';
    }
    for (const mark of lane.marks) {
      start = Math.min(start, mark.at);
      end = Math.max(end, mark.at);
    }
  }
  if (start === Number.POSITIVE_INFINITY) return { lanes, links, start: 0, end: 0, omitted };
  return { lanes, links, start, end: open ? undefined : end, omitted };
}

/** Steps of the time axis, in milliseconds. */
const STEPS = [
  10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5,
  72e5, 108e5, 216e5, 432e5, 864e5,
];

/** Where the axis has its lines: at most one in `gap` pixels. */
export function axis(from: number, to: number, width: number, gap = 90): number[] {
  const step =
    STEPS.find((step) => (step / (to - from)) * width >= gap) ??
    Math.ceil((to - from) / (width / gap) / 864e5) * 864e5;
  const lines: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) lines.push(at);
  return lines;
}
