// The list and its commands.

import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { TaskStore } from '../../src/tasks/store';
import { test, until } from './harness';
import { api, ended, folder, openTerminal, runCommand, said, setting } from './setup';

async function nodes() {
  const { tree } = await api();
  return tree.getChildren().map((node) => {
    const item = tree.getTreeItem(node);
    return {
      id: item.id ?? '',
      label: String(item.label),
      description: String(item.description),
      context: item.contextValue ?? '',
      icon: (item.iconPath as vscode.ThemeIcon).id,
      spoken: item.accessibilityInformation?.label ?? '',
    };
  });
}

async function nodeOf(id: string) {
  const found = (await nodes()).find((node) => node.id === id);
  if (!found) throw new Error(`not in the tree: ${id}`);
  return found;
}

test('a command started here shows, runs, ends and is told once', async () => {
  const here = await folder();
  const { notices, status } = await api();
  await until(() => !notices.pending, 'what ended before is told');
  const told = said.length;
  const id = await runCommand('sleep 0.5; exit 3');
  const running = await nodeOf(id);
  assert.equal(running.icon, 'loading~spin');
  assert.match(running.context, /^task\.running/);
  assert.match(running.description, /^\ds/);
  await until(() => status.text.includes('$(sync~spin)'), 'the status bar counts it');
  const task = await ended(here, id);
  assert.equal(task.exit?.code, 3);
  const node = await nodeOf(id);
  assert.equal(node.icon, 'error');
  assert.match(node.description, /^exit 3 · 0\.\ds · just now/);
  assert.match(node.spoken, /exited 3 after/);
  await until(() => said.length > told, 'the notice');
  assert.deepEqual(said.slice(told).filter((text) => /exited 3 after/.test(text)).length, 1);
});

test('progress and the time left are shown', async () => {
  const here = await folder();
  const command =
    'for i in 20 40 60; do echo "$i% done"; sleep 0.3; done; while [ ! -e p ]; do sleep 0.1; done; rm p';
  const id = await runCommand(command);
  await until(() => here.store.get(id)?.progress?.percent === 60, 'the progress');
  const node = await nodeOf(id);
  assert.match(
    node.label,
    /^60% for i in 20 40 60; do echo .*; rm p$/,
    'whole, and its progress first',
  );
  assert.match(node.description, /^\d+s · about \d+s left/);
  await vscode.workspace.fs.writeFile(
    vscode.Uri.joinPath(here.workspaceFolder.uri, 'p'),
    new Uint8Array(),
  );
  await ended(here, id);
  const again = await runCommand(command);
  assert.match(
    (await nodeOf(again)).description,
    /about \d+s left/,
    'from the time it took before',
  );
  await here.stop(again);
});

