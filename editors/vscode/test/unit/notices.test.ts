import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Folders, PERSON } from '../../src/folders';
import { Notices } from '../../src/notices';
import type { Terminals } from '../../src/output/terminal';
import type { Panel } from '../../src/panel/panel';
import type { Notification, Task } from '../../src/protocol/generated';
import type { TaskTree } from '../../src/tasks/view';
import { EventEmitter, settings, window } from './editor';
import { shown } from './shown';

beforeEach(() => {
  vi.useFakeTimers();
  settings.set('meanwhile', { notifyAfterSeconds: 0 });
});
afterEach(() => {
  vi.useRealTimers();
  window.state.focused = true;
});

function notification(seq: number, change: Partial<Task> = {}): Notification {
  const task = {
    id: `0000000${seq}`,
    queue: PERSON,
    command: `task ${seq}`,
    state: 'exited',
    exit: { code: 0, signal: null },
    durationMs: 60_000,
    shown: shown('succeeded', { title: `task ${seq}` }),
    ...change,
  } as Task;
  return { seq, queue: task.queue, kind: 'exited', task } as Notification;
}

/** A window with one folder; the test decides what its daemon's queue holds. */
function place() {
  const events = {
    ended: new EventEmitter<unknown>(),
    notified: new EventEmitter<unknown>(),
    connected: new EventEmitter<unknown>(),
    failed: new EventEmitter<unknown>(),
    state: new EventEmitter<unknown>(),
  };
  const acked: number[] = [];
  const asked: ((page: { notifications: Notification[]; remaining: number } | Error) => void)[] =
    [];
  const folder = {
    daemon: {
      state: { kind: 'starting' },
      request: (method: string, { through }: { through: number }) => {
        if (method === 'task/ack') {
          acked.push(through);
          return Promise.resolve({ acked: 1 });
        }
        return new Promise((done, fail) => {
          asked.push((page) => (page instanceof Error ? fail(page) : done(page)));
        });
      },
    },
  };
  const state = (kind: string) => {
    folder.daemon.state.kind = kind;
    events.state.fire(folder);
  };
  const view = { visible: false, badge: undefined as { value: number } | undefined };
  const terminals = { isActive: (_: string) => false, show: vi.fn() };
  const notices = new Notices(
    { events, all: () => [folder] } as unknown as Folders,
    terminals as unknown as Terminals,
    {
      view: Object.assign(view, { onDidChangeVisibility: new EventEmitter().event }),
      filter: { which: 'all', text: '' },
    } as unknown as TaskTree,
    { isStep: () => false, shows: () => false } as unknown as Panel,
  );
  const said: string[] = [];
  notices.onDidTell((text) => said.push(text));
  return {
    acked,
    said,
    state,
    terminals,
    badge: () => view.badge?.value ?? 0,
    push: (one: Notification) => events.ended.fire({ folder, notification: one }),
    connect: () => {
      state('running');
      events.connected.fire(folder);
    },
    /** The daemon answers the oldest open `task/drain`. */
    drained: async (notifications: Notification[] | Error, remaining = 0) => {
      await vi.advanceTimersByTimeAsync(0);
      asked.shift()?.(
        notifications instanceof Error ? notifications : { notifications, remaining },
      );
      await vi.advanceTimersByTimeAsync(0);
    },
    told: () => vi.advanceTimersByTimeAsync(10_000),
  };
}

test('what waits in the queue is told though a later end is pushed before it was read', async () => {
  const it = place();
  it.push(notification(4));
  it.connect();
  it.push(notification(5));
  await it.told();
  expect(it.said).toEqual([]);
  expect(it.acked).toEqual([]);
  await it.drained([1, 2, 3, 4].map((seq) => notification(seq)));
  await it.told();
  expect(it.badge()).toBe(5);
  expect(it.said).toHaveLength(1);
  expect(it.said[0]).toMatch(/^5 background tasks finished: task 1 .*; and 2 more$/);
  expect(it.acked.at(-1)).toBe(5);
  // After the daemon died, unacknowledged notifications come again, but are not shown again.
  it.state('starting');
  it.push(notification(6));
  it.connect();
  await it.drained([notification(5), notification(6)]);
  await it.told();
  expect(it.said).toHaveLength(2);
  expect(it.said[1]).toMatch(/^task 6/);
  expect(it.acked.at(-1)).toBe(6);
});

test('a queue longer than one answer is read to its end', async () => {
  const it = place();
  it.connect();
  await it.drained([notification(1), notification(2)], 2);
  expect(it.acked).toEqual([2]);
  // The daemon dies between two pages: the first is not lost.
  it.state('starting');
  await it.drained(new Error('gone'));
  it.connect();
  await it.drained([notification(3), notification(4)]);
  await it.told();
  expect(it.said[0]).toMatch(/^4 background tasks finished/);
  expect(it.acked.at(-1)).toBe(4);
});

test('nothing is acknowledged past an end that still waits to be told', async () => {
  const it = place();
  it.connect();
  await it.drained([]);
  window.state.focused = false;
  it.push(notification(1));
  it.push(notification(2, { durationMs: 0, id: 'short' }));
  await it.told();
  expect(it.said).toEqual([]);
  expect(Math.max(0, ...it.acked)).toBe(0);
});

test('the terminal that is active may be hidden: ends are counted, and failures told', async () => {
  const it = place();
  it.terminals.isActive = () => true;
  it.connect();
  await it.drained([]);
  it.push(notification(1));
  await it.told();
  expect([it.badge(), it.said]).toEqual([1, []]);
  it.push(notification(2, { shown: shown('failed'), exit: { code: 1, signal: null } }));
  await it.told();
  expect(it.badge()).toBe(2);
  expect(it.said).toHaveLength(1);
});

test('an end is acknowledged once, and again to the next daemon that still has it', async () => {
  const it = place();
  it.connect();
  await it.drained([]);
  it.push(notification(1));
  await it.told();
  it.push({ ...notification(7, { id: 'other', queue: 'agent' }), queue: 'agent' });
  await it.told();
  expect(it.acked).toEqual([1]);
  expect(it.said).toHaveLength(2);
  it.state('starting');
  it.connect();
  await it.drained([notification(1)]);
  await it.told();
  expect(it.acked).toEqual([1, 1]);
  expect(it.said).toHaveLength(2);
});

test('what the daemon gives no notice of is counted and not told; a warning passes a filter', async () => {
  const it = place();
  it.connect();
  await it.drained([]);
  const { notice: _, ...quiet } = shown('stopped');
  it.push(notification(1, { shown: quiet }));
  await it.told();
  expect([it.badge(), it.said]).toEqual([1, []]);
  settings.set('meanwhile', { notifyAfterSeconds: 0, notifications: 'failures' });
  it.push(notification(2));
  it.push(notification(3, { shown: shown('stopped', { notice: 'warning', title: 'limited' }) }));
  await it.told();
  expect(it.said).toHaveLength(1);
  expect(it.said[0]).toMatch(/^limited/);
});
