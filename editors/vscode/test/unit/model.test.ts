import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type * as vscode from 'vscode';
import { ModelSettings, taskEnvironment } from '../../src/model';
import { EventEmitter, personal, settings, window } from './editor';

const FOLDER = { name: 'w', index: 0, uri: { fsPath: '/w' } } as vscode.WorkspaceFolder;
const TERMINALS = 'terminal.integrated.env';

/** Sets the terminal settings: the person's, overridden by the workspace's. */
function terminals(workspace: object, person: object = {}): void {
  settings.set(TERMINALS, { linux: { ...person, ...workspace } });
  personal.set(TERMINALS, { linux: person });
}

let restore: NodeJS.ProcessEnv;
beforeEach(() => {
  restore = { ...process.env };
});
afterEach(() => {
  process.env = restore;
  terminals({});
});

test('a workspace chooses no model, no server, no permissions and no home for the daemon', () => {
  process.env.HOME = '/home/me';
  process.env.OPENAI_BASE_URL = 'http://mine';
  for (const name of ['ANTHROPIC_BASE_URL', 'MEANWHILE_STATE_DIR', 'XDG_CONFIG_HOME']) {
    delete process.env[name];
  }
  terminals({
    ANTHROPIC_BASE_URL: 'http://theirs',
    OPENAI_BASE_URL: null,
    MEANWHILE_STATE_DIR: '/theirs',
    XDG_CONFIG_HOME: '/theirs',
    XDG_STATE_HOME: '/theirs',
    SSL_CERT_FILE: '/theirs',
    HOME: '/theirs',
    COLOUR: 'blue',
  });
  const env = taskEnvironment(FOLDER);
  expect(env).toMatchObject({ HOME: '/home/me', OPENAI_BASE_URL: 'http://mine', COLOUR: 'blue' });
  expect(Object.values(env).filter((value) => /theirs/.test(value ?? ''))).toEqual([]);
});

test('what the person set for terminals holds for the daemon, whatever the workspace sets', () => {
  terminals(
    { OPENAI_BASE_URL: 'http://theirs', MEANWHILE_MODEL: null },
    { OPENAI_BASE_URL: 'http://mine', MEANWHILE_MODEL: 'openai/mine' },
  );
  expect(taskEnvironment(FOLDER)).toMatchObject({
    OPENAI_BASE_URL: 'http://mine',
    MEANWHILE_MODEL: 'openai/mine',
  });
});

test('a value that is not a text unsets the variable, as it does for a terminal', () => {
  process.env.COLOUR = 'blue';
  terminals({ COLOUR: 1, OTHER: true, IN: '$' + '{workspaceFolder}' });
  const env = taskEnvironment(FOLDER);
  expect(env).toMatchObject({ IN: '/w' });
  expect(env).not.toHaveProperty('COLOUR');
  expect(env).not.toHaveProperty('OTHER');
});

test('nothing of the editor, of its package or of its server is left to a task', () => {
  const gone = {
    BROWSER: '/editor/bin/helpers/browser.sh',
    GIT_ASKPASS: '/editor/extensions/git/dist/askpass.sh',
    VSCODE_IPC_HOOK_CLI: 'x',
    ELECTRON_RUN_AS_NODE: '1',
    SNAP: '/snap/code/1',
    SNAP_NAME: 'code',
    GDK_PIXBUF_MODULE_FILE: '/snap/x',
    CODE_SERVER_SESSION_SOCKET: '/x',
    CS_DISABLE_FILE_DOWNLOADS: '1',
  };
  Object.assign(process.env, gone, { SNAPPY: '1' });
  const env = taskEnvironment(FOLDER);
  expect(Object.keys(gone).filter((name) => name in env)).toEqual([]);
  expect(env.SNAPPY).toBe('1');
  process.env.BROWSER = '/usr/bin/firefox';
  expect(taskEnvironment(FOLDER).BROWSER).toBe('/usr/bin/firefox');
});

/** The secret storage that all windows of a person share. */
function storage() {
  const emitter = new EventEmitter<{ key: string }>();
  const kept = new Map<string, string>();
  const shared = {
    onDidChange: emitter.event,
    get: async (key: string) => kept.get(key),
    store: async (key: string, value: string) => {
      kept.set(key, value);
      emitter.fire({ key });
    },
    delete: async (key: string) => {
      kept.delete(key);
      emitter.fire({ key });
    },
  };
  return shared as unknown as vscode.SecretStorage;
}

test('a key set or forgotten in one window is so in all of them', async () => {
  const shared = storage();
  const [here, there] = [vi.fn(async () => undefined), vi.fn(async () => undefined)];
  const model = new ModelSettings(shared, here);
  const other = new ModelSettings(shared, there);
  window.showQuickPick.mockImplementationOnce(async ([first]) => first);
  window.showInputBox.mockResolvedValueOnce('sk-1').mockResolvedValueOnce('a-model');
  await model.setKey();
  expect(await other.get()).toEqual({
    MEANWHILE_MODEL: 'anthropic/a-model',
    ANTHROPIC_API_KEY: 'sk-1',
  });
  expect([here, there].map((one) => one.mock.calls.length)).toEqual([1, 1]);
  await shared.store('another key', '1');
  await model.forget();
  expect([here, there].map((one) => one.mock.calls.length)).toEqual([2, 2]);
  other.dispose();
  await model.forget();
  expect([here, there].map((one) => one.mock.calls.length)).toEqual([3, 2]);
});

test('a local server is kept with the name of its model, or not at all', async () => {
  const model = new ModelSettings(storage(), async () => undefined);
  for (const [name, kept] of [
    [' ', {}],
    [undefined, {}],
    [' qwen ', { OPENAI_BASE_URL: 'http://127.0.0.1:11434/v1', MEANWHILE_MODEL: 'openai/qwen' }],
  ] as const) {
    window.showQuickPick.mockImplementationOnce(async ([first]) => first);
    window.showInputBox.mockResolvedValueOnce(name);
    await model.useLocalServer();
    expect(await model.get()).toEqual(kept);
  }
});
