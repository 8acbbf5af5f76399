// The agent's two views: the timeline in the panel, the chat in the secondary side bar. Both are webviews
// with the same page, and each draws its part of the same session. VS Code discards a view when it is
// hidden; its content is in `Sessions` and the task stores, and is sent to the rebuilt view.

import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { originInWords } from '../daemon/binary';
import { errorCode } from '../daemon/daemon';
import type { Folder, Folders } from '../folders';
import type { Terminals } from '../output/terminal';
import { ERRORS, type Task, type Timeline } from '../protocol/generated';
import { questionOf } from '../protocol/session';
import { ago, asText, cut } from '../tasks/describe';
import { Changes } from './changes';
import type { AgentState, FromWebview, Snapshot, ToWebview } from './messages';
import type { SessionEvent } from './session';
import { Sessions } from './sessions';
import { NOTHING } from './timeline';

/** Pushes within this time are one message to the view. */
const BATCH_MS = 30;
/** How often changes of tasks are sent: normally, and with more than `CROWD` tasks. */
const TASKS_MS = 200;
const TASKS_OF_CROWD_MS = 1_500;
const CROWD = 50;
const LAST_SESSION = 'meanwhile.lastSession';

type Which = 'timeline' | 'chat';

export class Panel implements vscode.Disposable {
  private readonly views = new Map<Which, vscode.WebviewView>();
  private readonly byFolder = new Map<Folder, Sessions>();
  private readonly subscriptions: vscode.Disposable[] = [];
  private folder: Folder | undefined;
  private current: string | undefined;
  private fresh = false;
  private draft = '';
  private trouble: AgentState | undefined;
  private batch: SessionEvent[] = [];
  private readonly changes = new Changes();
  private batchTimer: NodeJS.Timeout | undefined;
  private tasksTimer: NodeJS.Timeout | undefined;
  /** The daemon's last timeline of the shown folder's tasks. */
  private tasks: Timeline = NOTHING;

  constructor(
    private readonly folders: Folders,
    private readonly terminals: Terminals,
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.subscriptions.push(
      ...(['timeline', 'chat'] as const).map((which) =>
        vscode.window.registerWebviewViewProvider(`meanwhile.${which}`, {
          resolveWebviewView: (view) => this.resolve(which, view),
        }),
      ),
      folders.events.changed.event(() => this.sendTasksSoon()),
      folders.events.state.event(() => {
        // A new daemon may find a model.
        this.trouble = undefined;
        this.show();
      }),
      folders.events.folders.event(() => {
        this.forget();
        this.show();
      }),
      vscode.commands.registerCommand('meanwhile.newSession', async () => {
        await this.begin();
        await vscode.commands.executeCommand('meanwhile.chat.focus');
        this.post({ type: 'focusPrompt' });
      }),
      vscode.commands.registerCommand('meanwhile.openSession', () => this.pick()),
      vscode.commands.registerCommand('meanwhile.cancelTurn', () => this.cancel()),
      vscode.commands.registerCommand('meanwhile.allowChange', (uri?: vscode.Uri) =>
        this.decide(uri, 'allow_once'),
      ),
      vscode.commands.registerCommand('meanwhile.rejectChange', (uri?: vscode.Uri) =>
        this.decide(uri, 'reject_once'),
      ),
      this.changes,
    );
  }

  /** Called for each folder before its daemon starts. */
  add(folder: Folder): void {
    const sessions = new Sessions(folder, this.changes);
    this.byFolder.set(folder, sessions);
    sessions.onEvent(({ session, event }) => {
      if (folder === this.folder && session === this.current) this.sendSoon(event);
    });
    sessions.onDidAsk(({ session, key, request }) => {
      const visible = this.visible('chat') && folder === this.folder && session === this.current;
      if (!visible) this.askOutside(sessions, session, key, questionOf(request));
    });
    sessions.onDidReset(() => {
      if (folder === (this.folder ?? folder)) this.restore().catch((error) => this.log.warn(error));
    });
  }

