// Finding, starting and losing the daemon.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { Binary } from '../../src/daemon/binary';
import { Daemon } from '../../src/daemon/daemon';
import { test, until } from './harness';
import { api, ended, folder, openTerminal, runCommand, said, setting, spawnEnded } from './setup';

test('uses the program that comes with the extension, and says so', async () => {
  const { daemon } = await folder();
  const { state } = daemon;
  assert.equal(state.kind, 'running');
  if (state.kind !== 'running') return;
  assert.equal(state.binary.origin, 'bundled');
  assert.match(state.binary.version, /^\d+\.\d+\.\d+/);
  assert.equal(daemon.capability?.protocolVersion, 1);
});

test('in normal use it says nothing on standard error', async () => {
  const here = await folder();
  const id = await runCommand('echo out; echo err >&2; exit 1');
  const terminal = await openTerminal(here, id);
  await until(() => terminal.text.includes('[exited 1'), 'the end');
  const long = await runCommand('sleep 311');
  await until(() => here.store.get(long)?.pid, 'it runs');
  await here.stop(long);
  await here.remove([id, long]);
  assert.deepEqual(here.daemon.said, []);
});

test('a daemon killed under the client comes back, and so do list and output', async () => {
  const here = await folder();
  const gone = 'echo before; while [ ! -e go ]; do sleep 0.1; done; echo after; rm go';
  const id = await runCommand(gone);
  const terminal = await openTerminal(here, id);
  await until(() => terminal.text.includes('before'), 'output before');
  const { state } = here.daemon;
  assert.equal(state.kind, 'running');
  const pid = state.kind === 'running' ? state.pid : undefined;
  assert.ok(pid);
  process.kill(pid, 'SIGKILL');
  await until(() => {
    const { state } = here.daemon;
    return state.kind === 'running' && state.pid !== pid;
  }, 'another daemon');
  await until(() => here.store.get(id)?.state === 'running', 'the task still runs');
  execFileSync('touch', [join(here.workspaceFolder.uri.fsPath, 'go')]);
  const task = await ended(here, id);
  assert.equal(task.exit?.code, 0);
  await until(() => terminal.text.includes('after'), 'output after');
  assert.equal(terminal.text.match(/before/g)?.length, 1, 'nothing is shown twice');
});

test('a daemon that does not stay up is told once, with what mends it', async () => {
  const here = await folder();
  const told = said.length;
  for (let times = 0; times < 5; times++) {
    const { state } = here.daemon;
    if (state.kind === 'failed') break;
    const pid = await until(() => {
      const { state } = here.daemon;
      return state.kind === 'running' && state.pid;
    }, 'a daemon to kill');
    process.kill(pid, 'SIGKILL');
    await until(() => {
      const { state } = here.daemon;
      return state.kind !== 'running' || state.pid !== pid;
    }, 'its end is seen');
  }
  await until(() => here.daemon.state.kind === 'failed', 'giving up');
  // Notices of earlier commands may come in between.
  const messages = said.slice(told).filter((text) => text.includes('daemon'));
  await here.daemon.restart();
  assert.equal(messages.length, 1, messages.join('\n'));
  assert.match(messages[0] ?? '', /SIGKILL.*Tasks go on.*meanwhile\.path/s);
  assert.equal(here.daemon.state.kind, 'running');
});

test('a wrong meanwhile.path is told once, naming setting and fix; mending it starts it again', async () => {
  const here = await folder();
  const { notices } = await api();
  await until(() => !notices.pending, 'what ended before is told');
  const told = said.length;
  await setting('path', '/nowhere/meanwhile');
  await until(() => here.daemon.state.kind === 'failed', 'the failure');
  await until(() => said.length > told, 'the message');
  await assert.rejects(here.daemon.request('task/check', {}), /meanwhile\.path/);
  await setting('path', undefined);
  await until(() => here.daemon.state.kind === 'running', 'the daemon again');
  const messages = said.slice(told).filter((text) => text.includes('meanwhile.path'));
  assert.equal(messages.length, 1, messages.join('\n'));
  assert.match(messages[0] ?? '', /meanwhile\.path names \/nowhere\/meanwhile.*clear it/s);
});

