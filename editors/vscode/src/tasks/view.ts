// The tree of the Background Tasks view. Owns the filter and when a line is redrawn; everything shown
// comes from the stores. A line is redrawn only when its text changes, so that hundreds of unchanged
// tasks cost nothing.

import * as vscode from 'vscode';
import type { Folder, Folders } from '../folders';
import { plain } from '../output/ansi';
import type { Task } from '../protocol/generated';
import {
  bytes,
  cut,
  description,
  type Filter,
  filterInWords,
  headed,
  ICONS,
  NO_FILTER,
  outcome,
  passes,
  sentence,
} from './describe';
import { hasEnded, isStep } from './store';

export type Node = FolderNode | TaskNode;

export class FolderNode {
  constructor(readonly folder: Folder) {}
}

export class TaskNode {
  /** The description last drawn. */
  drawn = '';
  constructor(
    readonly folder: Folder,
    readonly id: string,
  ) {}
}

/** How often elapsed times are updated. */
const TICK_MS = 1_000;
/** With more running tasks than this, times are updated only every `CROWD_TICKS` ticks. */
const CROWD = 50;
const CROWD_TICKS = 5;
/** Changes within this time are one redraw. */
const REDRAW_AFTER_MS = 50;
/** The same for a long list, which VS Code lays out more slowly than tasks arrive. */
const REDRAW_CROWD_AFTER_MS = 400;
/** VS Code cuts labels at the edge of the side bar; this only bounds very long ones. */
const LABEL_CHARS = 200;
/** How much of the output a tooltip shows. */
const TOOLTIP_BYTES = 2_048;

