// The workspace folders, each with a daemon and a task store. Adds and removes them, keeps the stores
// in sync with the daemons, and is what every view and command queries. Shows nothing itself.

import { homedir } from 'node:os';
import * as vscode from 'vscode';
import { type Binary, locate } from './daemon/binary';
import { Daemon, errorCode } from './daemon/daemon';
import { type Secrets, taskEnvironment } from './model';
import {
  ERRORS,
  type Notification,
  type OutputPush,
  type SpawnParams,
  type Task,
} from './protocol/generated';
import { hasEnded, type StoreChange, TaskStore } from './tasks/store';

/** The queue of tasks that a person starts here; the client that notified the person acknowledges it. */
export const PERSON = 'person';
/** More than the daemon keeps by default (500 ended tasks per folder). */
const LIST_LIMIT = 5_000;
/** Snapshots with unknown tasks within this time cause one refetch. */
const REFETCH_AFTER_MS = 100;

export interface TaskRef {
  folder: Folder;
  id: string;
}

/** The program for a folder, or for a window without one. */
function findProgram(extensionPath: string, uri?: vscode.Uri): Promise<Binary> {
  return locate({
    setting: vscode.workspace.getConfiguration('meanwhile', uri).get('path', '').trim(),
    bundled: vscode.Uri.joinPath(vscode.Uri.file(extensionPath), 'bin', 'meanwhile').fsPath,
    path: process.env.PATH ?? '',
    home: homedir(),
    folder: uri?.fsPath ?? homedir(),
  });
}

export class Folder implements vscode.Disposable {
  readonly store = new TaskStore();
  readonly daemon: Daemon;
  private refetching: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** Whether the first list has come; before that not even "no tasks" can be shown. */
  loaded = false;

  constructor(
    readonly workspaceFolder: vscode.WorkspaceFolder,
    log: vscode.LogOutputChannel,
    extensionPath: string,
    private readonly events: FolderEvents,
    secrets: () => Promise<Secrets>,
  ) {
    const uri = workspaceFolder.uri;
    this.daemon = new Daemon(
      workspaceFolder,
      log,
      () => findProgram(extensionPath, uri),
      async () => {
        const minutes = vscode.workspace
          .getConfiguration('meanwhile', uri)
          .get<number | null>('lingerMinutes', 60);
        return {
          queue: PERSON,
          lingerMs: minutes === null ? null : Math.round(minutes * 60_000),
          secrets: await secrets(),
        };
      },
      () => taskEnvironment(workspaceFolder),
    );
    this.daemon.onDidConnect(async () => {
      await this.refetch();
      this.events.connected.fire(this);
    });
    this.daemon.onDidChangeState(() => this.events.state.fire(this));
    this.daemon.onDidFail((reason) => this.events.failed.fire({ folder: this, reason }));
    this.daemon.onPush('task/started', ({ task }) => this.apply(this.store.upsert(task)));
    this.daemon.onPush('task/state', ({ task }) => this.apply(this.store.upsert(task)));
    this.daemon.onPush('task/progress', ({ id, percent, message }) => {
      this.apply(this.store.progress(id, percent, message));
    });
    this.daemon.onPush('task/output', (push) => this.events.output.fire({ folder: this, push }));
    this.daemon.onPush('task/notified', ({ notification }) => {
      this.apply(this.store.upsert(notification.task));
      this.events.notified.fire({ folder: this, notification });
    });
    this.daemon.onPush('task/exited', ({ notification }) => {
      this.apply(this.store.upsert(notification.task));
      this.events.ended.fire({ folder: this, notification });
    });
    this.daemon.onPush('tasks/changed', (snapshot) => {
      if (this.store.changed(snapshot)) this.refetchSoon();
      this.events.changed.fire({ folder: this, change: { structure: false, tasks: [] } });
    });
  }

  get name(): string {
    return this.workspaceFolder.name;
  }

  /** Fetches the list again. Concurrent calls share one request. */
  refetch(): Promise<void> {
    this.refetching ??= this.fetch().finally(() => {
      this.refetching = undefined;
    });
    return this.refetching;
  }

  async spawn(params: SpawnParams): Promise<Task> {
    const { task } = await this.daemon.request('task/spawn', params);
    this.apply(this.store.upsert(task));
    return this.store.get(task.id) ?? task;
  }

  /** Starts a task again with its original parameters; a running one is stopped first. */
  async restart(id: string): Promise<Task> {
    return this.orGone(id, async () => {
      const { task } = await this.daemon.request('task/restart', { id });
      this.apply(this.store.upsert(task));
      return task;
    });
  }

  /** Returns when the whole process tree has exited. */
  async stop(id: string): Promise<void> {
    await this.orGone(id, async () => {
      const { task } = await this.daemon.request('task/stop', { id });
      this.apply(this.store.upsert(task));
    });
  }

  async remove(ids: string[]): Promise<void> {
    await this.daemon.request('task/remove', { ids });
    // Running tasks are not removed; the list shows which.
    await this.refetch();
  }

