import { expect, test } from 'vitest';
import {
  axis,
  LANES_MAX,
  sessionTimeline,
  type Timeline,
  taskTimeline,
} from '../../src/panel/timeline';
import type { Task } from '../../src/protocol/generated';
import type { TraceEvent, TraceTask } from '../../src/protocol/session';
import { shown } from './shown';

const ZERO = Date.parse('2026-11-22T10:00:00.000Z');
const at = (seconds: number) => new Date(ZERO + seconds * 1_000).toISOString();

/** A session in which a build of 8 s is started at 2 s, and its result is taken in at 12 s. */
const EVENTS: TraceEvent[] = (
  [
    [0, { type: 'turn_started', turn: 1, origin: 'prompt', title: 'build' }],
    [0, { type: 'call_started', turn: 1, call: 1 }],
    [
      2,
      {
        type: 'call_ended',
        turn: 1,
        call: 1,
        stopReason: 'tool_use',
        inputTokens: 10,
        outputTokens: 5,
        costUsd: 0.001,
      },
    ],
    [2, { type: 'tool_started', call: 1, toolCallId: 't1', name: 'background_run', title: 'make' }],
    [
      2,
      {
        type: 'task_spawned',
        call: 1,
        toolCallId: 't1',
        taskId: 'a',
        command: 'make',
        moved: false,
      },
    ],
    [3, { type: 'tool_ended', toolCallId: 't1', isError: false }],
    [3, { type: 'call_started', turn: 1, call: 2 }],
    [12, { type: 'call_ended', turn: 1, call: 2, error: 'overloaded' }],
    [12, { type: 'delivered', call: 3, taskId: 'a', seq: 1, kind: 'exited', by: 'drain' }],
    [12, { type: 'call_started', turn: 1, call: 3 }],
    [14, { type: 'call_ended', turn: 1, call: 3 }],
    [14, { type: 'turn_ended', turn: 1, stopReason: 'end_turn' }],
  ] as [number, object][]
).map(([seconds, event], index) => ({ n: index + 1, at: at(seconds), ...event }) as TraceEvent);

const TASK: TraceTask = {
  taskId: 'a',
  command: 'make',
  spawnedInCall: 1,
  spawnedAt: at(2),
  endedAt: at(10),
  queuedAt: at(10),
  state: 'exited',
  exit: { code: 1, signal: null },
  deliveredInCall: 3,
  deliveredBy: 'drain',
  shown: shown('failed', { stands: 'exit 1' }),
};

/** Lanes in words: what lies where, in seconds. */
function drawn({ lanes }: Timeline): string[] {
  const seconds = (ms: number | undefined) => (ms === undefined ? '..' : (ms - ZERO) / 1_000);
  return lanes.map(({ name, spans, marks }) =>
    [
      `${name}:`,
      ...spans.map(
        (span) => `${span.kind}[${seconds(span.from)}-${seconds(span.to)} ${span.look}]`,
      ),
      ...marks.map((mark) => `${mark.kind}@${seconds(mark.at)}`),
    ].join(' '),
  );
}

test('a session: the agent, its calls, a task, the queue, the drain point', () => {
  const timeline = sessionTimeline(EVENTS, [TASK]);
  expect(drawn(timeline)).toEqual([
    'Agent: turn[0-14 succeeded] call[0-2 succeeded] tool[2-3 succeeded] call[3-12 failed] call[12-14 succeeded] call@0 call@3 call@12 drain@12',
    'make: task[2-10 failed] queue[10-12 neutral] drain@12',
  ]);
  expect(timeline.links).toMatchObject([
    { kind: 'spawned', fromLane: 'agent', toLane: 'a', at: ZERO + 2_000 },
    { kind: 'delivered', fromLane: 'a', toLane: 'agent', at: ZERO + 12_000 },
  ]);
  expect([timeline.start, timeline.end]).toEqual([ZERO, ZERO + 14_000]);
});

