// The status bar item: how many tasks run, and how many failed since the person last looked at the
// list. Hidden if there is nothing to show.

import * as vscode from 'vscode';
import { originInWords } from './daemon/binary';
import type { Folders } from './folders';
import type { Notices } from './notices';
import { headed, timing } from './tasks/describe';

/** How many tasks the tooltip lists. */
const LISTED = 10;

export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private readonly subscriptions: vscode.Disposable[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly folders: Folders,
    private readonly notices: Notices,
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
      notices.onDidChangeUnseen(() => this.schedule()),
    );
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
    const running = folders.flatMap((folder) =>
      folder.store.running().map((task) => ({ task, folder })),
    );
    const broken = folders.some((folder) => folder.daemon.state.kind === 'failed');
    const { failed } = this.notices;
    const [only, second] = running;
    const percent = second ? undefined : only?.task.progress?.percent;
    const parts = [
      ...(broken ? ['$(warning) Meanwhile is not running'] : []),
      ...(only ? [`$(sync~spin) ${running.length}`] : []),
      ...(percent === undefined ? [] : [`${percent}%`]),
      ...(failed > 0 ? [`$(error) ${failed}`] : []),
    ];
    this.item.text = parts.join(' ');
    if (parts.length === 0) {
      this.item.hide();
      return;
    }
    this.item.backgroundColor = broken
      ? new vscode.ThemeColor('statusBarItem.warningBackground')
      : undefined;
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
      line(`${headed(task)}: ${timing(task, Date.now(), usual).join(' · ')}`);
    }
    if (running.length > LISTED) line(`and ${running.length - LISTED} more`);
    if (failed > 0) line(`${failed} failed since you last looked.`);
    for (const folder of folders) {
      const { state } = folder.daemon;
      if (state.kind === 'failed') line(state.reason);
      if (state.kind === 'running') {
        line(`${folder.name}: meanwhile ${state.binary.version}, ${originInWords(state.binary)}`);
      }
    }
    this.item.tooltip = tooltip;
    this.item.show();
  }
}
