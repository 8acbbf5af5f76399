// Tells a person, once, what has finished. Owns the switch that silences it and the one rule beside
// it: when several finish in the same moment, beyond the first few one notification speaks for all.

import * as vscode from 'vscode';
import type { Folder, Folders } from './folders';
import type { Terminals } from './output/terminal';
import type { Task } from './protocol/generated';
import { asText, cut, isFailure, sentence, title } from './tasks/describe';
import { isStep } from './tasks/store';

/** Ends within this time of each other are a burst. */
const BURST_MS = 400;
/** So many of a burst have a notification of their own. */
const BURST_EACH = 3;

export type Notify = (message: string, failed: boolean, button: string) => Thenable<unknown>;

const show: Notify = (message, failed, button) =>
  failed
    ? vscode.window.showWarningMessage(message, button)
    : vscode.window.showInformationMessage(message, button);

export class Notices implements vscode.Disposable {
  private readonly subscriptions: vscode.Disposable[] = [];
  private burst: { folder: Folder; task: Task }[] = [];
  private timer: NodeJS.Timeout | undefined;
  /** A task that was stopped in this window needs no notice. */
  private readonly silenced = new Set<string>();
  private readonly failedBefore = new Set<string>();
  private readonly tellEmitter = new vscode.EventEmitter<string>();
  /** What is said, in its words. */
  readonly onDidTell = this.tellEmitter.event;

  constructor(
    folders: Folders,
    private readonly terminals: Terminals,
    /** Whether a task is an agent's own matter. */
    private readonly isOfAgent: (folder: Folder, task: Task) => boolean,
    private readonly notify: Notify = show,
  ) {
    const { events } = folders;
    this.subscriptions.push(
      events.ended.event(({ folder, notification }) => this.ended(folder, notification.task)),
      events.notified.event(({ folder, notification }) => {
        const { task, kind } = notification;
        if (isStep(task)) return;
        const name = cut(title(task), 80);
        if (kind === 'stalled') this.tell(folder, task.id, `${name} waits for input`, true);
        else if (kind === 'matched' && this.setting() === 'all') {
          this.tell(folder, task.id, `${name}: ${cut(notification.match?.line ?? '', 200)}`, false);
        }
      }),
      events.failed.event(({ reason }) => this.failed(reason)),
      events.state.event((folder) => {
        const failing = folders.all().some((one) => one.daemon.state.kind === 'failed');
        vscode.commands.executeCommand('setContext', 'meanwhile.failed', failing);
        if (folder.daemon.state.kind === 'running') this.failedBefore.clear();
      }),
    );
  }

  /** The next end of this task is not told. */
  silence(id: string): void {
    this.silenced.add(id);
  }

  /** It is told after all. */
  unsilence(id: string): void {
    this.silenced.delete(id);
  }

  /** Whether ends wait to be told. */
  get pending(): boolean {
    return this.burst.length > 0;
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const subscription of this.subscriptions) subscription.dispose();
    this.tellEmitter.dispose();
  }

  private setting(): string {
    return vscode.workspace.getConfiguration('meanwhile').get('notifications', 'all');
  }

  private ended(folder: Folder, task: Task): void {
    if (this.silenced.delete(task.id) || this.isOfAgent(folder, task)) return;
    const setting = this.setting();
    if (setting === 'off' || (setting === 'failures' && !isFailure(task))) return;
    this.burst.push({ folder, task });
    this.timer ??= setTimeout(() => this.flush(), BURST_MS);
  }

  private flush(): void {
    this.timer = undefined;
    const burst = this.burst;
    this.burst = [];
    const each = burst.length <= BURST_EACH ? burst : [];
    for (const { folder, task } of each) {
      this.tell(folder, task.id, sentence(task), isFailure(task));
    }
    if (each.length < burst.length) {
      const failed = burst.filter(({ task }) => isFailure(task)).length;
      const message = `${burst.length} background tasks finished${failed > 0 ? `, ${failed} failed` : ''}`;
      this.tellEmitter.fire(message);
      this.notify(message, failed > 0, 'Show Tasks').then((answer) => {
        if (answer) vscode.commands.executeCommand('meanwhile.tasks.focus');
      });
    }
  }

  private tell(folder: Folder, id: string, message: string, failed: boolean): void {
    if (this.setting() === 'off') return;
    this.tellEmitter.fire(message);
    this.notify(asText(message), failed, 'Show Output').then((answer) => {
      if (answer) this.terminals.show(folder, id);
    });
  }

  /** One message for one trouble, however many folders have it. */
  private async failed(reason: string): Promise<void> {
    if (this.failedBefore.has(reason)) return;
    this.failedBefore.add(reason);
    this.tellEmitter.fire(reason);
    const answer = await vscode.window.showErrorMessage(
      asText(reason),
      'Open Setting',
      'Show Log',
      'Try Again',
    );
    this.failedBefore.delete(reason);
    switch (answer) {
      case 'Open Setting':
        await vscode.commands.executeCommand('workbench.action.openSettings', 'meanwhile.path');
        return;
      case 'Show Log':
        await vscode.commands.executeCommand('meanwhile.showLog');
        return;
      case 'Try Again':
        await vscode.commands.executeCommand('meanwhile.restartDaemon');
        return;
      case undefined:
        return;
    }
  }
}
