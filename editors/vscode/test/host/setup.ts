// Shared by the tests in the extension host.

import * as vscode from 'vscode';
import type { Api } from '../../src/extension';
import type { Folder, FolderEvents } from '../../src/folders';
import { TaskTerminal } from '../../src/output/terminal';
import type { SpawnParams, Task } from '../../src/protocol/generated';
import { hasEnded } from '../../src/tasks/store';
import { until } from './harness';

/** The notices shown since the tests started. */
export const said: string[] = [];
let activating: Promise<Api> | undefined;

export function api(): Promise<Api> {
  activating ??= activate();
  return activating;
}

async function activate(): Promise<Api> {
  const extension = vscode.extensions.getExtension<Api>('meanwhile.meanwhile');
  if (!extension) throw new Error('the extension is not installed');
  const parts = await extension.activate();
  parts.notices.onDidTell((message) => said.push(message));
  return parts;
}

export async function folder(): Promise<Folder> {
  const { folders } = await api();
  const [first] = folders.all();
  if (!first) throw new Error('no folder is open');
  await until(() => first.daemon.state.kind === 'running', 'the daemon');
  return first;
}

/** Runs a command as the palette's command does, and returns the task's id. */
export async function runCommand(command: string): Promise<string> {
  const id = await vscode.commands.executeCommand<string>('meanwhile.run', command);
  if (!id) throw new Error(`not started: ${command}`);
  return id;
}

export async function ended(folder: Folder, id: string): Promise<Task> {
  return until(
    () => {
      const task = folder.store.get(id);
      return task && hasEnded(task) ? task : undefined;
    },
    `the end of ${folder.store.get(id)?.command ?? id}`,
    30_000,
  );
}

export async function spawnEnded(folder: Folder, params: SpawnParams): Promise<Task> {
  const { id } = await folder.spawn(params);
  return ended(folder, id);
}

/** Opens a task's terminal without showing it, and collects what it writes. */
export async function openTerminal(
  folder: Folder,
  id: string,
  { events, size }: { events?: FolderEvents; size?: vscode.TerminalDimensions } = {},
) {
  const { folders } = await api();
  let text = '';
  let name = '';
  const terminal = new TaskTerminal(folder, id, events ?? folders.events, {
    closeWithTask: false,
  });
  terminal.onDidWrite((data) => {
    text += data;
  });
  terminal.onDidChangeName((data) => {
    name = data;
  });
  terminal.open(size);
  return {
    terminal,
    get text() {
      return text;
    },
    get name() {
      return name;
    },
  };
}

export async function setting(name: string, value: unknown): Promise<void> {
  await vscode.workspace
    .getConfiguration('meanwhile')
    .update(name, value, vscode.ConfigurationTarget.Global);
}
