// The output of a task as a terminal. Owns the terminals of this window, one per task; what they
// show comes from the feed. Closing a terminal does not affect its task, except that a task of
// tasks.json is stopped unless it has `detach`.

import { readlink } from 'node:fs/promises';
import * as vscode from 'vscode';
import { errorCode } from '../daemon/daemon';
import type { Folder, FolderEvents } from '../folders';
import { ERRORS, type Task } from '../protocol/generated';
import { outcome, title } from '../tasks/describe';
import { hasEnded } from '../tasks/store';
import { OutputFeed } from './feed';
import { LineInput } from './line';

/** How a task takes input: not at all, as lines through a pipe, or through a terminal. */
export type InputKind = 'none' | 'lines' | 'terminal';

/** The size of the last active terminal. Narrow at first, since narrow output also fits a wide one. */
let seen = { rows: 24, cols: 80 };

/** The size for a terminal that is not shown yet. */
export const unseenSize = () => seen;

export class TaskTerminal implements vscode.Pseudoterminal {
  private readonly writeEmitter = new vscode.EventEmitter<string>();
  private readonly closeEmitter = new vscode.EventEmitter<number | undefined>();
  private readonly nameEmitter = new vscode.EventEmitter<string>();
  private readonly subscriptions: vscode.Disposable[] = [];
  private readonly feed: OutputFeed;
  private readonly line = new LineInput();
  private input: Promise<InputKind> | undefined;
  private typing: Promise<void> = Promise.resolve();
  private sizing: Promise<unknown> = Promise.resolve();
  private size: vscode.TerminalDimensions | undefined;
  private claimed: vscode.TerminalDimensions | undefined;
  private opened = false;
  private finishing = false;
  private ended = false;
  private saidNoInput = false;

  readonly onDidWrite = this.writeEmitter.event;
  readonly onDidClose = this.closeEmitter.event;
  readonly onDidChangeName = this.nameEmitter.event;

  constructor(
    private readonly folder: Folder,
    private readonly id: string,
    private readonly events: FolderEvents,
    private readonly options: {
      /** The terminal closes when the task ends, with its exit code: for tasks of tasks.json. */
      closeWithTask: boolean;
      onClose?: () => void;
      /** Whether this is the active terminal; if undefined, always. */
      isActive?: () => boolean;
    },
  ) {
    const kib = vscode.workspace.getConfiguration('meanwhile').get('outputTailKiB', 1024);
    this.feed = new OutputFeed(
      {
        read: (offset, limit) =>
          folder.orGone(id, () => folder.daemon.request('task/read', { id, offset, limit })),
        subscribe: (offset) => folder.daemon.request('task/subscribe', { id, offset }),
      },
      (text) => this.writeEmitter.fire(text),
      kib * 1024,
      (error) => this.trouble(error),
    );
  }

  open(size?: vscode.TerminalDimensions): void {
    this.opened = true;
    this.size = size;
    this.claim();
    this.subscriptions.push(
      this.events.output.event(({ folder, push }) => {
        if (folder === this.folder && push.id === this.id) this.feed.push(push);
      }),
      this.events.ended.event(({ folder, notification }) => {
        if (folder === this.folder && notification.task.id === this.id) {
          this.finish(notification.task);
        }
      }),
      // A new daemon does not have this terminal's subscription.
      this.folder.daemon.onDidConnect(() => this.attach()),
    );
    this.attach();
  }

  close(): void {
    this.feed.close();
    for (const subscription of this.subscriptions.splice(0)) subscription.dispose();
    if (!this.ended && this.folder.daemon.state.kind === 'running') {
      this.folder.daemon.request('task/unsubscribe', { id: this.id }).catch(() => undefined);
    }
    this.options.onClose?.();
  }

  handleInput(data: string): void {
    if (this.ended || this.finishing) return;
    // Keeps the order typed, even if a write waits for the task to read.
    this.typing = this.typing.then(() => this.type(data)).catch((error) => this.trouble(error));
  }

  setDimensions(size: vscode.TerminalDimensions): void {
    this.size = size;
    // If several terminals show one task, the active one sets its size.
    if (vscode.window.state.focused && (this.options.isActive?.() ?? true)) this.claim();
  }

  /** Claims only a changed size: the active terminal may be hidden, and another may show the task. */
  claimAgain(): void {
    const { size, claimed } = this;
    if (size?.rows !== claimed?.rows || size?.columns !== claimed?.columns) this.claim();
  }

  /** Resizes the task's terminal to this one. */
  claim(): void {
    if (!this.size || this.size.rows < 1 || this.size.columns < 1) return;
    this.claimed = this.size;
    const { rows, columns: cols } = this.size;
    seen = { rows, cols };
    // Requests go in order, so that the latest size wins.
    this.sizing = this.sizing.then(() => {
      // A daemon of version 0.1.0 cannot resize, and a task without a terminal has no size.
      if (this.ended || this.finishing || !this.folder.daemon.can('task/resize')) return;
      return this.folder.daemon
        .request('task/resize', { id: this.id, rows, cols })
        .catch(() => undefined);
    });
  }

  private async attach(): Promise<void> {
    if (this.ended || !this.opened) return;
    try {
      const result = await this.folder.orGone(this.id, () =>
        this.folder.daemon.request('task/check', { id: this.id, tailBytes: 0 }),
      );
      if (!('task' in result)) return;
      const { task } = result;
      this.nameEmitter.fire(terminalName(task));
      await this.feed.open(task.output.total, !hasEnded(task));
      if (hasEnded(task)) this.finish(task);
    } catch (error) {
      this.trouble(error as Error);
    }
  }

