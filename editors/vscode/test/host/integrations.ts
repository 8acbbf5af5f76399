// tasks.json, problem matchers, tools for language models.

import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import * as vscode from 'vscode';
import { test, until } from './harness';
import { api, ended, folder, runCommand } from './setup';

async function write(path: string, text: string): Promise<void> {
  const here = await folder();
  await vscode.workspace.fs.writeFile(
    vscode.Uri.joinPath(here.workspaceFolder.uri, path),
    Buffer.from(text),
  );
}

const RUST = 'error[E0425]: cannot find value `x`\n --> src/lib.rs:2:5\n  |\n';

test('a task of tasks.json runs in the daemon, ends with its code, and VS Code finds its problems', async () => {
  const here = await folder();
  await write('src/lib.rs', 'fn f() {\n    x\n}\n');
  await write('rust.txt', RUST);
  await write(
    '.vscode/tasks.json',
    JSON.stringify({
      version: '2.0.0',
      tasks: [
        {
          type: 'meanwhile',
          label: 'build in background',
          command: 'cat rust.txt; sleep 0.3; exit 4',
          problemMatcher: '$meanwhile-rust',
        },
      ],
    }),
  );
  const task = await until(
    async () =>
      (await vscode.tasks.fetchTasks()).find((task) => task.name === 'build in background'),
    'VS Code knows the task',
  );
  const over = new Promise<number | undefined>((done) => {
    const listener = vscode.tasks.onDidEndTaskProcess((event) => {
      if (event.execution.task.name === task.name) {
        listener.dispose();
        done(event.exitCode);
      }
    });
  });
  await vscode.tasks.executeTask(task);
  const ours = await until(
    () => here.store.all().find((one) => one.label === 'build in background'),
    'it is in the list',
  );
  assert.equal(await over, 4);
  assert.equal((await ended(here, ours.id)).exit?.code, 4);
  await until(
    () =>
      vscode.languages
        .getDiagnostics()
        .some(
          ([uri, list]) =>
            uri.path.endsWith('/src/lib.rs') &&
            list.some(({ message }) => /cannot find value/.test(message)),
        ),
    'the problem',
  );
});

test('ending a task of tasks.json in VS Code stops its command', async () => {
  const here = await folder();
  const { tasks } = await api();
  const definition = { type: 'meanwhile', command: 'sleep 306' };
  const plain = new vscode.Task(definition, here.workspaceFolder, 'sleeper', 'meanwhile');
  const task = tasks.resolveTask(plain);
  assert.ok(task);
  const execution = await vscode.tasks.executeTask(task);
  const ours = await until(
    () => here.store.running().find((one) => one.command === 'sleep 306'),
    'it runs',
  );
  execution.terminate();
  assert.equal((await ended(here, ours.id)).state, 'stopped');
});

test('a task of tasks.json with `detach` goes on when VS Code ends it', async () => {
  const here = await folder();
  const { tasks } = await api();
  const begin = async (command: string, detach: boolean) => {
    const definition = { type: 'meanwhile', command, detach };
    const task = tasks.resolveTask(
      new vscode.Task(definition, here.workspaceFolder, command, 'meanwhile'),
    );
    assert.ok(task);
    const execution = await vscode.tasks.executeTask(task);
    const ours = await until(
      () => here.store.running().find((one) => one.command === command),
      'it runs',
    );
    return { execution, id: ours.id };
  };
  const detached = await begin('sleep 307', true);
  const other = await begin('sleep 308', false);
  detached.execution.terminate();
  await until(
    () => !vscode.tasks.taskExecutions.some(({ task }) => task.name === 'sleep 307'),
    'VS Code has ended it',
  );
  // This terminal is closed later than the first: once its task is stopped, the first would be, too, if it ever were.
  other.execution.terminate();
  assert.equal((await ended(here, other.id)).state, 'stopped');
  assert.equal(here.store.get(detached.id)?.state, 'running');
  await here.stop(detached.id);
});

test('of a file with many problems the place is looked for once', async () => {
  const here = await folder();
  await write('src/crowd.rs', 'fn h() {}\n');
  await write('crowd.txt', RUST.replace('lib.rs', 'crowd.rs').repeat(300));
  const real = fs.stat;
  let asked = 0;
  fs.stat = ((path: string) => {
    if (path.endsWith('crowd.rs')) asked++;
    return real(path);
  }) as typeof real;
  const crowd = () =>
    vscode.languages.getDiagnostics().find(([uri]) => uri.path.endsWith('/src/crowd.rs'))?.[1];
  try {
    await ended(here, await runCommand('cat crowd.txt # cargo build'));
    await until(() => crowd()?.length === 300, 'the problems');
  } finally {
    fs.stat = real;
  }
  assert.equal(asked, 1);
});

test('problems in the output of a finished command, until it is run again without', async () => {
  const here = await folder();
  await write('src/other.rs', 'fn g() {\n    y\n}\n');
  await write('problems.txt', RUST.replace('lib.rs', 'other.rs').replace('`x`', '`y`'));
  const command = 'cat problems.txt # cargo build';
  const found = () =>
    vscode.languages
      .getDiagnostics()
      .filter(([uri]) => uri.path.endsWith('/src/other.rs'))
      .flatMap(([, list]) => list);
  await ended(here, await runCommand(command));
  const [problem] = await until(() => found().length > 0 && found(), 'the problem');
  assert.equal(problem?.message, 'cannot find value `y`');
  assert.equal(problem?.code, 'E0425');
  assert.equal(problem?.severity, vscode.DiagnosticSeverity.Error);
  assert.deepEqual(problem?.range.start, new vscode.Position(1, 4));
  await write('problems.txt', 'all is well\n');
  await ended(here, await runCommand(command));
  await until(() => found().length === 0, 'they are gone');
});

test('language models can spawn, check and drain', async () => {
  const here = await folder();
  const invoke = async (name: string, input: object) => {
    const result = await vscode.lm.invokeTool(name, { input, toolInvocationToken: undefined });
    return result.content
      .map((part) => (part instanceof vscode.LanguageModelTextPart ? part.value : ''))
      .join('');
  };
  assert.ok(vscode.lm.tools.some(({ name }) => name === 'meanwhile_spawn'));
  const started = await invoke('meanwhile_spawn', { command: 'echo for-the-model; exit 5' });
  const id = /\[bg:([0-9a-f]{8})\]/.exec(started)?.[1] ?? '';
  const checked = await invoke('meanwhile_check', { id, waitMs: 20_000 });
  assert.match(checked, /exit 5.*\nfor-the-model/s);
  await ended(here, id);
  const drained = await invoke('meanwhile_drain', {});
  assert.match(drained, new RegExp(`\\[bg:${id}\\] exited 5 .*\\nfor-the-model`));
  assert.match(await invoke('meanwhile_drain', {}), /Nothing has finished/);
  assert.match(await invoke('meanwhile_check', {}), new RegExp(id));
});

test('the lesson opens in a terminal with the program that the daemon is', async () => {
  const terminal = (await vscode.commands.executeCommand('meanwhile.learn')) as vscode.Terminal;
  assert.ok(await terminal.processId, 'it runs');
  assert.deepEqual((terminal.creationOptions as vscode.TerminalOptions).shellArgs, ['learn']);
  terminal.sendText('q', false);
  await until(() => terminal.exitStatus, 'it was left by its own key');
  assert.equal(terminal.exitStatus?.code, 0);
});
