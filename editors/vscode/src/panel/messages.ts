// What the extension and its webview say to each other.

import type { Timeline } from '../protocol/generated';
import type { PermissionOption, SessionInfo } from '../protocol/session';
import type { SessionEvent, SessionModel } from './session';

/** Everything the view shows; sent when it is built, and when something else is chosen. */
export interface Snapshot {
  type: 'snapshot';
  folders: { key: string; name: string }[];
  folder: string | undefined;
  sessions: SessionInfo[];
  /** The session shown; undefined: all background tasks, or a session not begun yet. */
  session: SessionModel | undefined;
  /** A new conversation is about to begin: nothing of it exists until something is said. */
  fresh: boolean;
  /** The tasks of the folder. */
  tasks: Timeline;
  agent: AgentState;
  /** What was typed and not sent, kept while the view is hidden. */
  draft: string;
}

/** Whether there is an agent to talk to. */
export type AgentState =
  | { kind: 'ready' }
  | { kind: 'starting' }
  | { kind: 'missing'; reason: string }
  /** There is an agent, and no model for it to ask: what mends that are buttons. */
  | { kind: 'noModel'; reason: string };

export type ToWebview =
  | Snapshot
  | { type: 'events'; session: string; events: SessionEvent[] }
  | { type: 'tasks'; timeline: Timeline }
  | { type: 'sessions'; sessions: SessionInfo[] }
  | { type: 'focusPrompt' };

export type FromWebview =
  | { type: 'ready' }
  | { type: 'prompt'; text: string }
  | { type: 'cancel' }
  | { type: 'permission'; key: number; kind: PermissionOption['kind']; optionId: string }
  | { type: 'review'; key: number }
  | { type: 'showChange'; toolCallId: string; path: string }
  | { type: 'choose'; session: string | undefined }
  | { type: 'chooseFolder'; folder: string }
  | { type: 'newSession' }
  | { type: 'showOutput'; taskId: string }
  | { type: 'stopTask'; taskId: string }
  | { type: 'run'; command: 'setKey' | 'useLocalServer' | 'openModelSettings' | 'learn' }
  | { type: 'retryAgent' }
  | { type: 'draft'; text: string };
