// Output: colours, input, links, the document.

import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { FolderEvents } from '../../src/folders';
import { test, until } from './harness';
import { api, ended, folder, openTerminal, runCommand, spawnEnded } from './setup';

test('a terminal shows colours and lines as they come, and how it ended', async () => {
  const here = await folder();
  const id = await runCommand(
    'printf "\\033[31mred\\033[0m\\nnext\\n"; sleep 0.5; echo late; exit 2',
  );
  const terminal = await openTerminal(here, id);
  await ended(here, id);
  await until(() => terminal.text.includes('[exited 2'), 'the last line');
  assert.ok(terminal.text.startsWith('\u001b[31mred\u001b[0m\r\nnext\r\nlate\r\n'), terminal.text);
  assert.match(terminal.name, /^✗ /);
});

test('the output of a pipe gets its carriage returns', async () => {
  const here = await folder();
  const task = await spawnEnded(here, { command: 'printf "a\\nb\\r\\nc"' });
  const terminal = await openTerminal(here, task.id);
  await until(() => terminal.text.includes('[exited 0'), 'the last line');
  assert.match(terminal.text, /^a\r\nb\r\nc\r\n/);
});

test('the last words are shown though the daemon dies over them', async () => {
  const here = await folder();
  const { folders } = await api();
  // This terminal is told of the end, but gets no output, so it has to read all of it at the end.
  const events = new FolderEvents();
  const id = await runCommand('while [ ! -e last ]; do sleep 0.1; done; rm last; echo last words');
  const ending = folders.events.ended.event((end) => {
    if (end.notification.task.id === id) events.ended.fire(end);
  });
  const { request } = here.daemon;
  let subscribed = false;
  let killed = false;
  here.daemon.request = (method, params, token) => {
    const { state } = here.daemon;
    if (method === 'task/read' && subscribed && !killed && state.kind === 'running' && state.pid) {
      killed = true;
      process.kill(state.pid, 'SIGKILL');
    }
    const reply = request.call(here.daemon, method, params, token);
    if (method === 'task/subscribe')
      reply.then(() => {
        subscribed = true;
      });
    return reply as never;
  };
  try {
    const terminal = await openTerminal(here, id, { events });
    await until(() => subscribed, 'it follows the output');
    await vscode.workspace.fs.writeFile(
      vscode.Uri.joinPath(here.workspaceFolder.uri, 'last'),
      new Uint8Array(),
    );
    await until(() => terminal.text.includes('[exited 0'), 'the end');
    assert.ok(killed);
    assert.match(terminal.text, /last words\r\n.*\[exited 0/s);
    assert.equal(terminal.text.match(/last words/g)?.length, 1);
  } finally {
    Reflect.deleteProperty(here.daemon, 'request');
    ending.dispose();
    events.dispose();
  }
});

test('input typed into a task with a terminal', async () => {
  const here = await folder();
  const id = await runCommand('read name; echo "hello $name"');
  const terminal = await openTerminal(here, id);
  for (const key of 'you\r') terminal.terminal.handleInput(key);
  await ended(here, id);
  await until(() => terminal.text.includes('hello you'), 'the answer');
  // Only the terminal echoes, even if the input came before the command started.
  assert.ok(terminal.text.startsWith('you\r\nhello you\r\n'), JSON.stringify(terminal.text));
});

test('input typed into a task with a pipe: echo, erase, end', async () => {
  const here = await folder();
  const { id } = await here.spawn({ command: 'cat', stdin: 'pipe' });
  const terminal = await openTerminal(here, id);
  terminal.terminal.handleInput('abx\u007fc\r');
  await until(() => terminal.text.includes('abx\b \bc\r\nabc\r\n'), 'what cat says');
  terminal.terminal.handleInput('\u0004');
  assert.equal((await ended(here, id)).exit?.code, 0);
});

test('a task without input says so, once', async () => {
  const here = await folder();
  const { id } = await here.spawn({ command: 'sleep 303' });
  const terminal = await openTerminal(here, id);
  terminal.terminal.handleInput('x');
  terminal.terminal.handleInput('y');
  await until(() => terminal.text.includes('takes no input'), 'the note');
  await here.stop(id);
  await until(() => terminal.text.includes('[stopped'), 'the end');
  assert.equal(terminal.text.match(/takes no input/g)?.length, 1);
});

test('Show Output opens one terminal a task, with the name of the command', async () => {
  const here = await folder();
  const { tree, terminals } = await api();
  const id = await runCommand('echo shown; sleep 304');
  const node = tree.nodeOf(id);
  await vscode.commands.executeCommand('meanwhile.showOutput', node);
  await vscode.commands.executeCommand('meanwhile.showOutput', node);
  const open = vscode.window.terminals.filter((terminal) => terminals.taskOf(terminal) === id);
  assert.equal(open.length, 1);
  assert.match(open[0]?.name ?? '', /echo shown/);
  open[0]?.dispose();
  await until(
    () => !vscode.window.terminals.some((terminal) => terminals.taskOf(terminal) === id),
    'it is closed',
  );
  assert.equal(here.store.get(id)?.state, 'running', 'closing a terminal stops nothing');
  await here.stop(id);
});

test('files in the output are links, from where the task ran', async () => {
  const here = await folder();
  const { terminals, links } = await api();
  const root = here.workspaceFolder.uri;
  await vscode.workspace.fs.writeFile(
    vscode.Uri.joinPath(root, 'sub/main.rs'),
    Buffer.from('fn a() {}\nfn b() {}\n'),
  );
  const { id } = await here.spawn({ command: 'sleep 305', cwd: 'sub' });
  const terminal = terminals.show(here, id, true);
  const found = await links.provideTerminalLinks({
    line: 'error: --> main.rs:2:4 and nothere.rs:1 and version 1.2.3',
    terminal,
  } as vscode.TerminalLinkContext);
  assert.deepEqual(
    found.map((link) => [link.startIndex, link.length, link.line, link.column]),
    [[11, 'main.rs:2:4'.length, 2, 4]],
  );
  await links.handleTerminalLink(found[0] as never);
  const editor = vscode.window.activeTextEditor;
  assert.match(editor?.document.uri.fsPath ?? '', /sub\/main\.rs$/);
  assert.deepEqual(editor?.selection.active, new vscode.Position(1, 3));
  terminal.dispose();
  await here.stop(id);
});

test('the whole output as a document, without control sequences', async () => {
  const here = await folder();
  const { tree } = await api();
  const id = await runCommand('printf "\\033[1mbold\\033[0m\\n10%%\\r20%%\\rdone\\n"');
  await ended(here, id);
  await vscode.commands.executeCommand('meanwhile.openOutput', tree.nodeOf(id));
  const text = vscode.window.activeTextEditor?.document.getText();
  assert.equal(text, 'bold\ndone\n');
});

test('a task has the size of the terminal that shows it, and of the one looked at last', async () => {
  const here = await folder();
  // The resize may come before the shell has set its trap.
  const id = await runCommand("trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done");
  const small = await openTerminal(here, id, { size: { rows: 11, columns: 47 } });
  await until(() => small.text.includes('11 47'), 'the size it was opened with');
  small.terminal.setDimensions({ rows: 12, columns: 53 });
  await until(() => small.text.includes('12 53'), 'the size it was given');
  const wide = await openTerminal(here, id, { size: { rows: 20, columns: 99 } });
  await until(() => wide.text.includes('20 99'), 'the size of the second');
  small.terminal.claim();
  await until(() => /20 99.*12 53/s.test(wide.text), 'the first is looked at again');
  await here.stop(id);
});
