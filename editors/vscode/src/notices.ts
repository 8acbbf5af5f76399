// Notifies the person, once, of finished tasks that the person does not see already. Owns the rules: how
// long a task must have run, that many ends make one notice, that a notice waits until the window has
// focus, and which ends are still unseen, which the badge and the status bar count.

import * as vscode from 'vscode';
import { type Folder, type Folders, PERSON } from './folders';
import type { Terminals } from './output/terminal';
import type { Panel } from './panel/panel';
import type { Notification, Task } from './protocol/generated';
import { asText, cut, isFailure, passes, sentence, title } from './tasks/describe';
import { isStep } from './tasks/store';
import type { TaskTree } from './tasks/view';

/** Tasks that end within this time share one notice. */
const BURST_MS = 400;
/** The minimum time between two notices, so that a stream of ends gives only a few. */
const SPACING_MS = 5_000;
/** How many tasks a notice names. */
const NAMED = 3;
/** How many notifications one reply may have. */
const DRAIN_MAX = 1_000;

interface Held {
  folder: Folder;
  notification: Notification;
}

export class Notices implements vscode.Disposable {
  private readonly subscriptions: vscode.Disposable[] = [];
  private held: Held[] = [];
  private timer: NodeJS.Timeout | undefined;
  private spaced = 0;
  /** Notification numbers handled, by folder: as many of the last as can arrive twice. */
  private readonly taken = new Map<Folder, Set<number>>();
  /** The last number acknowledged, by folder. */
  private readonly acked = new Map<Folder, number>();
  /** Folders whose queue was read since their daemon started; until then pushes wait in `early`. */
  private readonly caughtUp = new Set<Folder>();
  private readonly early = new Map<Folder, Notification[]>();
  /** Tasks stopped in this window: their ends need no notice. */
  private readonly silenced = new Set<string>();
  /** Tasks that finished since the person last looked at the list, and whether each failed. */
  private readonly unseen = new Map<string, boolean>();
  private readonly tellEmitter = new vscode.EventEmitter<string>();
  private readonly seenEmitter = new vscode.EventEmitter<void>();
  /** The text of each notice and each failure of a daemon. */
  readonly onDidTell = this.tellEmitter.event;
  readonly onDidChangeUnseen = this.seenEmitter.event;

  constructor(
    folders: Folders,
    private readonly terminals: Terminals,
    private readonly tree: TaskTree,
    private readonly panel: Panel,
  ) {
    const { events } = folders;
    this.subscriptions.push(
      events.ended.event(({ folder, notification }) => this.pushed(folder, notification)),
      events.notified.event(({ folder, notification }) => this.pushed(folder, notification)),
      events.connected.event((folder) => this.catchUp(folder)),
      events.failed.event(({ reason }) => this.tellEmitter.fire(reason)),
      events.state.event((folder) => {
        if (folder.daemon.state.kind !== 'running') this.caughtUp.delete(folder);
        const failing = folders.all().some((one) => one.daemon.state.kind === 'failed');
        vscode.commands.executeCommand('setContext', 'meanwhile.failed', failing);
      }),
      tree.view.onDidChangeVisibility(() => this.looked()),
      vscode.window.onDidChangeWindowState(() => this.looked()),
    );
  }

  /** Shows no notice of this task's end. */
  silence(id: string): void {
    this.silenced.add(id);
  }

  /** Undoes `silence`. */
  unsilence(id: string): void {
    this.silenced.delete(id);
  }

  /** Whether notices wait to be shown. */
  get pending(): boolean {
    return this.held.length > 0;
  }