test('another program at meanwhile.path is refused before it is spoken to', async () => {
  const here = await folder();
  await setting('path', '/bin/ls');
  await until(() => here.daemon.state.kind === 'failed', 'the failure');
  await until(() => /did not report its version/.test(said.at(-1) ?? ''), 'the reason');
  await setting('path', undefined);
  await until(() => here.daemon.state.kind === 'running', 'the daemon again');
});

test('a task has what is set for terminals, and nothing of the editor', async () => {
  const here = await folder();
  Object.assign(process.env, {
    VSCODE_OF_A_TEST: 'no',
    ELECTRON_OF_A_TEST: 'no',
    GIT_ASKPASS: join(vscode.env.appRoot, 'extensions/git/dist/askpass.sh'),
  });
  const terminal = vscode.workspace.getConfiguration('terminal.integrated.env');
  const { Global } = vscode.ConfigurationTarget;
  await terminal.update(
    'linux',
    { OF_TERMINALS: `in $${'{workspaceFolder}'}`, LANG: null },
    Global,
  );
  // The changed setting starts another daemon.
  const environment = async () => {
    const task = await spawnEnded(here, { command: 'env' });
    const { data } = await here.daemon.request('task/read', { id: task.id });
    return /^OF_TERMINALS=/m.test(data) && data;
  };
  const found = await until(() => environment().catch(() => false as const), 'the new environment');
  await terminal.update('linux', undefined, Global);
  assert.doesNotMatch(found, /^(VSCODE_|ELECTRON_|GIT_ASKPASS|LANG=)/m);
  assert.match(found, new RegExp(`^OF_TERMINALS=in ${here.workspaceFolder.uri.fsPath}$`, 'm'));
  await until(() => here.daemon.state.kind === 'running', 'the daemon with the old one');
});

test('a folder that is gone is named, and not the program', async () => {
  const { log } = await api();
  const here = await folder();
  const { state } = here.daemon;
  assert.ok(state.kind === 'running');
  const uri = vscode.Uri.file('/nowhere/project');
  const daemon = new Daemon(
    { uri, name: 'project', index: 0 },
    log,
    async () => state.binary,
    async () => ({ queue: 'person', lingerMs: null, secrets: {} }),
    () => process.env,
  );
  await daemon.start();
  assert.ok(daemon.state.kind === 'failed');
  assert.match(daemon.state.reason, /^The folder \/nowhere\/project does not exist/);
  await daemon.dispose();
});

test('a key is given to the daemon and to no one else, not even to a trace of it', async () => {
  const here = await folder();
  const { log } = await api();
  const { state } = here.daemon;
  assert.ok(state.kind === 'running');
  const lines: string[] = [];
  const listening = new Proxy(log, {
    get: (target, name) =>
      name === 'logLevel'
        ? vscode.LogLevel.Trace
        : typeof target[name as never] === 'function' && String(name) !== 'onDidChangeLogLevel'
          ? (...words: unknown[]) => lines.push(words.join(' '))
          : target[name as never],
  });
  const daemon = new Daemon(
    here.workspaceFolder,
    listening,
    async () => state.binary,
    async () => ({ queue: 'person', lingerMs: null, secrets: { OPENAI_API_KEY: 'sk-of-a-test' } }),
    () => process.env,
  );
  await daemon.start();
  assert.equal(daemon.state.kind, 'running', lines.join('\n'));
  const { task } = await daemon.request('task/spawn', { command: 'env' });
  await daemon.request('task/wait', { ids: [task.id] });
  const { data } = await daemon.request('task/read', { id: task.id });
  assert.doesNotMatch(data, /sk-of-a-test/);
  // A trace as JSON, which only a settings file can request, is written by another method.
  const { client } = daemon as unknown as { client: { traceObject(data: unknown): void } };
  client.traceObject({ message: { params: { secrets: { OPENAI_API_KEY: 'sk-of-a-test' } } } });
  await daemon.dispose();
  assert.ok(
    lines.some((line) => /initialize/.test(line)),
    lines.join('\n'),
  );
  assert.match(lines.join('\n'), /{"OPENAI_API_KEY":"\*\*\*"}/);
  assert.doesNotMatch(lines.join('\n'), /sk-of-a-test/);
});

