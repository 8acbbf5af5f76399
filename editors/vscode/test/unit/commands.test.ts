import { beforeEach, expect, test, vi } from 'vitest';
import { type Parts, registerCommands } from '../../src/commands';
import type { Task } from '../../src/protocol/generated';
import { hasEnded } from '../../src/tasks/store';
import { registered, window } from './editor';
import { shown } from './shown';

const tasks = new Map<string, Task>();
const folder = {
  store: {
    get: (id: string) => tasks.get(id),
    running: () => [...tasks.values()].filter((task) => !hasEnded(task)),
  },
  stop: vi.fn(),
  remove: vi.fn(),
};

beforeEach(() => {
  vi.clearAllMocks();
  for (const [id, state] of [
    ['runs', 'running'],
    ['over', 'exited'],
  ] as const) {
    const words = shown(state === 'exited' ? 'succeeded' : 'running', { title: `task ${id}` });
    tasks.set(id, { id, state, command: id, shown: words } as Task);
  }
  registerCommands({
    folders: {
      find: (id: string) => (tasks.has(id) ? { folder, id } : undefined),
      all: () => [folder],
    },
    tree: { view: { visible: false, selection: [] } },
    notices: { silence: vi.fn(), unsilence: vi.fn() },
    log: { error: vi.fn() },
  } as unknown as Parts);
});

const press = (id: string) => registered.get('meanwhile.delete')?.(id);

test('Delete stops what runs at once, and asks by name before it removes what is over', async () => {
  await press('runs');
  expect(folder.stop).toHaveBeenCalledWith('runs');
  expect(window.showWarningMessage).not.toHaveBeenCalled();
  // A held key comes a second time.
  tasks.set('runs', { ...(tasks.get('runs') as Task), state: 'stopped' });
  await press('runs');
  expect(folder.remove).not.toHaveBeenCalled();
  expect(window.showWarningMessage.mock.calls[0]?.[0]).toMatch(
    /^Forget task runs.*, with the output\?$/,
  );
  window.showWarningMessage.mockResolvedValueOnce('Forget');
  await press('over');
  expect(folder.remove).toHaveBeenCalledWith(['over']);
});
