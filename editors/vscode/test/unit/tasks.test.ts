import { expect, test } from 'vitest';
import type { Task } from '../../src/protocol/generated';
import {
  ago,
  asText,
  bytes,
  description,
  elapsed,
  type Filter,
  outcome,
  passes,
  sentence,
} from '../../src/tasks/describe';
import { TaskStore } from '../../src/tasks/store';
import { shown } from './shown';

const AT = Date.parse('2026-11-22T10:00:00.000Z');

function task(change: Partial<Task> = {}): Task {
  return {
    id: 'b3f9c2a1',
    workspace: '/w',
    queue: 'default',
    command: 'npm test',
    cwd: '/w',
    state: 'running',
    createdAt: new Date(AT).toISOString(),
    output: { total: 0, dropped: 0 },
    shown: shown(),
    ...change,
  };
}

function ended(change: Partial<Task> = {}): Task {
  return task({
    state: 'exited',
    exit: { code: 0, signal: null },
    endedAt: new Date(AT + 4_000).toISOString(),
    durationMs: 4_000,
    shown: shown('succeeded', { stands: 'exit 0', ended: 'exited 0 after 4.0s', took: '4.0s' }),
    ...change,
  });
}

test.each([
  [0, '0.0s'],
  [2_449, '2.4s'],
  [38_000, '38s'],
  [60_000, '1m'],
  [100_000, '1m 40s'],
  [7_500_000, '2h 5m'],
  [90_000_000, '1d 1h'],
])('%i ms is %s', (ms, words) => expect(elapsed(ms)).toBe(words));

test.each([
  [0, '0 B'],
  [1_536, '1.5 KiB'],
  [12 * 1024 * 1024, '12 MiB'],
])('%i bytes are %s', (count, words) => expect(bytes(count)).toBe(words));

test.each([
  [5_000, 'just now'],
  [300_000, '5m ago'],
  [7_200_000, '2h ago'],
  [172_800_000, '2d ago'],
])('%i ms are %s', (ms, words) => expect(ago(ms)).toBe(words));

test.each<[string, Task, number, number | undefined, string]>([
  ['just begun', task(), 3_400, undefined, '3s'],
  ['with a past', task(), 38_000, 92_000, '38s · about 54s left'],
  [
    'with a percentage',
    task({ progress: { percent: 50 } }),
    20_000,
    undefined,
    '20s · about 20s left',
  ],
  ['too early to tell', task({ progress: { percent: 2 } }), 20_000, undefined, '20s'],
  ['longer than usual', task(), 100_000, 92_000, '1m 40s · longer than the usual 1m 32s'],
  [
    'waiting',
    task({ waitsForInput: true, shown: shown('running', { stands: 'waits for input' }) }),
    20_000,
    undefined,
    'waits for input · 20s',
  ],
  [
    'on another machine',
    task({ on: 'build' }),
    20_000,
    92_000,
    'at build · 20s · about 1m 12s left',
  ],
  [
    'on one that cannot be reached',
    task({ on: 'attic', shown: shown('running', { stands: 'running, attic out of reach' }) }),
    20_000,
    undefined,
    'running, attic out of reach · 20s',
  ],
  [
    'done on another machine',
    ended({ on: 'build' }),
    5_000,
    undefined,
    'at build · 4.0s · just now',
  ],
  [
    'stopping',
    task({ shown: shown('stopping', { stands: 'stopping, by client' }) }),
    20_000,
    undefined,
    'stopping, by client · 20s',
  ],
  [
    'queued for a slot',
    task({ shown: shown('queued', { stands: 'queued, 2nd for build' }) }),
    20_000,
    92_000,
    'queued, 2nd for build · 20s',
  ],
  ['done', ended(), 5_000, undefined, '4.0s · just now'],
  [
    'failed',
    ended({ shown: shown('failed', { stands: 'exit 1', took: '4.0s' }) }),
    70_000,
    undefined,
    'exit 1 · 4.0s · 1m ago',
  ],
  [
    'stopped by the user',
    ended({ shown: shown('stopped', { stands: 'stopped by client', took: '4.0s' }) }),
    5_000,
    undefined,
    'stopped by client · 4.0s · just now',
  ],
  [
    'with children left',
    ended({ survivors: [{ pid: 2, command: 'x' }] }),
    5_000,
    undefined,
    '4.0s · just now · 1 left behind',
  ],
])('%s', (_, task, gone, usual, words) => expect(description(task, AT + gone, usual)).toBe(words));

test('a task that waits for input has an icon of its own', () => {
  expect(outcome(task({ waitsForInput: true }))).toBe('waiting');
  expect(outcome(task())).toBe('running');
});

