// The messages between the extension and its webviews.

import type { Timeline } from '../protocol/generated';
import type { PermissionOption, SessionInfo } from '../protocol/session';
import type { SessionEvent, SessionModel } from './session';

/** Everything the views show; sent when one is built, and when another session or folder is chosen. */
export interface Snapshot {
  type: 'snapshot';
  folders: { key: string; name: string }[];
  folder: string | undefined;
  sessions: SessionInfo[];
  /** The session shown; undefined for all background tasks, or for a new chat. */
  session: SessionModel | undefined;
  /** A new chat, whose session is created with its first prompt. */
  fresh: boolean;
  tasks: Timeline;
  agent: AgentState;
  /** Text typed but not sent, kept while the view is hidden. */
  draft: string;
}

/** Whether there is an agent to talk to. */
export type AgentState =
  | { kind: 'ready' }
  | { kind: 'starting' }
  | { kind: 'missing'; reason: string }
  /** The agent has no model; the view shows buttons to choose one. */
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
