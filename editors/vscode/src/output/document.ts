// The kept output of a task as a document that can be searched. For a running task it is the output so
// far; opening it again reads it again.

import * as vscode from 'vscode';
import type { Folder, Folders } from '../folders';
import { bytes, cut, title } from '../tasks/describe';
import { plain } from './ansi';

export const OUTPUT_SCHEME = 'meanwhile-output';
/** The daemon's limit for one reply. */
const READ_BYTES = 4 * 1024 * 1024;

export class OutputDocuments implements vscode.TextDocumentContentProvider {
  private readonly emitter = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.emitter.event;

  constructor(private readonly folders: Folders) {}

  async open(folder: Folder, id: string): Promise<void> {
    const task = folder.store.get(id);
    const name = cut((task ? title(task) : id).replace(/[/\\?#]/g, '_'), 60);
    const uri = vscode.Uri.from({ scheme: OUTPUT_SCHEME, path: `/${id}/${name}.log` });
    const open = vscode.workspace.textDocuments.some(
      (document) => document.uri.toString() === uri.toString(),
    );
    if (open) this.emitter.fire(uri);
    await vscode.window.showTextDocument(uri, { preview: true });
  }

  async provideTextDocumentContent(
    uri: vscode.Uri,
    token: vscode.CancellationToken,
  ): Promise<string> {
    const id = uri.path.split('/')[1] ?? '';
    const ref = this.folders.find(id);
    if (!ref) return 'The task was removed, or is no longer kept.';
    return plain(await readAll(ref.folder, id, token));
  }
}

/** The output with its control sequences, and a note for each part that was not kept. */
export async function readAll(
  folder: Folder,
  id: string,
  token?: vscode.CancellationToken,
): Promise<string> {
  const parts: string[] = [];
  let offset = 0;
  for (;;) {
    const at = offset;
    const reply = await folder.orGone(id, () =>
      folder.daemon.request('task/read', { id, offset: at, limit: READ_BYTES }, token),
    );
    if (reply.gap) parts.push(`\n… ${bytes(reply.gap.to - reply.gap.from)} were not kept …\n`);
    parts.push(reply.data);
    if (reply.eof || reply.nextOffset === offset) return parts.join('');
    offset = reply.nextOffset;
  }
}
