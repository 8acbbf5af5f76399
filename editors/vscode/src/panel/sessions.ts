// The agent's sessions of one folder, as this window sees them: which are open, their transcripts, and
// the open permission requests. Holds no state that the daemon lacks: with a new daemon, or after a
// reload of the window, a session is loaded again.

import * as vscode from 'vscode';
import { errorCode } from '../daemon/daemon';
import type { Folder } from '../folders';
import { ERRORS, type OwnAnswer, type Task } from '../protocol/generated';
import {
  changeOf,
  type PermissionAnswer,
  type PermissionOption,
  type PermissionRequest,
  type SessionInfo,
  unseenOf,
} from '../protocol/session';
import type { Changes } from './changes';
import { emptySession, reduce, type SessionEvent, type SessionModel } from './session';

const LISTED = 100;
/** The key of the window's next permission request. */
let nextKey = 1;

interface Asked {
  session: string;
  request: PermissionRequest;
  answer: (answer: PermissionAnswer) => void;
}

export class Sessions {
  private readonly models = new Map<string, SessionModel>();
  /** Sessions being loaded: a view gets the whole session when `open` returns, not its events. */
  private readonly loading = new Set<SessionModel>();
  private readonly asked = new Map<number, Asked>();
  /** How many prompts were sent. */
  private prompts = 0;
  infos: SessionInfo[] = [];

  private readonly eventEmitter = new vscode.EventEmitter<{
    session: string;
    event: SessionEvent;
  }>();
  /** An event of an open session; apply it to a copy with `reduce`. */
  readonly onEvent = this.eventEmitter.event;
  private readonly askEmitter = new vscode.EventEmitter<{
    session: string;
    key: number;
    request: PermissionRequest;
  }>();
  readonly onDidAsk = this.askEmitter.event;
  private readonly resetEmitter = new vscode.EventEmitter<void>();
  /** A new daemon has connected: open sessions again. */
  readonly onDidReset = this.resetEmitter.event;

  constructor(
    readonly folder: Folder,
    private readonly changes: Changes,
  ) {
    const { daemon } = folder;
    daemon.onPush('session/update', ({ sessionId, update }) =>
      this.take(sessionId, { type: 'update', update }),
    );
    daemon.onPush('session/turn', (push) => this.take(push.sessionId, { type: 'turn', push }));
    daemon.onPush('session/retrying', (push) =>
      this.take(push.sessionId, { type: 'retrying', push }),
    );
    daemon.onPush('session/timeline', ({ sessionId, pieces }) =>
      this.take(sessionId, { type: 'pieces', pieces }),
    );
    daemon.onPush('session/watched', (watched) =>
      this.take(watched.sessionId, { type: 'watched', watched }),
    );
    daemon.onRequest('session/request_permission', (request, token) => this.ask(request, token));
    daemon.onDidConnect(() => this.reset());
  }

  get available(): boolean {
    return this.folder.daemon.can('session/prompt');
  }

  model(id: string): SessionModel | undefined {
    return this.models.get(id);
  }

  /**
   * Whether a task needs no notice, because an agent waits for it itself, or because it belongs to
   * a session of another window.
   */
  isStep(task: Task): boolean {
    if (!task.agent) return false;
    const entry = this.models
      .get(task.queue)
      ?.entries.find((entry) => entry.kind === 'tool' && entry.taskId === task.id);
    return entry?.kind !== 'tool' || !entry.background;
  }

  async list(): Promise<SessionInfo[]> {
    if (!this.available) return [];
    const cwd = this.folder.workspaceFolder.uri.fsPath;
    const { sessions } = await this.folder.daemon.request('session/list', { cwd });
    this.infos = sessions.slice(0, LISTED);
    return this.infos;
  }

  /**
   * Opens a past session with its transcript and trace. If another process has the session open, this window
   * only watches it. Throws if there is no model.
   */
  async open(id: string): Promise<SessionModel> {
    const there = this.models.get(id);
    if (there) return there;
    const model = emptySession(id);
    this.models.set(id, model);
    this.loading.add(model);
    const cwd = this.folder.workspaceFolder.uri.fsPath;
    try {
      await this.folder.daemon.request('session/load', { sessionId: id, cwd, mcpServers: [] });
    } catch (error) {
      if (errorCode(error) === ERRORS.noModel) {
        // The session is loaded again once there is a model.
        this.models.delete(id);
        this.loading.delete(model);
        throw error;
      }
      // Another process has the session open: watch it.
      const held = { says: (error as Error).message, free: true };
      await this.folder.daemon.request('session/watch', { sessionId: id }).then(
        (watched) => this.take(id, { type: 'watched', watched }),
        () => this.take(id, { type: 'held', held }),
      );
    }
    await this.trace(id);
    this.loading.delete(model);
    return model;
  }