  get failed(): number {
    return [...this.unseen.values()].filter(Boolean).length;
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const subscription of this.subscriptions) subscription.dispose();
    this.tellEmitter.dispose();
    this.seenEmitter.dispose();
  }

  /** Called when the window's focus or the list's visibility changes. */
  private looked(): void {
    if (this.tree.view.visible && vscode.window.state.focused) this.unseen.clear();
    this.badge();
    this.flush();
  }

  private badge(): void {
    const { failed } = this;
    const words = failed > 0 ? `, ${failed} failed,` : '';
    this.tree.view.badge =
      this.unseen.size > 0
        ? {
            value: this.unseen.size,
            tooltip: `${this.unseen.size} finished${words} since you last looked`,
          }
        : undefined;
    this.seenEmitter.fire();
  }

  /**
   * Reads the queue for what ended while no window was open. A new daemon's first pushes may have higher
   * numbers than what waits in the queue, so they are kept until it is read; then all are handled in the
   * order of their numbers.
   */
  private async catchUp(folder: Folder): Promise<void> {
    try {
      for (let remaining = 1; remaining > 0; ) {
        const page = await folder.daemon.request('task/drain', {
          queue: PERSON,
          ack: 'manual',
          max: DRAIN_MAX,
        });
        for (const one of page.notifications) this.keep(folder, one);
        remaining = page.remaining;
        const last = page.notifications.at(-1);
        // The daemon sends the next page only after this one is acknowledged.
        if (remaining > 0 && last) {
          await folder.daemon.request('task/ack', { queue: PERSON, through: last.seq });
        }
      }
    } catch {
      // If the daemon died, this runs again with the next one.
      if (folder.daemon.state.kind !== 'running') return;
    }
    const early = this.early.get(folder) ?? [];
    this.early.delete(folder);
    for (const one of early.sort((a, b) => a.seq - b.seq)) this.take(folder, one);
    this.caughtUp.add(folder);
    // The previous daemon may have died before it got the last acknowledgement.
    this.told(folder, true);
  }

  private pushed(folder: Folder, notification: Notification): void {
    const waits = notification.queue === PERSON && !this.caughtUp.has(folder);
    if (waits) this.keep(folder, notification);
    else this.take(folder, notification);
  }

  private keep(folder: Folder, notification: Notification): void {
    const early = this.early.get(folder) ?? [];
    early.push(notification);
    this.early.set(folder, early);
  }

  private take(folder: Folder, notification: Notification): void {
    const { task, kind, queue, seq } = notification;
    if (queue === PERSON) {
      const taken = this.taken.get(folder) ?? new Set();
      if (taken.has(seq)) return;
      this.taken.set(folder, taken.add(seq));
      const [oldest] = taken;
      if (taken.size > DRAIN_MAX && oldest !== undefined) taken.delete(oldest);
    }
    const ended = kind === 'exited';
    if (isStep(task) || this.panel.isStep(folder, task)) return;
    const silent = ended && this.silenced.delete(task.id);
    if (ended && !silent && !this.sees(folder, task)) {
      this.unseen.set(task.id, isFailure(task));
      this.badge();
    }
    if (!silent && wanted(notification)) {
      this.held.push({ folder, notification });
      this.timer ??= setTimeout(() => this.flush(), BURST_MS);
    } else this.told(folder);
  }

  /** Whether the person sees the task: its line in the list, or the chat of its agent. */
  private sees(folder: Folder, task: Task): boolean {
    return (
      vscode.window.state.focused &&
      ((this.tree.view.visible && passes(task, this.tree.filter)) || this.panel.shows(folder, task))
    );
  }

  /** Whether it needs no toast. The active terminal may be hidden, so a failure needs one all the same. */
  private sparesToast(folder: Folder, { kind, task }: Notification): boolean {
    const failure = kind === 'exited' && isFailure(task);
    return this.sees(folder, task) || (!failure && this.terminals.isActive(task.id));
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    // The person would miss a toast while away.
    if (!vscode.window.state.focused) return;
    const folders = new Set(this.held.map(({ folder }) => folder));
    this.held = this.held.filter(
      ({ folder, notification }) => !this.sparesToast(folder, notification),
    );
    const wait = this.spaced - Date.now();
    if (wait > 0 && this.held.length > 0) this.timer = setTimeout(() => this.flush(), wait);
    else this.tell(this.held.splice(0));
    for (const folder of folders) this.told(folder);
  }

  private tell(held: Held[]): void {
    if (held.length === 0) return;
    this.spaced = Date.now() + SPACING_MS;
    const ends = held.filter(({ notification }) => notification.kind === 'exited');
    const failed = held.filter(({ notification }) => isFailure(notification.task)).length;
    const words = held.slice(0, NAMED).map(({ notification }) => inWords(notification));
    const more = held.length > NAMED ? `; and ${held.length - NAMED} more` : '';
    const count =
      ends.length < held.length
        ? `${held.length} background tasks`
        : `${ends.length} background tasks finished${failed > 0 ? `, ${failed} failed` : ''}`;
    const message = held.length === 1 ? (words[0] ?? '') : `${count}: ${words.join('; ')}${more}`;
    this.tellEmitter.fire(message);
    const show = held.some(({ notification }) => troubling(notification.task))
      ? vscode.window.showWarningMessage
      : vscode.window.showInformationMessage;
    const [only, second] = held;
    show(asText(message), second ? 'Show Tasks' : 'Show Output').then((answer) => {
      if (!answer || !only) return;
      if (second) vscode.commands.executeCommand('meanwhile.tasks.focus');
      else this.terminals.show(only.folder, only.notification.task.id);
    });
  }

  /** Acknowledges the person's queue, up to the first notice that still waits to be shown. */
  private told(folder: Folder, again = false): void {
    if (!this.caughtUp.has(folder)) return;
    const waiting = this.held.filter(
      (one) => one.folder === folder && one.notification.queue === PERSON,
    );
    const through = Math.min(
      Math.max(0, ...(this.taken.get(folder) ?? [])),
      ...waiting.map(({ notification }) => notification.seq - 1),
    );
    if (through < 1 || (through === this.acked.get(folder) && !again)) return;
    this.acked.set(folder, through);
    folder.daemon.request('task/ack', { queue: PERSON, through }).catch(() => undefined);
  }
}

/** Whether the settings ask for a notice of it. */
function wanted({ task, kind }: Notification): boolean {
  const config = vscode.workspace.getConfiguration('meanwhile');
  const setting = config.get<string>('notifications', 'all');
  const after = config.get('notifyAfterSeconds', 10) * 1_000;
  if (setting === 'off') return false;
  if (kind === 'matched') return setting === 'all';
  const long = (task.durationMs ?? after) >= after;
  return long && task.shown.notice !== undefined && (setting === 'all' || troubling(task));
}

/** Whether the daemon's notice of it is a warning or an error. */
function troubling({ shown: { notice } }: Task): boolean {
  return notice !== undefined && notice !== 'info';
}

function inWords({ task, match }: Notification): string {
  if (match) return `${cut(title(task), 80)}: ${cut(match.line, 200)}`;
  return sentence(task);
}