test('sentences for notifications and screen readers', () => {
  expect(sentence(task())).toBe('npm test running');
  expect(sentence(ended())).toBe('npm test exited 0 after 4.0s');
  const title = 'x'.repeat(100);
  expect(sentence(task({ shown: shown('running', { title }) }))).toBe(`${'x'.repeat(79)}… running`);
});

test('a filter looks at state, command, label and id', () => {
  const check = (task: Task, filter: Filter, expected: boolean) =>
    expect(passes(task, filter)).toBe(expected);
  check(task(), { which: 'running', text: 'NPM' }, true);
  check(task(), { which: 'finished', text: '' }, false);
  check(ended(), { which: 'failed', text: '' }, false);
  check(ended({ shown: shown('lost') }), { which: 'failed', text: '' }, true);
  check(ended({ shown: shown('stopped') }), { which: 'failed', text: '' }, false);
  check(task({ label: 'Build' }), { which: 'all', text: 'build' }, true);
  check(task(), { which: 'all', text: 'b3f9' }, true);
  check(task(), { which: 'all', text: 'f9c2' }, false);
});

test('an end is final, whatever comes late', () => {
  const store = new TaskStore();
  store.upsert(ended());
  store.upsert(task());
  store.progress('b3f9c2a1', 50);
  expect(store.get('b3f9c2a1')?.state).toBe('exited');
  store.replace([task()], store.ids());
  expect(store.get('b3f9c2a1')?.state).toBe('exited');
});

test('a list drops what it does not name, but not what began after it was asked for', () => {
  const store = new TaskStore();
  store.upsert(task({ id: '00000001' }));
  const known = store.ids();
  store.upsert(task({ id: '00000002' }));
  store.replace([task({ id: '00000003' })], known);
  expect([...store.ids()].sort()).toEqual(['00000002', '00000003']);
});

test('the order is the daemon’s, and a task that it moves changes the structure', () => {
  const store = new TaskStore();
  const at = (id: string, order: string) => task({ id, shown: shown('running', { order }) });
  store.upsert(at('00000001', '2'));
  store.upsert(at('00000002', '12'));
  store.upsert(at('00000003', '11'));
  expect(store.all().map(({ id }) => id)).toEqual(['00000003', '00000002', '00000001']);
  expect(store.upsert(at('00000001', '0')).structure).toBe(true);
  expect(store.upsert(at('00000001', '0')).structure).toBe(false);
  expect(store.progress('00000001', 10).structure).toBe(false);
  expect(store.all()[0]?.id).toBe('00000001');
});

test('a step stands in no list, until it is a task', () => {
  const store = new TaskStore();
  const step = task({ role: 'step' });
  expect(store.upsert(step).structure).toBe(true);
  expect([store.all(), store.running(), store.size]).toEqual([[], [], 0]);
  expect(store.get(step.id)).toEqual(step);
  expect(store.changed({ running: [step.id], undelivered: {} })).toBe(false);
  expect(store.upsert(task()).structure).toBe(true);
  expect(store.running()).toEqual([task()]);
  // An older message about the task comes late.
  store.upsert(ended({ role: 'step' }));
  expect(store.all()).toEqual([ended()]);
});

test('a step that ended and is not listed any more is forgotten', () => {
  const store = new TaskStore();
  store.upsert(ended({ role: 'step' }));
  store.replace([], store.ids());
  expect(store.get(task().id)).toBeUndefined();
});

test('a snapshot that speaks of others asks for a list', () => {
  const store = new TaskStore();
  store.upsert(task());
  expect(store.changed({ running: ['b3f9c2a1'], undelivered: {} })).toBe(false);
  expect(store.changed({ running: ['b3f9c2a1', '00000001'], undelivered: {} })).toBe(true);
  expect(store.changed({ running: [], undelivered: { default: 1 } })).toBe(true);
});

test('what a command usually takes is its median', () => {
  const store = new TaskStore();
  const usual = () => store.usualMs('npm test');
  expect(usual()).toBeUndefined();
  for (const [id, durationMs] of [90_000, 1_000, 60_000].entries()) {
    store.upsert(ended({ id: `0000000${id}`, durationMs }));
  }
  store.upsert(ended({ id: '00000009', state: 'stopped', durationMs: 5 }));
  expect(usual()).toBe(60_000);
  expect(store.usualMs('another')).toBeUndefined();
});

test('no text of others is a link in a notification', () => {
  // How VS Code finds links in a notification's message (linkedText.ts).
  const link = /\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)(?: (["'])(.+?)(\3))?\)/i;
  const message =
    'error: [Repair](command:workbench.action.terminal.sendSequence?x "t") [a](https://b)';
  expect(message).toMatch(link);
  expect(asText(message)).not.toMatch(link);
  expect(asText('npm test [1/2] (fast)')).toBe('npm test [1/2] (fast)');
});