test('it says what a screen reader needs', () => {
  const [agent, task] = sessionTimeline(EVENTS, [TASK]).lanes;
  expect(agent?.spans[1]).toMatchObject({
    name: 'Model call 1',
    details: ['10 tokens in, 5 out, $0.0010', 'tool use', '2.0s'],
  });
  expect(agent?.spans[3]?.details[0]).toBe('overloaded');
  expect(agent?.marks.at(-1)).toMatchObject({
    name: 'Drain point: model call 3 took in 1 background result',
    details: ['make, exited'],
  });
  expect(task?.spans[0]?.details).toEqual(['exit 1', '8.0s', 'began by model call 1']);
  expect(task?.marks[0]?.name).toBe('Entered the conversation at model call 3');
});

test('live: what has not ended is open, and so is the story', () => {
  const { endedAt, queuedAt, deliveredInCall, ...task } = TASK;
  const timeline = sessionTimeline(EVENTS.slice(0, 7), [
    { ...task, state: 'running', shown: shown() },
  ]);
  expect(drawn(timeline)).toEqual([
    'Agent: turn[0-.. running] call[0-2 succeeded] tool[2-3 succeeded] call[3-.. running] call@0 call@3',
    'make: task[2-.. running]',
  ]);
  expect(timeline.end).toBeUndefined();
});

test('a result that waits does not keep the story open', () => {
  const { deliveredInCall, ...task } = TASK;
  const timeline = sessionTimeline(
    EVENTS.filter(({ type }) => type !== 'delivered'),
    [task],
  );
  expect(drawn(timeline)[1]).toBe('make: task[2-10 failed] queue[10-.. neutral]');
  expect(timeline.end).toBe(ZERO + 14_000);
});

test('what a killed daemon left open ends where the session was opened again', () => {
  const resumed = { n: 8, at: at(20), type: 'resumed' } as TraceEvent;
  expect(drawn(sessionTimeline([...EVENTS.slice(0, 7), resumed], []))).toEqual([
    'Agent: turn[0-20 stopped] call[0-2 succeeded] tool[2-3 succeeded] call[3-20 stopped] call@0 call@3 resumed@20',
  ]);
});

test('a check or a wait tells a result too, but drains nothing', () => {
  const events = EVENTS.map((event) =>
    event.type === 'delivered' ? { ...event, by: 'wait' as const } : event,
  );
  const timeline = sessionTimeline(events, [{ ...TASK, deliveredBy: 'wait' }]);
  expect(drawn(timeline)[0]).not.toContain('drain');
  expect(timeline.lanes[1]?.marks[0]?.name).toBe(
    'Entered the conversation at model call 3, by wait',
  );
});

const task = (id: string, change: Partial<Task> = {}): Task => ({
  id,
  workspace: '/w',
  queue: 'default',
  command: `run ${id}`,
  cwd: '/w',
  state: 'running',
  createdAt: at(Number(id)),
  output: { total: 0, dropped: 0 },
  shown: shown('running', { title: `run ${id}` }),
  ...change,
});

test('plain tasks: oldest first, with the queue up to where the result was taken', () => {
  const ended = {
    state: 'exited',
    exit: { code: 0, signal: null },
    endedAt: at(9),
    durationMs: 8_000,
  } as const;
  const words = (id: string) => shown('succeeded', { title: `run ${id}` });
  const timeline = taskTimeline([
    task('2'),
    task('1', { ...ended, shown: words('1'), delivered: { at: at(11), by: 'drain' } }),
    task('0', { ...ended, shown: words('0') }),
  ]);
  expect(drawn(timeline)).toEqual([
    'run 0: task[0-9 succeeded]',
    'run 1: task[1-9 succeeded] queue[9-11 neutral] drain@11',
    'run 2: task[2-.. running]',
  ]);
});

test('of very many tasks the newest are drawn, and all that run', () => {
  const ended = Array.from({ length: 500 }, (_, n) =>
    task(String(n), { state: 'stopped', endedAt: at(n + 1) }),
  );
  const timeline = taskTimeline([...ended, task('0')]);
  expect(timeline.lanes).toHaveLength(LANES_MAX);
  expect(timeline.omitted).toBe(501 - LANES_MAX);
  expect(timeline.lanes.at(-1)?.look).toBe('running');
});

test.each([
  [1_000, 10],
  [60_000, 7],
  [86_400_000, 9],
])('the axis of %i ms has lines that can be read', (span, most) => {
  const lines = axis(ZERO, ZERO + span, 800);
  expect(lines.length).toBeGreaterThan(2);
  expect(lines.length).toBeLessThanOrEqual(most);
});
