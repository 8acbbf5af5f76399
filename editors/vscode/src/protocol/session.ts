// Shorter names for the generated types of the agent's half of the protocol, and functions that read
// this daemon's additions in `_meta.meanwhile`.

import type { ContentBlock, Diff, Own, OwnQuestion, RequestPermissionRequest } from './generated';

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
  TurnPush,
} from './generated';

/** `_meta.meanwhile` of an update. */
export function own(update: { _meta?: { [key: string]: unknown } | null }): Partial<Own> {
  return (update._meta?.meanwhile ?? {}) as Partial<Own>;
}

/** The question, which begins with a verb: `edit src/main.ts`. */
export function questionOf({ _meta, toolCall }: RequestPermissionRequest): string {
  const own = _meta?.meanwhile as OwnQuestion | undefined;
  return own?.question ?? toolCall.title ?? toolCall.toolCallId;
}

/** What a diff does not show of the proposed change, such as other line endings. */
export function unseenOf({ _meta }: RequestPermissionRequest): string[] {
  return (_meta?.meanwhile as OwnQuestion | undefined)?.unseen ?? [];
}

/** The change that needs permission. */
export function changeOf({ toolCall }: RequestPermissionRequest): Diff | undefined {
  return toolCall.content?.find((part) => part.type === 'diff');
}

/** The text of a block, or a name for it. */
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
