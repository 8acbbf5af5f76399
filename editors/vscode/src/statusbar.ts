// The status bar item: how many run, and how many failed since the view was last looked at.

import * as vscode from 'vscode';
import { originInWords } from './daemon/binary';
import type { Folders } from './folders';
import { isFailure, timing, title } from './tasks/describe';
import { isStep } from './tasks/store';

/** The longest list a tooltip shows. */
const LISTED = 10;

export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private readonly failedIds = new Set<string>();
  private readonly subscriptions: vscode.Disposable[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly folders: Folders,
    private readonly view: vscode.TreeView<unknown>,
  ) {
    this.item = vscode.window.createStatusBarItem(
      'meanwhile.status',
      vscode.StatusBarAlignment.Left,
      10,
    );
    this.item.name = 'Meanwhile: Background Tasks';
    this.item.command = 'meanwhile.tasks.focus';
    const { events } = folders;
    this.subscriptions.push(
      this.item,
      events.changed.event(() => this.schedule()),
      events.state.event(() => this.schedule()),
      events.folders.event(() => this.schedule()),
      events.ended.event(({ notification }) => {
        const { task } = notification;
        if (isFailure(task) && !isStep(task) && !this.view.visible) {
          this.failedIds.add(task.id);
          this.schedule();
        }
      }),
      view.onDidChangeVisibility(({ visible }) => {
        if (visible) this.looked();
      }),
    );
    this.draw();
  }

  /** A person has seen the list. */
  looked(): void {
    this.failedIds.clear();
    this.draw();
  }

  get text(): string {
    return this.item.text;
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.draw();
    }, 50);
  }

  private draw(): void {
    const folders = this.folders.all();
    if (folders.length === 0) {
      this.item.hide();
      return;
    }
    const running = folders.flatMap((folder) =>
      folder.store.running().map((task) => ({ task, folder })),
    );
    const broken = folders.filter((folder) => folder.daemon.state.kind === 'failed');
    const failed = this.failedIds.size;
    const parts = [
      broken.length > 0
        ? '$(warning) Meanwhile'
        : running.length > 0
          ? `$(sync~spin) ${running.length}`
          : '$(rocket)',
    ];
    if (failed > 0) parts.push(`$(error) ${failed}`);
    this.item.text = parts.join(' ');
    this.item.backgroundColor =
      broken.length > 0 ? new vscode.ThemeColor('statusBarItem.warningBackground') : undefined;
    this.item.accessibilityInformation = {
      label: `Meanwhile: ${running.length} running in the background${failed > 0 ? `, ${failed} failed since you last looked` : ''}`,
    };
    const tooltip = new vscode.MarkdownString('', true);
    const line = (text: string) => {
      tooltip.appendText(text);
      tooltip.appendMarkdown('\n\n');
    };
    for (const { task, folder } of running.slice(0, LISTED)) {
      const usual = folder.store.usualMs(task.command);
      line(`${title(task)}: ${timing(task, Date.now(), usual).join(' · ')}`);
    }
    if (running.length > LISTED) line(`and ${running.length - LISTED} more`);
    if (running.length === 0) line('Nothing runs in the background.');
    if (failed > 0) line(`${failed} failed since you last looked.`);
    for (const folder of folders) {
      const { state } = folder.daemon;
      const waiting = Object.entries(folder.store.undelivered)
        .filter(([, count]) => (count ?? 0) > 0)
        .map(([queue, count]) => `${count} in ${queue}`);
      if (waiting.length > 0) line(`Results not taken yet: ${waiting.join(', ')}`);
      if (state.kind === 'failed') line(state.reason);
      if (state.kind === 'running') {
        line(`${folder.name}: meanwhile ${state.binary.version}, ${originInWords(state.binary)}`);
      }
    }
    this.item.tooltip = tooltip;
    this.item.show();
  }
}
