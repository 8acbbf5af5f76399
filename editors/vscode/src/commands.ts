// The commands, one function each. A command changes nothing itself: it sends a request to the daemon,
// and the views follow the pushes.

import * as vscode from 'vscode';
import type { Folder, Folders, TaskRef } from './folders';
import { type ModelSettings, openModelSettings } from './model';
import type { Notices } from './notices';
import type { OutputDocuments } from './output/document';
import { type Terminals, unseenSize } from './output/terminal';
import { matchers, type Problems } from './problems/problems';
import type { SpawnParams } from './protocol/generated';
import { ago, asText, cut, type Filter, NO_FILTER, sentence, title } from './tasks/describe';
import { hasEnded } from './tasks/store';
import { TaskNode, type TaskTree } from './tasks/view';

export interface Parts {
  folders: Folders;
  tree: TaskTree;
  terminals: Terminals;
  documents: OutputDocuments;
  problems: Problems;
  notices: Notices;
  model: ModelSettings;
  log: vscode.LogOutputChannel;
}

/** How many past commands the run box offers. */
const HISTORY = 30;
/** The argument of a command: a node of the tree, or a task's id. */
type Target = TaskNode | string | undefined;

export function registerCommands(parts: Parts): vscode.Disposable {
  const { folders, tree, terminals, documents, problems, notices, model, log } = parts;
  const register = (name: string, work: (...args: never[]) => unknown) =>
    vscode.commands.registerCommand(`meanwhile.${name}`, async (...args: never[]) => {
      try {
        return await work(...args);
      } catch (error) {
        const { message } = error as Error;
        log.error(`${name}: ${message}`);
        vscode.window.showErrorMessage(`Meanwhile: ${asText(message)}`);
        return undefined;
      }
    });

  /** The tasks to act on: those given, those selected in the view, or one picked from a list. */
  const targets = async (
    given: Target,
    selected: Target[] | undefined,
    wanted: (ended: boolean) => boolean = () => true,
    title = 'Which task?',
  ): Promise<TaskRef[]> => {
    const refs = (list: Target[]) =>
      list.flatMap((target) => {
        const id = target instanceof TaskNode ? target.id : target;
        const ref = id === undefined ? undefined : folders.find(id);
        return ref ? [ref] : [];
      });
    if (selected && selected.length > 1 && selected.includes(given)) return refs(selected);
    if (given !== undefined) return refs([given]);
    if (tree.view.visible && tree.view.selection.length > 0) {
      return refs(tree.view.selection.filter((node) => node instanceof TaskNode));
    }
    const items = folders.all().flatMap((folder) =>
      folder.store
        .all()
        .filter((task) => wanted(hasEnded(task)))
        .map((task) => ({
          label: cut(titleOf(folder, task.id), 80),
          description: `${task.id} · ${ago(Date.now() - Date.parse(task.createdAt))}`,
          ref: { folder, id: task.id },
        })),
    );
    if (items.length === 0) {
      vscode.window.showInformationMessage('Meanwhile: there is no such task.');
      return [];
    }
    const picked = await vscode.window.showQuickPick(items, {
      title,
      matchOnDescription: true,
    });
    return picked ? [picked.ref] : [];
  };

  const copy = async (refs: TaskRef[], text: (ref: TaskRef) => string) => {
    if (refs.length > 0) await vscode.env.clipboard.writeText(refs.map(text).join('\n'));
  };

  return vscode.Disposable.from(
    register('run', async (command?: string) => run(parts, command)),
    register('runSelection', async () => {
      const editor = vscode.window.activeTextEditor;
      const text = editor?.document.getText(editor.selection).trim();
      if (text) await run(parts, text);
    }),
    // The first click on a line shows its output and keeps the focus in the list; the second moves it.
    register('preview', ({ folder, id }: TaskNode) => {
      terminals.show(folder, id, terminals.last !== id && !folder.store.get(id)?.waitsForInput);
    }),
    register('showOutput', async (given: Target, selected?: Target[]) => {
      for (const { folder, id } of await targets(given, selected)) terminals.show(folder, id);
    }),
    register('openOutput', async (given: Target, selected?: Target[]) => {
      for (const { folder, id } of await targets(given, selected)) await documents.open(folder, id);
    }),
    register('stop', async (given: Target, selected?: Target[]) => {
      const refs = await targets(given, selected, (ended) => !ended, 'Stop which task?');
      await Promise.all(refs.map((ref) => stop(ref, notices)));
    }),
    register('stopAll', async () => {
      const refs = folders
        .all()
        .flatMap((folder) => folder.store.running().map((task) => ({ folder, id: task.id })));
      if (refs.length === 0) return;
      const answer = await vscode.window.showWarningMessage(
        `Stop ${refs.length} running ${refs.length === 1 ? 'task' : 'tasks'}?`,
        { modal: true },
        'Stop All',
      );
      if (answer === 'Stop All') await Promise.all(refs.map((ref) => stop(ref, notices)));
    }),
    register('restart', async (given: Target, selected?: Target[]) => {
      for (const ref of await targets(given, selected)) await restart(ref, parts);
    }),
    register('copyId', async (given: Target, selected?: Target[]) =>
      copy(await targets(given, selected), ({ id }) => id),
    ),
    register('copyCommand', async (given: Target, selected?: Target[]) =>
      copy(await targets(given, selected), ({ folder, id }) => folder.store.get(id)?.command ?? ''),
    ),
    register('remove', async (given: Target, selected?: Target[]) => {
      const refs = await targets(given, selected, (ended) => ended, 'Remove which task?');
      for (const folder of folders.all()) {
        const ids = refs.filter((ref) => ref.folder === folder).map(({ id }) => id);
        if (ids.length > 0) await folder.remove(ids);
      }
    }),
    register('delete', async (given: Target, selected?: Target[]) => {
      const refs = await targets(given, selected);
      const runs = ({ folder, id }: TaskRef) => folder.store.running().some((one) => one.id === id);
      const [running, over] = [refs.filter(runs), refs.filter((ref) => !runs(ref))];
      await Promise.all(running.map((ref) => stop(ref, notices)));
      // Ask first: a held key would stop a task and then remove it, and a task to be stopped may have just ended.
      const [only, second] = over;
      if (!only) return;
      const what = second
        ? `${over.length} finished tasks`
        : cut(titleOf(only.folder, only.id), 80);
      const answer = await vscode.window.showWarningMessage(
        `Forget ${asText(what)}, with the output?`,
        { modal: true },
        'Forget',
      );
      if (answer) for (const { folder, id } of over) await folder.remove([id]);
    }),
    register('clearFinished', async () => {
      const count = folders
        .all()
        .reduce((n, { store }) => n + store.size - store.running().length, 0);
      if (count === 0) return;
      const answer = await vscode.window.showWarningMessage(
        `Forget ${count} finished ${count === 1 ? 'task' : 'tasks'}, with the output?`,
        { modal: true },
        'Forget',
      );
      if (answer) await Promise.all(folders.all().map((folder) => folder.clearFinished()));
    }),
    register('filter', async () => {
      const filter = await askFilter(tree.filter);
      if (filter) tree.filter = filter;
    }),
    register('clearFilter', () => {
      tree.filter = NO_FILTER;
    }),
    register('refresh', () => folders.refresh()),
    register('restartDaemon', () => folders.restart()),
    register('showLog', () => log.show()),
    register('setKey', () => model.setKey()),
    register('useLocalServer', () => model.useLocalServer()),
    register('forgetModel', () => model.forget()),
    register('openModelSettings', openModelSettings),
    register('learn', async () => {
      const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
      const { path } = await folders.program(folder);
      const terminal = vscode.window.createTerminal({
        name: 'Meanwhile: the lesson',
        shellPath: path,
        shellArgs: ['learn'],
        location: vscode.TerminalLocation.Editor,
      });
      terminal.show();
      return terminal;
    }),
    register('findProblems', async (given: Target) => {
      const [ref] = await targets(given, undefined);
      const task = ref?.folder.store.get(ref.id);
      if (!ref || !task) return;
      const names = await vscode.window.showQuickPick(
        [...matchers().keys()].sort().map((name) => `$${name}`),
        { title: 'Which problem matchers read the output?', canPickMany: true },
      );
      if (!names || names.length === 0) return;
      const count = await problems.find(ref.folder, task, names);
      if (count > 0) await vscode.commands.executeCommand('workbench.actions.view.problems');
      else
        vscode.window.showInformationMessage(
          `No problems found in the output of ${asText(title(task))}.`,
        );
    }),
    register('clearProblems', () => problems.clear()),
  );
}