test('tasks of other clients are seen, and other clients see ours', async () => {
  const here = await folder();
  const { state } = here.daemon;
  assert.equal(state.kind, 'running');
  const program = state.kind === 'running' ? state.binary.path : '';
  const cwd = here.workspaceFolder.uri.fsPath;
  execFileSync(program, ['spawn', '--label', 'from-outside', '--', 'sleep', '300'], { cwd });
  const task = await until(
    () => here.store.running().find((task) => task.label === 'from-outside'),
    'the task of the command line',
  );
  const ours = await runCommand('sleep 301');
  const listed = execFileSync(program, ['ps', '--json'], { cwd, encoding: 'utf8' });
  assert.match(listed, new RegExp(ours));
  await here.stop(task.id);
  await here.stop(ours);
});

/** The daemons that this extension host has started. */
function daemons(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const parent = / \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return Number(parent) === process.pid && command.includes('\0serve');
      } catch {
        // The process has exited in between.
        return false;
      }
    })
    .map(Number);
}

for (const moment of ['looked for', 'spawned', 'running']) {
  test(`a daemon disposed of while it is ${moment} leaves no process`, async () => {
    const here = await folder();
    const { log } = await api();
    const { state } = here.daemon;
    assert.ok(state.kind === 'running');
    const before = new Set(daemons());
    assert.ok(before.size >= 1);
    const ours = () => daemons().filter((pid) => !before.has(pid));
    let found: (binary: Binary) => void = () => undefined;
    const search = new Promise<Binary>((done) => {
      found = done;
    });
    const daemon = new Daemon(
      here.workspaceFolder,
      log,
      () => search,
      async () => ({ queue: 'person', lingerMs: null, secrets: {} }),
      () => process.env,
    );
    const starting = daemon.start();
    if (moment !== 'looked for') found(state.binary);
    if (moment === 'spawned') await until(() => ours().length === 1, 'its process');
    if (moment === 'running') await starting;
    const disposing = daemon.dispose();
    found(state.binary);
    await Promise.all([starting, disposing]);
    await until(() => ours().length === 0, 'no process is left');
  });
}

test('none of our keys begins with one of VS Code\u2019s, or of Code Runner\u2019s', async () => {
  await vscode.commands.executeCommand('workbench.action.openDefaultKeybindingsFile');
  const text = await until(
    () =>
      vscode.window.activeTextEditor?.document.getText().includes('"key"') &&
      vscode.window.activeTextEditor.document.getText(),
    'the default keys',
  );
  const taken = [...text.matchAll(/"key": "([^" ]+)[^"]*",\s*"command": "([^"]+)"/g)]
    .filter(([, , command]) => !command?.startsWith('meanwhile.'))
    .map(([, key]) => key);
  assert.ok(taken.length > 500, `${taken.length} keys`);
  const chords: string[] = vscode.extensions
    .getExtension('meanwhile.meanwhile')
    ?.packageJSON.contributes.keybindings.map(({ key }: { key: string }) => key)
    .filter((key: string) => key.includes(' '))
    .map((key: string) => key.split(' ')[0]);
  for (const chord of new Set(chords)) {
    assert.ok(!taken.includes(chord), `${chord} is taken`);
    assert.ok(!['ctrl+alt+n', 'ctrl+alt+m', 'ctrl+alt+j', 'ctrl+alt+k'].includes(chord), chord);
  }
});
