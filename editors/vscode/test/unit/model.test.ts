import { afterEach, beforeEach, expect, test } from 'vitest';
import type * as vscode from 'vscode';
import { taskEnvironment } from '../../src/model';
import { personal, settings } from './editor';

const FOLDER = { name: 'w', index: 0, uri: { fsPath: '/w' } } as vscode.WorkspaceFolder;
const TERMINALS = 'terminal.integrated.env';

/** The settings for terminals: those of the person, and those of the workspace over them. */
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

test('a value that is no text unsets the variable, as it does for a terminal', () => {
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
