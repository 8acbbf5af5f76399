// What the schema leaves open in the agent's half: what is particular to this daemon and rides in
// `_meta.meanwhile`. Everything else is generated.

import type { ContentBlock } from './generated';

export type {
  ContentBlock,
  PermissionOption,
  RequestPermissionRequest as PermissionRequest,
  RequestPermissionResponse as PermissionAnswer,
  RetryingPush,
  SessionInfo,
  SessionUpdate,
  ToolCall,
  ToolCallContent as ToolContent,
  ToolCallStatus as ToolStatus,
  ToolCallUpdate,
  TracedPush,
  TraceEvent,
  TraceTask,
  TurnPush,
} from './generated';

/** `_meta.meanwhile`, as docs/protocol.md has it. */
export interface Own {
  /** Of a user message that no person said. */
  origin?: 'background' | 'notice';
  taskIds?: string[];
  /** The model call whose request carries it. */
  call?: number;
  taskId?: string;
  /** The command goes on in the background. */
  background?: boolean;
  /** How far the kernel confines the command. */
  confined?: string;
}

export function own(update: { _meta?: { [key: string]: unknown } | null }): Own {
  return (update._meta?.meanwhile ?? {}) as Own;
}

/** What can be read of a block. */
export function blockText(block: ContentBlock): string {
  switch (block.type) {
    case 'text':
      return block.text;
    case 'resource_link':
      return block.name || block.uri;
    case 'resource':
      return 'text' in block.resource ? block.resource.text : block.resource.uri;
    case 'image':
    case 'audio':
      return `[${block.type}]`;
  }
}