  private async finish(task: Task): Promise<void> {
    if (this.ended || this.finishing) return;
    this.finishing = true;
    const trouble = await this.feed.finish(task.output.total);
    this.finishing = false;
    // The daemon died during the last read; `attach` calls this again with the next one.
    if (trouble && !answered(trouble) && this.folder.store.get(this.id)) return;
    this.ended = true;
    this.feed.note(`[${task.shown.ended}]`);
    this.nameEmitter.fire(terminalName(task));
    if (this.options.closeWithTask) {
      // An unknown status and a signal both count as a failure.
      this.closeEmitter.fire(task.exit?.code ?? 1);
    }
  }

  private async type(data: string): Promise<void> {
    this.input ??= this.inputKind();
    const kind = await this.input;
    if (this.ended) return;
    switch (kind) {
      case 'none':
        if (!this.saidNoInput) this.feed.note('[this task takes no input]');
        this.saidNoInput = true;
        return;
      case 'terminal':
        await this.write(data, false);
        return;
      case 'lines': {
        const { echo, send, eof } = this.line.input(data);
        if (echo !== '') this.writeEmitter.fire(echo);
        if (send !== '' || eof) await this.write(send, eof);
        return;
      }
    }
  }

  private async write(data: string, eof: boolean): Promise<void> {
    await this.folder.daemon.request('task/write', {
      id: this.id,
      data,
      ...(eof ? { eof } : {}),
    });
  }

  /**
   * The daemon reports whether a task takes input, but not whether through a terminal, which edits
   * and echoes itself, or through a pipe. `/proc` shows which.
   */
  private async inputKind(): Promise<InputKind> {
    try {
      await this.folder.daemon.request('task/write', { id: this.id, data: '' });
    } catch (error) {
      if (errorCode(error) === ERRORS.invalidParams) return 'none';
      throw error;
    }
    const pid = await this.leader();
    const stdin = await readlink(`/proc/${pid}/fd/0`).catch(() => '');
    return stdin.startsWith('/dev/pts/') ? 'terminal' : 'lines';
  }

  /** Waits for the pid of the task's process, which may start later than the task is listed. */
  private async leader(): Promise<number | undefined> {
    while (!this.ended) {
      const pid = this.folder.store.get(this.id)?.pid;
      if (pid !== undefined) return pid;
      await new Promise<void>((done) => {
        const began = this.events.changed.event(() => {
          began.dispose();
          done();
        });
      });
    }
    return undefined;
  }

  private trouble(error: Error): void {
    if (this.folder.daemon.state.kind === 'running') this.feed.note(`[${error.message}]`);
  }
}

/** Whether an error is a response of the daemon, by its code; if not, the daemon has exited. */
function answered(error: Error): boolean {
  const code = errorCode(error);
  if (code === undefined) return false;
  return code <= -32_600 || Object.values<number>(ERRORS).includes(code);
}

export function terminalName(task: Task): string {
  const sign = { succeeded: '✓ ', failed: '✗ ', timedOut: '✗ ', lost: '✗ ', stopped: '■ ' } as {
    [key: string]: string | undefined;
  };
  return `${sign[outcome(task)] ?? ''}${title(task)}`;
}

export class Terminals implements vscode.Disposable {
  private readonly byTask = new Map<string, { terminal: vscode.Terminal; pty: TaskTerminal }>();
  private readonly subscriptions: vscode.Disposable[];

  constructor(private readonly events: FolderEvents) {
    const active = () => {
      const id = vscode.window.activeTerminal && this.taskOf(vscode.window.activeTerminal);
      return id !== undefined && vscode.window.state.focused ? this.byTask.get(id)?.pty : undefined;
    };
    this.subscriptions = [
      vscode.window.onDidChangeActiveTerminal(() => active()?.claim()),
      vscode.window.onDidChangeWindowState(() => active()?.claimAgain()),
    ];
  }

  /** The task shown last. */
  last: string | undefined;

  show(folder: Folder, id: string, preserveFocus = false): vscode.Terminal {
    this.last = id;
    const there = this.byTask.get(id);
    if (there) {
      there.terminal.show(preserveFocus);
      return there.terminal;
    }
    const task = folder.store.get(id);
    const pty = new TaskTerminal(folder, id, this.events, {
      closeWithTask: false,
      onClose: () => this.byTask.delete(id),
      isActive: () => this.isActive(id),
    });
    const terminal = vscode.window.createTerminal({
      name: task ? terminalName(task) : id,
      pty,
      iconPath: new vscode.ThemeIcon('rocket'),
      // After a reload VS Code would restore an empty terminal; the daemon keeps the output.
      isTransient: true,
    });
    this.byTask.set(id, { terminal, pty });
    terminal.show(preserveFocus);
    return terminal;
  }

  isActive(id: string): boolean {
    const { activeTerminal } = vscode.window;
    return activeTerminal !== undefined && this.taskOf(activeTerminal) === id;
  }

  /** Shows a restarted task instead of the one before. */
  replace(folder: Folder, before: string, id: string): void {
    this.byTask.get(before)?.terminal.dispose();
    this.show(folder, id, true);
  }

  taskOf(terminal: vscode.Terminal): string | undefined {
    for (const [id, entry] of this.byTask) if (entry.terminal === terminal) return id;
    return undefined;
  }

  dispose(): void {
    for (const subscription of this.subscriptions) subscription.dispose();
    for (const { terminal } of [...this.byTask.values()]) terminal.dispose();
  }
}