function titleOf(folder: Folder, id: string): string {
  const task = folder.store.get(id);
  return task ? sentence(task) : id;
}

async function stop(ref: TaskRef, notices: Notices): Promise<void> {
  const task = ref.folder.store.get(ref.id);
  if (!task || hasEnded(task)) return;
  // A person who stops a task needs no notice of its end.
  notices.silence(ref.id);
  try {
    await ref.folder.stop(ref.id);
  } catch (error) {
    notices.unsilence(ref.id);
    throw error;
  }
}

/** Restarts a task, stopping it if it runs; the new task's terminal replaces the old. */
async function restart({ folder, id }: TaskRef, { notices, terminals }: Parts): Promise<void> {
  notices.silence(id);
  try {
    const task = await folder.restart(id);
    terminals.replace(folder, id, task.id);
  } catch (error) {
    notices.unsilence(id);
    throw error;
  }
}

function terminalParams(folder: Folder): Partial<SpawnParams> {
  const wanted = vscode.workspace
    .getConfiguration('meanwhile', folder.workspaceFolder.uri)
    .get('runInTerminal', true);
  return wanted ? { pty: unseenSize() } : {};
}

async function run(parts: Parts, given: string | undefined): Promise<string | undefined> {
  const folder = await pickFolder(parts.folders);
  if (!folder) return undefined;
  const command = given ?? (await askCommand(folder));
  const where = command && (given ? {} : await askPlace(folder));
  if (!where) return undefined;
  const task = await folder.spawn({ command, ...where, ...terminalParams(folder) });
  const node = parts.tree.nodeOf(task.id);
  if (node && parts.tree.view.visible) {
    // `reveal` can fail while the tree is redrawn; then only the selection is lost.
    await parts.tree.view.reveal(node, { select: true, focus: false }).then(undefined, () => 0);
  }
  return task.id;
}

