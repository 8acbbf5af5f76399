// The agent's half of the protocol by shorter names, and how what is particular to this daemon is found
// in it: in `_meta.meanwhile`. The types are generated.

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

/** What is asked, with a verb: `edit src/main.ts`. */
export function questionOf({ _meta, toolCall }: RequestPermissionRequest): string {
  const own = _meta?.meanwhile as OwnQuestion | undefined;
  return own?.question ?? toolCall.title ?? toolCall.toolCallId;
}

/** What a diff does not show of the change that is asked about: other line ends. */
export function unseenOf({ _meta }: RequestPermissionRequest): string[] {
  return (_meta?.meanwhile as OwnQuestion | undefined)?.unseen ?? [];
}

/** The change that a question is about. */
export function changeOf({ toolCall }: RequestPermissionRequest): Diff | undefined {
  return toolCall.content?.find((part) => part.type === 'diff');
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