test('stop ends the tree, without telling the person who stopped it', async () => {
  const here = await folder();
  const { tree } = await api();
  const id = await runCommand('sleep 300 & sleep 300 # not told');
  await until(() => here.store.get(id)?.pid, 'it runs');
  await vscode.commands.executeCommand('meanwhile.stop', tree.nodeOf(id));
  const task = await ended(here, id);
  assert.equal(task.state, 'stopped');
  assert.equal((await nodeOf(id)).icon, 'circle-slash');
  const other = await runCommand('true # told');
  await ended(here, other);
  await until(() => said.some((text) => /# told/.test(text)), 'the next end is told');
  assert.ok(!said.some((text) => /# not told/.test(text)));
});

test('an end is told where a person tried to stop it and could not', async () => {
  const here = await folder();
  const { tree } = await api();
  const id = await runCommand('while [ ! -e end ]; do sleep 0.1; done; rm end # tried to stop');
  await until(() => here.store.get(id)?.pid, 'it runs');
  here.stop = () => Promise.reject(new Error('not now'));
  try {
    await vscode.commands.executeCommand('meanwhile.stop', tree.nodeOf(id));
  } finally {
    Reflect.deleteProperty(here, 'stop');
  }
  await vscode.workspace.fs.writeFile(
    vscode.Uri.joinPath(here.workspaceFolder.uri, 'end'),
    new Uint8Array(),
  );
  await ended(here, id);
  await until(() => said.some((text) => /# tried to stop/.test(text)), 'its end is told');
});

test('restart stops what runs and starts the same again, as it was started, and shows that', async () => {
  const here = await folder();
  const { tree, terminals } = await api();
  const { id } = await here.spawn({
    command: 'echo again $OF_SPAWN; sleep 300',
    env: { OF_SPAWN: 'kept' },
    deadlineMs: 250_000,
  });
  await until(() => here.store.get(id)?.pid, 'it runs');
  terminals.show(here, id);
  await vscode.commands.executeCommand('meanwhile.restart', tree.nodeOf(id));
  assert.equal((await ended(here, id)).state, 'stopped');
  const other = await until(
    () => here.store.running().find((task) => task.command === 'echo again $OF_SPAWN; sleep 300'),
    'the second',
  );
  assert.notEqual(other.id, id);
  assert.equal(other.deadlineMs, 250_000);
  const terminal = await openTerminal(here, other.id);
  await until(() => terminal.text.includes('again kept'), 'its environment');
  const shown = () => vscode.window.terminals.map((one) => terminals.taskOf(one));
  await until(() => shown().includes(other.id) && !shown().includes(id), 'the new output is shown');
  await here.stop(other.id);
});

test('copy id and command, of one or of several', async () => {
  const here = await folder();
  const { tree } = await api();
  const [a, b] = [await runCommand('true # a'), await runCommand('true # b')];
  await Promise.all([ended(here, a), ended(here, b)]);
  const both = [tree.nodeOf(a), tree.nodeOf(b)];
  await vscode.commands.executeCommand('meanwhile.copyId', both[0], both);
  assert.equal(await vscode.env.clipboard.readText(), `${a}\n${b}`);
  await vscode.commands.executeCommand('meanwhile.copyCommand', both[1]);
  assert.equal(await vscode.env.clipboard.readText(), 'true # b');
});

test('filter by state and text', async () => {
  const here = await folder();
  const { tree } = await api();
  const good = await runCommand('true # filterme');
  const bad = await runCommand('false # filterme');
  await Promise.all([ended(here, good), ended(here, bad)]);
  const shown = () =>
    tree.getChildren().flatMap((node) => (node instanceof Object && 'id' in node ? [node.id] : []));
  tree.filter = { which: 'failed', text: 'FILTERME' };
  assert.deepEqual(shown(), [bad]);
  tree.filter = { which: 'finished', text: 'filterme' };
  assert.deepEqual(new Set(shown()), new Set([good, bad]));
  tree.filter = { which: 'running', text: 'filterme' };
  assert.deepEqual(shown(), []);
  await until(() => /nothing matches/.test(tree.view.message ?? ''), 'the view says so');
  await vscode.commands.executeCommand('meanwhile.clearFilter');
  assert.ok(shown().length >= 2);
});

test('a tooltip has the facts and the end of the output', async () => {
  const here = await folder();
  const { tree } = await api();
  const id = await runCommand('echo the-last-line');
  await ended(here, id);
  const node = tree.nodeOf(id);
  assert.ok(node);
  const token = new vscode.CancellationTokenSource().token;
  const item = await tree.resolveTreeItem(tree.getTreeItem(node), node, token);
  const text = (item.tooltip as vscode.MarkdownString).value;
  assert.match(text, /echo the-last-line/);
  assert.match(text, new RegExp(id));
  assert.match(text, /```log\nthe-last-line/);
});

test('notifications: failures only, and none at all', async () => {
  const here = await folder();
  const { notices } = await api();
  const during = async (value: string) => {
    await until(() => !notices.pending, 'what ended before is told');
    await setting('notifications', value);
    const told = said.length;
    const good = await runCommand(`true # ${value}`);
    await ended(here, good);
    const bad = await runCommand(`false # ${value}`);
    await ended(here, bad);
    return () => said.slice(told);
  };
  const failures = await during('failures');
  await until(() => failures().length === 1, 'the failure');
  assert.match(failures()[0] ?? '', /false # failures exited 1/);
  const off = await during('off');
  await setting('notifications', 'all');
  // One more end, with notices on again: if the other ends caused notices, they would appear before this one.
  const last = await runCommand('true # told again');
  await ended(here, last);
  await until(() => off().length > 0, 'the last');
  assert.deepEqual(off().length, 1);
  assert.match(off()[0] ?? '', /told again/);
});

test('what took less than the time that is set is not told', async () => {
  const here = await folder();
  const { notices, tree } = await api();
  await until(() => !notices.pending, 'what ended before is told', 20_000);
  const told = said.length;
  await setting('notifyAfterSeconds', 1);
  await ended(here, await runCommand('false # quick'));
  assert.equal(notices.failed > 0, true, 'the status bar counts it');
  assert.ok((tree.view.badge?.value ?? 0) > 0);
  await ended(here, await runCommand('sleep 1.1 # long enough'));
  await until(() => said.length > told, 'the other', 20_000);
  await setting('notifyAfterSeconds', 0);
  assert.match(said.slice(told).join('\n'), /^sleep 1.1 # long enough exited 0 after[^\n]*$/);
});

test('many ends at once are one notification beyond the first few', async () => {
  const here = await folder();
  const { notices } = await api();
  await until(() => !notices.pending, 'what ended before is told');
  const told = said.length;
  const ids = await Promise.all(
    Array.from({ length: 12 }, (_, n) => here.spawn({ command: `sleep 0.3; exit ${n % 2}` })),
  );
  await Promise.all(ids.map(({ id }) => ended(here, id)));
  await until(() => said.length > told, 'the notice');
  assert.ok(said.length - told <= 3, said.slice(told).join('\n'));
  assert.match(said.slice(told).join('\n'), /background tasks finished, \d+ failed/);
});

test('remove one, then clear all that have finished; what runs stays', async () => {
  const here = await folder();
  const { tree } = await api();
  const running = await runCommand('sleep 302');
  const [one, two] = [await runCommand('true # one'), await runCommand('true # two')];
  await Promise.all([ended(here, one), ended(here, two)]);
  await vscode.commands.executeCommand('meanwhile.remove', tree.nodeOf(one));
  assert.equal(here.store.get(one), undefined);
  assert.ok(here.store.get(two));
  await here.clearFinished();
  assert.deepEqual(
    here.store.all().map((task) => task.id),
    [running],
  );
  await vscode.commands.executeCommand('meanwhile.delete', tree.nodeOf(running));
  assert.equal((await ended(here, running)).state, 'stopped', 'what runs is stopped');
});

test('a task that another window removed leaves the list when it is used', async () => {
  const here = await folder();
  const id = await runCommand('true # removed elsewhere');
  await ended(here, id);
  await here.daemon.request('task/remove', { ids: [id] });
  assert.ok(here.store.get(id), 'there is no push of a removal');
  await assert.rejects(
    here.orGone(id, () => here.daemon.request('task/check', { id })),
    /removed/,
  );
  assert.equal(here.store.get(id), undefined);
});

test('a task that waits for input says so', async () => {
  const here = await folder();
  const id = await runCommand('printf "Continue? [y/N] "; read x; echo got $x');
  const later = await runCommand('sleep 299 # begun later');
  await until(() => here.store.get(id)?.waitsForInput, 'the daemon noticed', 30_000);
  const node = await nodeOf(id);
  assert.equal(node.icon, 'bell-dot');
  assert.match(node.description, /^waits for input/);
  assert.equal((await nodes())[0]?.id, id, 'it stands first');
  await until(() => said.some((text) => /waits for input/.test(text)), 'the notice');
  // As after a reload of the window.
  const fresh = new TaskStore();
  const list = await here.daemon.request('task/check', {});
  assert.ok('tasks' in list);
  fresh.replace(list.tasks, new Set());
  assert.equal(fresh.get(id)?.waitsForInput, true);
  await Promise.all([here.stop(id), here.stop(later)]);
});

test('folders of the tree are nodes only where there are several', async () => {
  const { tree } = await api();
  assert.ok(tree.getChildren().every((node) => 'id' in node));
});
