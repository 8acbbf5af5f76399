// A workspace of two folders: each has its own daemon, and its own part of the list.

import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { Folder } from '../../../src/folders';
import { runAll, test, until } from '../harness';
import { api, ended } from '../setup';

/** Private state that the tree and the panel keep by folder. */
interface Kept {
  nodes: Map<string, { folder: Folder }>;
  folderNodes: Map<Folder, unknown>;
  byFolder: Map<Folder, unknown>;
}

async function both(): Promise<[Folder, Folder]> {
  const { folders } = await api();
  await until(() => folders.all().filter(({ loaded }) => loaded).length === 2, 'both daemons');
  const [one, two] = folders.all();
  assert.ok(one && two);
  return [one, two];
}

test('each folder has a daemon of its own', async () => {
  const [one, two] = await both();
  const a = await one.spawn({ command: 'pwd' });
  const b = await two.spawn({ command: 'pwd' });
  assert.equal(a.cwd, one.workspaceFolder.uri.fsPath);
  assert.equal(b.cwd, two.workspaceFolder.uri.fsPath);
  await Promise.all([ended(one, a.id), ended(two, b.id)]);
  assert.equal(one.store.get(b.id), undefined);
  assert.equal(two.store.get(a.id), undefined);
});

test('the list is grouped by folder, and counts what runs', async () => {
  const [one, two] = await both();
  const { tree } = await api();
  const running = await two.spawn({ command: 'sleep 310' });
  const groups = tree.getChildren();
  assert.deepEqual(
    groups.map((group) => [String(tree.getTreeItem(group).label), 'folder' in group]),
    [
      [one.name, true],
      [two.name, true],
    ],
  );
  const [first, second] = groups;
  assert.ok(first && second && 'folder' in second);
  assert.equal(tree.getTreeItem(second).description, '1 running');
  const ids = tree.getChildren(second).map((node) => tree.getTreeItem(node).id);
  assert.ok(ids.includes(running.id));
  const node = tree.nodeOf(running.id);
  assert.ok(node);
  assert.equal(tree.getParent(node), second);
  assert.notEqual(tree.getParent(node), first);
  assert.ok('id' in node, 'a task, no folder');
  await two.stop(running.id);
});

test('a daemon that is killed leaves the other folder as it is', async () => {
  const [one, two] = await both();
  const pid = (folder: Folder) =>
    folder.daemon.state.kind === 'running' ? folder.daemon.state.pid : undefined;
  const [a, b] = [pid(one), pid(two)];
  assert.ok(a && b);
  process.kill(a, 'SIGKILL');
  await until(() => pid(one) !== undefined && pid(one) !== a, 'another daemon');
  assert.equal(pid(two), b);
});

test('a folder that is taken out of the workspace takes its daemon along', async () => {
  const [, two] = await both();
  const { folders, tree, panel } = await api();
  const node = tree.getChildren().find(({ folder }) => folder === two);
  assert.ok(node && tree.getChildren(node).length > 0);
  const { state } = two.daemon;
  assert.ok(state.kind === 'running' && state.pid);
  const { pid } = state;
  vscode.workspace.updateWorkspaceFolders(1, 1);
  await until(() => folders.all().length === 1, 'one folder is left');
  await until(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  }, 'its daemon has ended');
  // A reference to the folder would keep its whole list in memory.
  const { nodes, folderNodes } = tree as unknown as Kept;
  await until(
    () => !folderNodes.has(two) && ![...nodes.values()].some(({ folder }) => folder === two),
    'the list has nothing of it',
  );
  assert.deepEqual([...(panel as unknown as Kept).byFolder.keys()], folders.all());
});

// biome-ignore lint/suspicious/noExportsInTest: the extension host calls this.
export async function run(): Promise<void> {
  await runAll();
}