  async clearFinished(): Promise<void> {
    const ended = this.store.all().filter(hasEnded);
    for (let at = 0; at < ended.length; at += 1_000) {
      await this.daemon.request('task/remove', {
        ids: ended.slice(at, at + 1_000).map((task) => task.id),
      });
    }
    await this.refetch();
  }

  /** Runs a request about a task; a task that another window removed is removed from the list. */
  async orGone<T>(id: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (errorCode(error) === ERRORS.unknownTask) {
        this.apply(this.store.remove([id]));
        throw new Error('The task was removed, or is no longer kept.');
      }
      throw error;
    }
  }

  async dispose(): Promise<void> {
    clearTimeout(this.timer);
    await this.daemon.dispose();
  }

  private async fetch(): Promise<void> {
    if (this.daemon.state.kind !== 'running') return;
    const known = this.store.ids();
    const result = await this.daemon.request('task/check', { limit: LIST_LIMIT, steps: true });
    if ('tasks' in result) {
      this.loaded = true;
      this.apply(this.store.replace(result.tasks, known));
    }
  }

  private refetchSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      // If the daemon has exited, its state shows that.
      this.refetch().catch(() => undefined);
    }, REFETCH_AFTER_MS);
  }

  private apply(change: StoreChange): void {
    this.events.changed.fire({ folder: this, change });
  }
}

/** The events of all folders. */
export class FolderEvents implements vscode.Disposable {
  readonly changed = new vscode.EventEmitter<{ folder: Folder; change: StoreChange }>();
  readonly ended = new vscode.EventEmitter<{ folder: Folder; notification: Notification }>();
  readonly notified = new vscode.EventEmitter<{ folder: Folder; notification: Notification }>();
  readonly output = new vscode.EventEmitter<{ folder: Folder; push: OutputPush }>();
  readonly state = new vscode.EventEmitter<Folder>();
  /** A daemon has connected, and its list has been fetched. */
  readonly connected = new vscode.EventEmitter<Folder>();
  readonly failed = new vscode.EventEmitter<{ folder: Folder; reason: string }>();
  /** Folders were added or removed. */
  readonly folders = new vscode.EventEmitter<void>();

  dispose(): void {
    for (const emitter of Object.values(this)) (emitter as vscode.EventEmitter<unknown>).dispose();
  }
}

export class Folders implements vscode.Disposable {
  readonly events = new FolderEvents();
  private readonly byUri = new Map<string, Folder>();
  private readonly subscriptions: vscode.Disposable[] = [];

  constructor(
    private readonly log: vscode.LogOutputChannel,
    private readonly extensionPath: string,
    private readonly secrets: () => Promise<Secrets>,
    private readonly prepare: (folder: Folder) => void,
  ) {}

  /** Starts a daemon for each open folder, and for each that is added later. */
  start(): void {
    for (const folder of vscode.workspace.workspaceFolders ?? []) this.add(folder);
    this.subscriptions.push(
      vscode.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
        for (const folder of removed) this.drop(folder);
        for (const folder of added) this.add(folder);
        this.events.folders.fire();
      }),
    );
  }

  all(): Folder[] {
    return [...this.byUri.values()];
  }

  of(uri: vscode.Uri | undefined): Folder | undefined {
    const folder = uri && vscode.workspace.getWorkspaceFolder(uri);
    return folder ? this.byUri.get(folder.uri.toString()) : undefined;
  }

  find(id: string): TaskRef | undefined {
    const folder = this.all().find((folder) => folder.store.get(id));
    return folder ? { folder, id } : undefined;
  }

  /** The program of a folder's daemon, or of a window without a folder. */
  program(uri?: vscode.Uri): Promise<Binary> {
    return findProgram(this.extensionPath, uri);
  }

  async restart(): Promise<void> {
    await Promise.all(this.all().map((folder) => folder.daemon.restart()));
  }

  /** Starts the daemons that do not run, and fetches all lists. */
  async refresh(): Promise<void> {
    await Promise.all(this.all().map((folder) => folder.daemon.start()));
    await this.refetch();
  }

  async refetch(): Promise<void> {
    await Promise.all(this.all().map((folder) => folder.refetch()));
  }

  async dispose(): Promise<void> {
    for (const subscription of this.subscriptions) subscription.dispose();
    const folders = this.all();
    this.byUri.clear();
    await Promise.all(folders.map((folder) => folder.dispose()));
    this.events.dispose();
  }

  private add(workspaceFolder: vscode.WorkspaceFolder): void {
    const key = workspaceFolder.uri.toString();
    if (workspaceFolder.uri.scheme !== 'file' && workspaceFolder.uri.scheme !== 'vscode-remote') {
      this.log.info(`${workspaceFolder.name}: not on a disk, no daemon`);
      return;
    }
    if (this.byUri.has(key)) return;
    const folder = new Folder(
      workspaceFolder,
      this.log,
      this.extensionPath,
      this.events,
      this.secrets,
    );
    this.byUri.set(key, folder);
    this.prepare(folder);
    folder.daemon.start();
  }

  private drop(workspaceFolder: vscode.WorkspaceFolder): void {
    const key = workspaceFolder.uri.toString();
    const folder = this.byUri.get(key);
    this.byUri.delete(key);
    folder?.dispose();
  }
}