  private visible(which: Which): boolean {
    return this.views.get(which)?.visible ?? false;
  }

  private resolve(which: Which, view: vscode.WebviewView): void {
    this.views.set(which, view);
    const { webview } = view;
    const dist = vscode.Uri.joinPath(this.context.extensionUri, 'dist');
    webview.options = { enableScripts: true, localResourceRoots: [dist] };
    webview.onDidReceiveMessage((message: FromWebview) =>
      this.take(message).catch((error: Error) => {
        this.log.error(`panel: ${error.message}`);
        vscode.window.showErrorMessage(`Meanwhile: ${asText(error.message)}`);
      }),
    );
    view.onDidDispose(() => {
      if (this.views.get(which) === view) this.views.delete(which);
    });
    webview.html = html(webview, dist, which);
  }

  dispose(): void {
    clearTimeout(this.batchTimer);
    clearTimeout(this.tasksTimer);
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  /** Whether the person sees the chat of the task's session. */
  shows(folder: Folder, task: Task): boolean {
    return this.visible('chat') && folder === this.folder && task.queue === this.current;
  }

  /** See `Sessions.isStep`. */
  isStep(folder: Folder, task: Task): boolean {
    return this.byFolder.get(folder)?.isStep(task) ?? false;
  }

  /** Everything that the views show; also for tests. */
  snapshot(): Snapshot {
    const folder = this.shownFolder();
    const sessions = this.shownSessions();
    return {
      type: 'snapshot',
      folders: this.folders.all().map((one) => ({ key: keyOf(one), name: one.name })),
      folder: folder && keyOf(folder),
      sessions: sessions?.infos ?? [],
      session: this.current === undefined ? undefined : sessions?.model(this.current),
      fresh: this.fresh,
      tasks: this.tasks,
      agent: this.agentState(folder, sessions),
      draft: this.draft,
    };
  }

  private agentState(folder: Folder | undefined, sessions: Sessions | undefined): AgentState {
    if (!folder || !sessions)
      return { kind: 'missing', reason: 'Open a folder to talk to the agent.' };
    const { state } = folder.daemon;
    switch (state.kind) {
      case 'starting':
      case 'stopped':
        return { kind: 'starting' };
      case 'failed':
        return { kind: 'missing', reason: state.reason };
      case 'running':
        if (this.trouble !== undefined) return this.trouble;
        return sessions.available
          ? { kind: 'ready' }
          : {
              kind: 'missing',
              reason: `meanwhile ${state.binary.version} (${originInWords(state.binary)}) has no agent. Background tasks work; for the agent set meanwhile.path to a newer version.`,
            };
    }
  }

  private shownFolder(): Folder | undefined {
    const all = this.folders.all();
    if (!this.folder || !all.includes(this.folder)) this.folder = all[0];
    return this.folder;
  }

  private shownSessions(): Sessions | undefined {
    const folder = this.shownFolder();
    return folder && this.byFolder.get(folder);
  }

  /** Drops folders that were removed from the workspace, and what was shown of them. */
  private forget(): void {
    const all = this.folders.all();
    for (const [folder, sessions] of this.byFolder) {
      if (all.includes(folder)) continue;
      sessions.dispose();
      this.byFolder.delete(folder);
      if (folder !== this.folder) continue;
      this.folder = undefined;
      this.current = undefined;
      this.fresh = false;
    }
  }

  private sessions(): Sessions {
    const sessions = this.shownSessions();
    if (!sessions) throw new Error('open a folder to talk to the agent');
    return sessions;
  }

  private async take(message: FromWebview): Promise<void> {
    switch (message.type) {
      case 'ready':
        this.show();
        if (this.shownSessions()?.infos.length === 0) await this.restore();
        return;
      case 'draft':
        this.draft = message.text;
        return;
      case 'prompt':
        this.draft = '';
        await this.prompt(message.text);
        return;
      case 'cancel':
        await this.cancel();
        return;
      case 'permission':
        this.sessions().answer(message.key, message.kind, message.optionId);
        return;
      case 'review':
        await this.sessions().review(message.key);
        return;
      case 'showChange': {
        const { session } = this.snapshot();
        const entry = session?.entries.findLast(
          (one) => one.kind === 'tool' && one.id === message.toolCallId,
        );
        const diffs = entry?.kind === 'tool' ? entry.diffs : [];
        const change = diffs.find(({ path }) => path === message.path);
        if (change) await this.changes.show(change);
        return;
      }
      case 'choose':
        await this.choose(message.session);
        return;
      case 'chooseFolder':
        this.folder = this.folders.all().find((folder) => keyOf(folder) === message.folder);
        this.current = undefined;
        this.tasks = NOTHING;
        this.fresh = false;
        await this.restore();
        return;
      case 'newSession':
        await this.begin();
        return;
      case 'showOutput': {
        const ref = this.folders.find(message.taskId);
        if (ref) this.terminals.show(ref.folder, ref.id);
        else vscode.window.showInformationMessage('The output of this task is no longer kept.');
        return;
      }
      case 'stopTask':
        await vscode.commands.executeCommand('meanwhile.stop', message.taskId);
        return;
      case 'run':
        await vscode.commands.executeCommand(`meanwhile.${message.command}`);
        return;
      case 'retryAgent':
        this.trouble = undefined;
        await this.shownFolder()?.daemon.restart();
        return;
    }
  }

  /** After a daemon's start: fetches the list, and opens the session that was shown. */
  private async restore(): Promise<void> {
    const sessions = this.shownSessions();
    if (!sessions?.available) {
      this.show();
      return;
    }
    const infos = await sessions.list();
    const last =
      this.current ??
      this.context.workspaceState.get<string>(`${LAST_SESSION}:${keyOf(sessions.folder)}`);
    const there = infos.find(({ sessionId }) => sessionId === last);
    if (there && !this.fresh) {
      this.current = there.sessionId;
      await this.open(sessions, there.sessionId);
    } else this.current = undefined;
    this.show();
  }

  private async choose(session: string | undefined): Promise<void> {
    this.flush();
    this.fresh = false;
    this.current = session;
    this.remember(session);
    if (session !== undefined) await this.open(this.sessions(), session);
    this.show();
  }

  /** Opens a session; without a model the chat shows buttons, and the next daemon tries again. */
  private async open(sessions: Sessions, session: string): Promise<void> {
    await sessions.open(session).catch((error) => {
      if (errorCode(error) !== ERRORS.noModel) throw error;
      this.trouble = troubleOf(error);
    });
  }

  /** Shows a new chat; its session is created with the first prompt, so that the list has no empty ones. */
  private async begin(): Promise<void> {
    this.flush();
    this.current = undefined;
    this.fresh = true;
    this.show();
  }

  private async prompt(text: string): Promise<void> {
    const sessions = this.sessions();
    if (this.current === undefined) {
      try {
        const model = await sessions.create();
        this.current = model.id;
        this.fresh = false;
        this.remember(model.id);
      } catch (error) {
        this.draft = text;
        this.trouble = troubleOf(error);
        this.show();
        return;
      }
    }
    const session = this.current;
    this.show();
    await sessions.prompt(session, text);
    const infos = await sessions.list();
    this.post({ type: 'sessions', sessions: infos });
  }

  /** Answers the request for the change in the given diff editor, or in the active one. */
  private decide(uri: vscode.Uri | undefined, kind: 'allow_once' | 'reject_once'): void {
    const key = this.changes.keyOf(uri ?? vscode.window.activeTextEditor?.document.uri);
    if (key === undefined) return;
    for (const sessions of this.byFolder.values()) sessions.answer(key, kind);
  }

  private async cancel(): Promise<void> {
    if (this.current !== undefined) await this.sessions().cancel(this.current);
  }

  private async pick(): Promise<void> {
    const sessions = this.sessions();
    const infos = await sessions.list();
    const items = infos.map((info) => ({
      label: info.title ?? info.sessionId,
      description: info.updatedAt ? ago(Date.now() - Date.parse(info.updatedAt)) : '',
      session: info.sessionId,
    }));
    if (items.length === 0) {
      vscode.window.showInformationMessage('Meanwhile: no session of this folder yet.');
      return;
    }
    const picked = await vscode.window.showQuickPick(items, { title: 'Open which session?' });
    if (!picked) return;
    await this.choose(picked.session);
    await vscode.commands.executeCommand('meanwhile.chat.focus');
  }

  /** Asks in a notification, because the chat is hidden. */
  private async askOutside(
    sessions: Sessions,
    session: string,
    key: number,
    question: string,
  ): Promise<void> {
    const answer = await vscode.window.showWarningMessage(
      `May the agent ${asText(cut(question, 120))}?`,
      'Show',
    );
    if (answer && sessions.isOpen(key)) {
      this.folder = sessions.folder;
      await this.choose(session);
      await vscode.commands.executeCommand('meanwhile.chat.focus');
    }
  }

  private remember(session: string | undefined): void {
    const folder = this.shownFolder();
    if (folder) this.context.workspaceState.update(`${LAST_SESSION}:${keyOf(folder)}`, session);
  }

  private show(): void {
    this.flush();
    this.post(this.snapshot());
    this.sendTasksSoon();
  }

  private sendSoon(event: SessionEvent): void {
    this.batch.push(event);
    this.batchTimer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  private flush(): void {
    clearTimeout(this.batchTimer);
    this.batchTimer = undefined;
    const events = this.batch;
    this.batch = [];
    if (events.length > 0 && this.current !== undefined) {
      this.post({ type: 'events', session: this.current, events });
    }
  }

  private sendTasksSoon(): void {
    if (!this.visible('timeline') || this.current !== undefined) return;
    const crowd = (this.shownFolder()?.store.size ?? 0) > CROWD;
    this.tasksTimer ??= setTimeout(
      () => {
        this.tasksTimer = undefined;
        this.fetchTasks().catch((error) => this.log.warn(error));
      },
      crowd ? TASKS_OF_CROWD_MS : TASKS_MS,
    );
  }

  private async fetchTasks(): Promise<void> {
    const daemon = this.shownFolder()?.daemon;
    this.tasks = daemon?.can('task/timeline') ? await daemon.request('task/timeline', {}) : NOTHING;
    this.post({ type: 'tasks', timeline: this.tasks });
  }

  private post(message: ToWebview): void {
    for (const view of this.views.values()) view.webview.postMessage(message);
  }
}

/** The state to show if a session cannot be used. */
function troubleOf(error: unknown): AgentState {
  const kind = errorCode(error) === ERRORS.noModel ? 'noModel' : 'missing';
  return { kind, reason: (error as Error).message };
}

function keyOf(folder: Folder): string {
  return folder.workspaceFolder.uri.toString();
}

function html(webview: vscode.Webview, dist: vscode.Uri, which: Which): string {
  const nonce = randomBytes(16).toString('hex');
  const uri = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(dist, name));
  const csp = [
    `default-src 'none'`,
    `style-src ${webview.cspSource}`,
    `font-src ${webview.cspSource}`,
    `script-src 'nonce-${nonce}'`,
  ].join('; ');
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${csp}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${uri('codicon.css')}">
<link rel="stylesheet" href="${uri('panel.css')}">
<title>Meanwhile</title>
</head>
<body data-view="${which}">
<script nonce="${nonce}" src="${uri('panel.js')}"></script>
</body>
</html>`;
}