export class TaskTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly emitter = new vscode.EventEmitter<Node[] | undefined>();
  readonly onDidChangeTreeData = this.emitter.event;
  readonly view: vscode.TreeView<Node>;
  private readonly nodes = new Map<string, TaskNode>();
  private readonly folderNodes = new Map<Folder, FolderNode>();
  private readonly subscriptions: vscode.Disposable[] = [];
  private redraw: { structure: boolean; nodes: Set<Node> } | undefined;
  private redrawTimer: NodeJS.Timeout | undefined;
  private readonly tick: NodeJS.Timeout;
  private ticks = 0;
  private current: Filter = NO_FILTER;

  constructor(private readonly folders: Folders) {
    this.view = vscode.window.createTreeView('meanwhile.tasks', {
      treeDataProvider: this,
      canSelectMany: true,
      showCollapseAll: false,
    });
    const { events } = folders;
    this.subscriptions.push(
      this.view,
      events.changed.event(({ folder, change }) => {
        this.schedule(
          change.structure,
          change.tasks.filter((task) => !isStep(task)).map((task) => this.node(folder, task.id)),
        );
      }),
      events.state.event(() => this.schedule(true, [])),
      events.folders.event(() => this.schedule(true, [])),
      this.view.onDidChangeVisibility(({ visible }) => {
        if (visible) this.schedule(true, []);
      }),
    );
    this.tick = setInterval(() => this.moveClocks(), TICK_MS);
  }

  get filter(): Filter {
    return this.current;
  }

  set filter(filter: Filter) {
    this.current = filter;
    const words = filterInWords(filter);
    vscode.commands.executeCommand('setContext', 'meanwhile.filtered', words !== undefined);
    this.schedule(true, []);
  }

  getChildren(node?: Node): Node[] {
    if (node instanceof TaskNode) return [];
    if (node instanceof FolderNode) return this.tasksOf(node.folder);
    const folders = this.folders.all();
    const [only] = folders;
    if (folders.length === 1 && only) return this.tasksOf(only);
    // Without any task VS Code shows the welcome text.
    if (!this.filtered && folders.every((folder) => folder.store.size === 0)) return [];
    return folders.map((folder) => this.folderNode(folder));
  }

  getParent(node: Node): Node | undefined {
    if (node instanceof FolderNode || this.folders.all().length === 1) return undefined;
    return this.folderNode(node.folder);
  }

  getTreeItem(node: Node): vscode.TreeItem {
    return node instanceof FolderNode ? this.folderItem(node.folder) : this.taskItem(node);
  }

  async resolveTreeItem(
    item: vscode.TreeItem,
    node: Node,
    token: vscode.CancellationToken,
  ): Promise<vscode.TreeItem> {
    if (node instanceof TaskNode) item.tooltip = await this.tooltip(node, token);
    return item;
  }

  /** The node of a task, for `reveal` and for commands. */
  nodeOf(id: string): TaskNode | undefined {
    const ref = this.folders.find(id);
    return ref ? this.node(ref.folder, id) : undefined;
  }

  dispose(): void {
    clearInterval(this.tick);
    clearTimeout(this.redrawTimer);
    for (const subscription of this.subscriptions) subscription.dispose();
    this.emitter.dispose();
  }

  private get filtered(): boolean {
    return filterInWords(this.current) !== undefined;
  }

  private tasksOf(folder: Folder): TaskNode[] {
    return folder.store
      .all()
      .filter((task) => passes(task, this.current))
      .map((task) => this.node(folder, task.id));
  }

  private node(folder: Folder, id: string): TaskNode {
    let node = this.nodes.get(id);
    if (!node || node.folder !== folder) {
      node = new TaskNode(folder, id);
      this.nodes.set(id, node);
    }
    return node;
  }

  private folderNode(folder: Folder): FolderNode {
    let node = this.folderNodes.get(folder);
    if (!node) {
      node = new FolderNode(folder);
      this.folderNodes.set(folder, node);
    }
    return node;
  }

  private folderItem(folder: Folder): vscode.TreeItem {
    const item = new vscode.TreeItem(folder.name, vscode.TreeItemCollapsibleState.Expanded);
    item.id = `folder:${folder.workspaceFolder.uri}`;
    item.iconPath = vscode.ThemeIcon.Folder;
    item.contextValue = 'folder';
    const running = folder.store.running().length;
    const { state } = folder.daemon;
    item.description =
      state.kind === 'failed' ? 'not running' : running > 0 ? `${running} running` : '';
    if (state.kind === 'failed') item.tooltip = state.reason;
    return item;
  }

  private taskItem(node: TaskNode): vscode.TreeItem {
    const { store } = node.folder;
    const task = store.get(node.id);
    if (!task) return new vscode.TreeItem(node.id);
    const item = new vscode.TreeItem(
      cut(headed(task), LABEL_CHARS),
      vscode.TreeItemCollapsibleState.None,
    );
    const how = outcome(task);
    node.drawn = this.words(node, task);
    item.id = task.id;
    const [icon, colour] = ICONS[how];
    item.iconPath = new vscode.ThemeIcon(icon, new vscode.ThemeColor(colour));
    item.description = node.drawn;
    item.contextValue = hasEnded(task) ? `task.ended.${how}` : `task.running.${how}`;
    item.accessibilityInformation = { label: `${sentence(task)}, ${node.drawn}` };
    item.command = {
      command: 'meanwhile.preview',
      title: 'Show Output',
      arguments: [node],
    };
    return item;
  }

  private words(node: TaskNode, task: Task): string {
    const { store } = node.folder;
    const usual = hasEnded(task) ? undefined : store.usualMs(task.command);
    return description(task, Date.now(), usual);
  }

  private async tooltip(
    node: TaskNode,
    token: vscode.CancellationToken,
  ): Promise<vscode.MarkdownString | undefined> {
    const result = await node.folder.daemon
      .request('task/check', { id: node.id, tailBytes: TOOLTIP_BYTES }, token)
      .catch(() => undefined);
    const task = result && 'task' in result ? result.task : node.folder.store.get(node.id);
    if (!task) return undefined;
    const text = new vscode.MarkdownString('', true);
    text.appendCodeblock(task.command, 'sh');
    const facts = [
      task.shown.ended ?? task.shown.stands,
      ...(task.contact?.needsYou ? [`sign in: meanwhile place connect ${task.on}`] : []),
      ...(task.contact
        ? [`no contact since ${time(task.contact.lostSince)}: ${task.contact.reason}`]
        : []),
      ...(task.warning ? [`warning: ${task.warning}`] : []),
      ...(task.cause ? [task.cause.message] : []),
      `id ${task.id}${task.pid === undefined ? '' : `, process ${task.pid}`}, queue ${task.queue}`,
      `in ${task.cwd}${task.on ? ` at ${task.on}` : ''}`,
      `began ${time(task.createdAt)}`,
      ...(task.endedAt ? [`ended ${time(task.endedAt)}`] : []),
      ...(task.progress?.message ? [task.progress.message] : []),
      `output ${bytes(task.output.total)}${task.output.dropped > 0 ? `, ${bytes(task.output.dropped)} not kept` : ''}`,
      ...(task.survivors ?? []).map((one) => `left behind: ${one.pid} ${one.command}`),
    ];
    for (const fact of facts) {
      text.appendMarkdown('- ');
      text.appendText(fact);
      text.appendMarkdown('\n');
    }
    const tail = result && 'tail' in result ? plain(result.tail.text).trimEnd() : '';
    if (tail !== '') text.appendCodeblock(tail.split('\n').slice(-12).join('\n'), 'log');
    return text;
  }

  /** Redraws the lines whose times have changed. */
  private moveClocks(): void {
    if (!this.view.visible) return;
    const running = this.running();
    this.ticks++;
    if (running > CROWD && this.ticks % CROWD_TICKS !== 0) return;
    const moved: TaskNode[] = [];
    for (const folder of this.folders.all()) {
      for (const task of folder.store.all()) {
        const node = this.nodes.get(task.id);
        if (node && node.drawn !== '' && this.words(node, task) !== node.drawn) moved.push(node);
      }
    }
    if (moved.length > 0) this.schedule(false, moved);
  }

  private schedule(structure: boolean, nodes: Node[]): void {
    this.redraw ??= { structure: false, nodes: new Set() };
    this.redraw.structure ||= structure;
    for (const node of nodes) this.redraw.nodes.add(node);
    const after = this.nodes.size > CROWD ? REDRAW_CROWD_AFTER_MS : REDRAW_AFTER_MS;
    this.redrawTimer ??= setTimeout(() => this.flush(), after);
  }

  private flush(): void {
    this.redrawTimer = undefined;
    const { redraw } = this;
    this.redraw = undefined;
    if (!redraw) return;
    this.prune();
    this.headline();
    if (redraw.structure) this.emitter.fire(undefined);
    else if (redraw.nodes.size > 0) this.emitter.fire([...redraw.nodes]);
  }

  private headline(): void {
    const folders = this.folders.all();
    const trouble = folders.flatMap(({ daemon: { state } }) =>
      state.kind === 'failed' ? [state.reason] : [],
    );
    const words = filterInWords(this.current);
    const shown = folders.reduce((n, folder) => n + this.tasksOf(folder).length, 0);
    this.view.message = [
      ...new Set(trouble),
      ...(words === undefined ? [] : [`${words}: ${shown === 0 ? 'nothing matches' : shown}`]),
    ].join('\n');
  }

  private prune(): void {
    const folders = this.folders.all();
    for (const [id, node] of this.nodes) {
      if (!folders.includes(node.folder) || !node.folder.store.get(id)) this.nodes.delete(id);
    }
    for (const folder of this.folderNodes.keys()) {
      if (!folders.includes(folder)) this.folderNodes.delete(folder);
    }
  }

  private running(): number {
    return this.folders.all().reduce((n, folder) => n + folder.store.running().length, 0);
  }
}

const time = (at: string) => new Date(at).toLocaleString();