  async create(): Promise<SessionModel> {
    const cwd = this.folder.workspaceFolder.uri.fsPath;
    const { sessionId } = await this.folder.daemon.request('session/new', {
      cwd,
      mcpServers: [],
    });
    const model = emptySession(sessionId);
    this.models.set(sessionId, model);
    await this.trace(sessionId);
    return model;
  }

  /** Returns when the turn is over. */
  async prompt(id: string, text: string): Promise<void> {
    const { held } = this.models.get(id) ?? {};
    const prompt = { key: ++this.prompts, text };
    this.take(id, { type: 'prompted', prompt });
    try {
      if (held) {
        const cwd = this.folder.workspaceFolder.uri.fsPath;
        await this.folder.daemon.request('session/resume', { sessionId: id, cwd, mcpServers: [] });
        this.take(id, { type: 'held', held: undefined });
      }
      await this.folder.daemon.request('session/prompt', {
        sessionId: id,
        prompt: [{ type: 'text', text }],
      });
    } catch (error) {
      const begun = !this.models.get(id)?.sent.some(({ key }) => key === prompt.key);
      // The end of its turn has told this.
      if (begun && errorCode(error) === ERRORS.modelFailed) return;
      this.take(id, { type: 'refused', prompt, error: (error as Error).message });
    }
  }

  async cancel(id: string): Promise<void> {
    // The daemon withdraws its permission requests; if they were answered, it would call the model again.
    await this.folder.daemon.notify('session/cancel', { sessionId: id });
  }

  /** Answers a permission request; an allowed change is sent as the person edited it. */
  answer(key: number, kind: PermissionOption['kind'], optionId?: string): void {
    const option = this.asked
      .get(key)
      ?.request.options.find(
        (one) => one.kind === kind && one.optionId === (optionId ?? one.optionId),
      );
    if (!option) return;
    const newText = kind.startsWith('allow') ? this.changes.left(key) : undefined;
    const answer: OwnAnswer = newText === undefined ? {} : { edit: { newText } };
    this.settle(key, {
      outcome: { outcome: 'selected', optionId: option.optionId },
      _meta: { meanwhile: answer },
    });
  }

  async review(key: number): Promise<void> {
    const request = this.asked.get(key)?.request;
    const change = request && changeOf(request);
    if (change) await this.changes.propose(key, change, unseenOf(request));
  }

  dispose(): void {
    for (const emitter of [this.eventEmitter, this.askEmitter, this.resetEmitter]) {
      emitter.dispose();
    }
  }

  private async trace(id: string): Promise<void> {
    const result = await this.folder.daemon
      .request('session/trace', { sessionId: id, timeline: true })
      .catch(() => undefined);
    if (result?.timeline) this.take(id, { type: 'timeline', timeline: result.timeline });
  }

  private ask(
    request: PermissionRequest,
    token: vscode.CancellationToken,
  ): Promise<PermissionAnswer> {
    const key = nextKey++;
    const session = request.sessionId;
    return new Promise((answer) => {
      this.asked.set(key, { session, request, answer });
      token.onCancellationRequested(() => this.settle(key, { outcome: { outcome: 'cancelled' } }));
      this.take(session, { type: 'permission', permission: { key, request } });
      this.askEmitter.fire({ session, key, request });
    });
  }

  /** The first answer counts: it may come from the view or from a notification. */
  private settle(key: number, answer: PermissionAnswer): void {
    const asked = this.asked.get(key);
    if (!asked) return;
    this.asked.delete(key);
    asked.answer(answer);
    void this.changes.forget(key);
    this.take(asked.session, { type: 'permissionOver', key });
  }

  isOpen(key: number): boolean {
    return this.asked.has(key);
  }

  private take(session: string, event: SessionEvent): void {
    const model = this.models.get(session);
    if (!model) return;
    reduce(model, event);
    // A view may still show the old transcript, and would repeat this.
    if (!this.loading.has(model)) this.eventEmitter.fire({ session, event });
  }

  /** Drops all sessions: a new daemon has none open, and waits for no answers from this window. */
  private reset(): void {
    this.models.clear();
    for (const key of this.asked.keys()) void this.changes.forget(key);
    this.asked.clear();
    this.resetEmitter.fire();
  }
}
