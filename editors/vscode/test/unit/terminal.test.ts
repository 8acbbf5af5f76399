import { expect, test, vi } from 'vitest';
import type { Folder, FolderEvents } from '../../src/folders';
import { type TaskTerminal, Terminals } from '../../src/output/terminal';
import { EventEmitter, window } from './editor';

const wide = { rows: 20, columns: 100 };
const narrow = { rows: 20, columns: 40 };

/** The window's terminals, and the sizes that the tasks were given. */
function place() {
  const sizes: string[] = [];
  const request = async (method: string, params: { id: string; cols: number }) => {
    if (method === 'task/resize') sizes.push(`${params.id} ${params.cols}`);
    return {};
  };
  const folder = {
    store: { get: () => undefined },
    daemon: {
      state: { kind: 'running' },
      can: () => true,
      request,
      onDidConnect: new EventEmitter().event,
    },
    orGone: async () => ({}),
  } as unknown as Folder;
  const events = { output: new EventEmitter(), ended: new EventEmitter() };
  const active = new EventEmitter<void>();
  const state = new EventEmitter<void>();
  window.onDidChangeActiveTerminal.mockImplementation(active.event as never);
  window.onDidChangeWindowState.mockImplementation(state.event as never);
  const terminals = new Terminals(events as unknown as FolderEvents);
  return {
    sizes,
    open: async (id: string) => {
      let pty: TaskTerminal | undefined;
      window.createTerminal.mockImplementation((options) => {
        pty = options.pty;
        return { show: vi.fn(), dispose: vi.fn() };
      });
      const terminal = terminals.show(folder, id);
      pty?.open(wide);
      await vi.waitFor(() => expect(sizes.at(-1)).toBe(`${id} 100`));
      return { terminal, pty: pty as TaskTerminal };
    },
    activate: async (terminal: unknown) => {
      window.activeTerminal = terminal;
      active.fire();
      await settled();
    },
    focus: async (focused: boolean) => {
      window.state.focused = focused;
      state.fire();
      await settled();
    },
  };
}

const settled = () => new Promise((done) => setImmediate(done));

test('only the terminal that is active gives its task a size', async () => {
  const it = place();
  const one = await it.open('one');
  const two = await it.open('two');
  await it.activate(two.terminal);
  it.sizes.length = 0;
  one.pty.setDimensions(narrow);
  two.pty.setDimensions(narrow);
  await settled();
  expect(it.sizes).toEqual(['two 40']);
  await it.activate(one.terminal);
  expect(it.sizes).toEqual(['two 40', 'one 40']);
});

test('a window that gets the focus gives no size that it has given already', async () => {
  const it = place();
  const one = await it.open('one');
  await it.activate(one.terminal);
  it.sizes.length = 0;
  await it.focus(false);
  await it.focus(true);
  expect(it.sizes).toEqual([]);
  await it.focus(false);
  one.pty.setDimensions(narrow);
  await it.focus(true);
  expect(it.sizes).toEqual(['one 40']);
});