async function pickFolder(folders: Folders): Promise<Folder | undefined> {
  const all = folders.all();
  if (all.length === 0) throw new Error('open a folder to run a command in its background');
  if (all.length === 1) return all[0];
  const active = folders.of(vscode.window.activeTextEditor?.document.uri);
  const items = all
    .sort((a, b) => Number(b === active) - Number(a === active))
    .map((folder) => ({
      label: folder.name,
      description: folder.workspaceFolder.uri.fsPath,
      folder,
    }));
  const picked = await vscode.window.showQuickPick(items, { title: 'Run in which folder?' });
  return picked?.folder;
}

/** Asks where to run the command, if other machines are set up. */
async function askPlace(folder: Folder): Promise<Pick<SpawnParams, 'on'> | undefined> {
  if (!folder.daemon.can('place/list')) return {};
  const { places } = await folder.daemon.request('place/list', {});
  if (places.length === 0) return {};
  const items = places.map(({ name, contact }) => ({
    label: name,
    description: contact ? `no contact: ${contact.reason}` : '',
    where: { on: name },
  }));
  const here = { label: 'This machine', description: '', where: {} };
  return (await vscode.window.showQuickPick([here, ...items], { title: 'Run where?' }))?.where;
}

/** Asks for a command, and offers those that were run before. */
function askCommand(folder: Folder): Promise<string | undefined> {
  const past = [...new Set(folder.store.all().map((task) => task.command))].slice(0, HISTORY);
  const pick = vscode.window.createQuickPick();
  pick.title = `Run in the background of ${folder.name}`;
  pick.placeholder = 'A command, for example: npm test';
  const offer = () => {
    const { value } = pick;
    pick.items = [
      ...(value.trim() === '' || past.includes(value)
        ? []
        : [{ label: value, description: 'run this command', alwaysShow: true }]),
      ...past.map((label) => ({ label, description: 'run again' })),
    ];
  };
  offer();
  pick.onDidChangeValue(offer);
  return new Promise((done) => {
    pick.onDidAccept(() => {
      const [active] = pick.activeItems;
      // The item chosen with the arrow keys, else the typed text.
      done(active?.label ?? (pick.value.trim() || undefined));
      pick.hide();
    });
    pick.onDidHide(() => {
      done(undefined);
      pick.dispose();
    });
    pick.show();
  });
}

/** Asks which tasks to show, and for a text to match. */
function askFilter(current: Filter): Promise<Filter | undefined> {
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { which: Filter['which'] }>();
  pick.title = 'Filter background tasks';
  pick.placeholder = 'Part of a command, label or id; then choose which tasks';
  pick.value = current.text;
  pick.items = (
    [
      ['all', 'All tasks'],
      ['running', 'Running'],
      ['failed', 'Failed'],
      ['finished', 'Finished'],
    ] as const
  ).map(([which, label]) => ({ which, label, alwaysShow: true }));
  pick.activeItems = pick.items.filter(({ which }) => which === current.which);
  return new Promise((done) => {
    pick.onDidAccept(() => {
      const which = pick.activeItems[0]?.which ?? 'all';
      done({ which, text: pick.value.trim() });
      pick.hide();
    });
    pick.onDidHide(() => {
      done(undefined);
      pick.dispose();
    });
    pick.show();
  });
}
